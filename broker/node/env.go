package node

import (
	crand "crypto/rand"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"

	"github.com/assay-project/assay/internal/vfs"
)

// OSEnv is the real machine: the directory dir (made if missing), its network, and a random source with a random seed.
func OSEnv(dir string, logger *slog.Logger) (Env, error) {
	fsys, err := vfs.OS(dir)
	if err != nil {
		return Env{}, err
	}
	var seed [32]byte
	if _, err := crand.Read(seed[:]); err != nil {
		return Env{}, fmt.Errorf("random seed: %w", err)
	}
	dialer := &net.Dialer{}
	return Env{FS: fsys, Listen: net.Listen, Dial: dialer.DialContext, Rand: rand.New(rand.NewChaCha8(seed)), Logger: logger}, nil
}

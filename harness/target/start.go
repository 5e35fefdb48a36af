package target

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/internal/vfs"
)

// FS is the disk of a simulated node: one flat directory whose unsynced bytes and entries a power
// loss takes.
type FS = vfs.FS

// File is an open file of an FS.
type File = vfs.File

// Dir returns a directory of this machine as an FS, and makes it if it is missing: a node that is
// written for FS runs on both.
func Dir(path string) (FS, error) { return vfs.OS(path) }

// SimNode says how a node runs in a simulation: as a part of this process, in virtual time. Its
// code must touch the world only through what it is handed, hold no mutex across a wait, and sleep
// in retry loops: a goroutine that spins, or that waits for a mutex, stops virtual time.
type SimNode struct {
	// Start starts a node. An error means that the node ended by itself, as a process would with an
	// exit code.
	Start func(ctx context.Context, w World) (Node, error)
	// Log reports whether a file of a node's disk belongs to its log, which is what the fault
	// corrupt flips bits in. nil: every file does.
	Log func(file string) bool
}

// World is what a simulated node touches.
type World struct {
	Node   harness.NodeID
	Addr   func(n harness.NodeID, port string) string // where nodes listen, this one too
	FS     FS
	Listen func(network, address string) (net.Listener, error)
	Dial   DialFunc
	Rand   *rand.Rand // owned by the node from here on
	Logger *slog.Logger
}

// Node is a node that runs in a simulation.
type Node interface {
	// Stop ends it in the ordinary way.
	Stop(ctx context.Context) error
	// Failed is closed when the node ends by itself, as after an error of its disk; nil if that
	// cannot be.
	Failed() <-chan struct{}
	// Failure says why it ended by itself.
	Failure() string
}

// Process says how a node runs as a process on this machine.
type Process struct {
	Program string            // path; "": the running executable
	Args    []string          // without the program's name
	Env     []string          // "key=value", beside those of this process
	Files   map[string][]byte // written into the node's own directory before each start, which is the working directory
}

// Container says how a node runs in a container. The environment puts its agent into the image, and
// runs as root what it is told.
type Container struct {
	// Image is one that the engine has. "": one that holds nothing but the running executable, as
	// /assay.
	Image string
	// Build is a build context (a tar with a Dockerfile) from which an image is made, instead of
	// Image.
	Build func() (io.Reader, error)
	// Command is what runs; nil: what the image says.
	Command []string
	Env     []string          // "key=value"
	Files   map[string][]byte // by absolute path, written before each start; about 95 KB in all
	Data    string            // absolute path of the node's disk, which a wipe deletes
}

package masterslave

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"slices"

	"github.com/assay-project/assay/internal/vfs"
)

// Names of the meta file and of its next version while it is written.
const (
	metaName     = "meta"
	metaTempName = "meta.tmp"
	metaMagic    = "ASSAYMS1"
	maxMetaBytes = 4096
)

// ErrMeta is returned for a meta file that is damaged or belongs to another node. Nothing repairs it: a node that does not know its
// epoch must come back with an empty disk, and joins as such.
var ErrMeta = errors.New("masterslave: meta file")

// meta is what a node remembers of its role:
//
//	magic [8] | crc32c of what follows u32 | length u32 | JSON
//
// Invariant: what is in memory was first made durable, except that a higher epoch is obeyed from before it is written.
type meta struct {
	Cluster string `json:"cluster"`
	Group   int32  `json:"group"`
	Node    int32  `json:"node"`
	// Groups and Members give the log's partitions and the epochs their meaning, so they must not change under a disk.
	Groups  int32   `json:"groups"`
	Members []int32 `json:"members"` // of the group, in the order of the configuration
	Epoch   int32   `json:"epoch"`   // the highest recorded; 0: none yet
	Leading bool    `json:"leading"` // this node was told to lead Epoch
	Joining bool    `json:"joining"` // this disk came empty and has not caught up yet
}

func crcOf(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// belongs returns why a disk with this meta file is not this node's, or was written in another group than the configured one; nil if it may be used.
func (r *Replica) belongs(m meta) error {
	switch {
	case m.Cluster != r.cfg.Cluster || m.Group != r.self.Group || m.Node != r.cfg.Node:
		return fmt.Errorf("%w: this disk belongs to node %d, group %d of cluster %q, and not to node %d, group %d of cluster %q",
			ErrMeta, m.Node, m.Group, m.Cluster, r.cfg.Node, r.self.Group, r.cfg.Cluster)
	case m.Groups != r.opts.Groups:
		return fmt.Errorf("%w: this disk was written with groups=%d, and the configuration says groups=%d: the number of groups says where a partition lives, so it cannot change", ErrMeta, m.Groups, r.opts.Groups)
	case !slices.Equal(m.Members, r.ids):
		return fmt.Errorf("%w: this disk was written in a group of nodes %v, and the configuration lists nodes %v: the list and its order say whom an epoch names, so they cannot change", ErrMeta, m.Members, r.ids)
	}
	return nil
}

// loadMeta returns found=false when there is no meta file.
func loadMeta(fsys vfs.FS) (m meta, found bool, err error) {
	f, err := fsys.Open(metaName, false)
	if errors.Is(err, fs.ErrNotExist) {
		return meta{}, false, nil
	}
	if err != nil {
		return meta{}, false, fmt.Errorf("open %s: %w", metaName, err)
	}
	size, err := f.Size()
	if err == nil && (size < 16 || size > maxMetaBytes) {
		err = fmt.Errorf("%w: %d bytes", ErrMeta, size)
	}
	var b []byte
	if err == nil {
		b = make([]byte, size)
		_, err = f.ReadAt(b, 0)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return meta{}, false, fmt.Errorf("read %s: %w", metaName, err)
	}
	return decodeMeta(b)
}

func decodeMeta(b []byte) (m meta, found bool, err error) {
	if len(b) < 16 || string(b[:8]) != metaMagic || binary.BigEndian.Uint32(b[8:]) != crcOf(b[12:]) ||
		int64(binary.BigEndian.Uint32(b[12:])) != int64(len(b)-16) {
		return meta{}, false, fmt.Errorf("%w: damaged (checksum or length)", ErrMeta)
	}
	dec := json.NewDecoder(bytes.NewReader(b[16:]))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&m); err != nil {
		return meta{}, false, fmt.Errorf("%w: %w", ErrMeta, err)
	}
	if m.Epoch < 0 {
		return meta{}, false, fmt.Errorf("%w: epoch %d", ErrMeta, m.Epoch)
	}
	return m, true, nil
}

func encodeMeta(m meta) ([]byte, error) {
	body, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 16, 16+len(body))
	copy(b, metaMagic)
	binary.BigEndian.PutUint32(b[12:], uint32(len(body)))
	b = append(b, body...)
	binary.BigEndian.PutUint32(b[8:], crcOf(b[12:]))
	return b, nil
}

// storeMeta replaces the meta file atomically and durably.
func storeMeta(fsys vfs.FS, m meta) error {
	b, err := encodeMeta(m)
	if err != nil {
		return err
	}
	f, err := fsys.Open(metaTempName, true)
	if err != nil {
		return fmt.Errorf("create %s: %w", metaTempName, err)
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt(b, 0)
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = fsys.Rename(metaTempName, metaName)
	}
	if err == nil {
		err = fsys.SyncDir()
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", metaName, err)
	}
	return nil
}

package histories

import (
	"os"
	"syscall"
)

// mapChunk reserves the chunk of f that begins at a position and maps it. An error leaves nothing mapped.
func mapChunk(f *os.File, at int64) ([]byte, error) {
	if err := syscall.Fallocate(int(f.Fd()), 0, at, chunk); err != nil {
		return nil, err
	}
	return syscall.Mmap(int(f.Fd()), at, chunk, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
}

func unmapChunk(mem []byte) error { return syscall.Munmap(mem) }

package commitlog

import (
	"fmt"
	"slices"
)

// Truncate cuts the log at a frame boundary, durably. The caller has stopped its appends.
//
// It removes whole segments from the last one backwards, each durably before the next, then cuts the file that holds the boundary. A crash at any
// step leaves a log that is a prefix of the old one and holds everything before the boundary. Readers see the new end
// from the start. Errors match ErrPosition (nothing happened), ErrFailed or ErrClosed.
func (l *Log) Truncate(to int64) error {
	l.writer <- struct{}{}
	defer func() { <-l.writer }()
	l.syncer <- struct{}{}
	defer func() { <-l.syncer }()
	if err := l.writable(); err != nil {
		return err
	}
	at, err := l.BoundaryAt(to)
	if err != nil {
		return err
	}
	old := l.Tail()
	if to == old.Position {
		return nil
	}
	removed := l.cut(at)
	l.life++
	l.opts.Logger.Info("commit log truncated", "from", old.Position, "to", to, "segments", len(removed))
	for i := len(removed) - 1; i >= 0; i-- {
		if err := l.removeSegment(removed[i]); err != nil {
			return l.fail("remove "+removed[i].name, err)
		}
	}
	l.mu.Lock()
	seg := l.segments[len(l.segments)-1]
	l.mu.Unlock()
	if err := seg.file.Truncate(seg.offset(to)); err != nil {
		return l.fail("truncate "+seg.name, err)
	}
	if err := seg.file.Sync(); err != nil {
		return l.fail("sync "+seg.name, err)
	}
	l.mu.Lock()
	l.flushed = to
	l.mu.Unlock()
	return nil
}

// cut makes the boundary the end of the log for readers, and returns the segments behind it.
func (l *Log) cut(at Boundary) []*segment {
	l.mu.Lock()
	defer l.mu.Unlock()
	keep := len(l.segments)
	for keep > 1 && l.segments[keep-1].base > at.Position {
		keep--
	}
	removed := slices.Clone(l.segments[keep:])
	l.segments = l.segments[:keep]
	seg := l.segments[keep-1]
	seg.index = seg.index[:before(seg.index, at.Position)]
	l.recent = l.recent[:before(l.recent, at.Position)]
	l.tail = at
	l.flushed = min(l.flushed, at.Position)
	l.cuts++
	return removed
}

func (l *Log) removeSegment(s *segment) error {
	if err := s.file.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	if err := l.fs.Remove(s.name); err != nil {
		return err
	}
	return l.fs.SyncDir()
}

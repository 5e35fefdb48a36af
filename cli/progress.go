package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/assay-project/assay/checker/judge"
	"github.com/assay-project/assay/histories"
)

// progressEvery is how often the line is written anew.
const progressEvery = 200 * time.Millisecond

// progress is the updating line on standard error. It reads the history as it grows, so it needs
// nothing from whoever runs the test, in this process or another. A nil *progress shows nothing.
type progress struct {
	w     io.Writer
	width int           // columns of the line
	total time.Duration // of the load
	seeds int
	end   chan struct{}
	done  chan struct{} // closed when the last line is cleared
	once  sync.Once

	mu       sync.Mutex // guards what follows
	history  string     // path; empty until a run has begun
	verdicts []string   // of the seeds that are done
}

// newProgress returns nil where nothing is to be shown.
func (a *app) newProgress(f *runFlags) *progress {
	if !f.progress && a.errTerm.Width == 0 {
		return nil
	}
	p := &progress{w: a.stderr, width: lineWidth(a.errTerm.Width), total: f.spec.Time, seeds: f.seeds, end: make(chan struct{}), done: make(chan struct{})}
	go p.show()
	return p
}

// lineWidth is the length of the line: one column less than the terminal has, lest the cursor goes
// to the next one, and no more than can be read.
func lineWidth(columns int) int {
	const usual, most = 80, 119
	if columns == 0 {
		columns = usual
	}
	return min(columns-1, most)
}

// follow shows the run from now on.
func (p *progress) follow(run *histories.Run) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.history = run.HistoryPath()
}

// finished counts a seed that is done.
func (p *progress) finished(s judge.Summary) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.verdicts = append(p.verdicts, s.Verdict)
}

// stop clears the line.
func (p *progress) stop() {
	if p == nil {
		return
	}
	p.once.Do(func() { close(p.end) })
	<-p.done
}

func (p *progress) show() {
	defer close(p.done)
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	var t tail
	defer t.close()
	shown := 0
	for {
		select {
		case <-p.end:
			if shown > 0 {
				fmt.Fprintf(p.w, "\r%s\r", strings.Repeat(" ", shown))
			}
			return
		case <-tick.C:
		}
		line := p.line(&t)
		if line == "" {
			continue
		}
		fmt.Fprintf(p.w, "\r%s%s", line, strings.Repeat(" ", max(0, shown-len(line))))
		shown = max(shown, len(line))
	}
}

func (p *progress) line(t *tail) string {
	p.mu.Lock()
	history, verdicts := p.history, slices.Clone(p.verdicts)
	p.mu.Unlock()
	if p.seeds > 1 {
		return seedsLine(verdicts, p.seeds)
	}
	if history == "" || !t.read(history) {
		return ""
	}
	return t.line(p.total, p.width)
}

func seedsLine(verdicts []string, seeds int) string {
	line := fmt.Sprintf("%d of %d seeds", len(verdicts), seeds)
	for _, v := range []string{"valid", "permitted", "unknown", "invalid", "error"} {
		n := 0
		for _, got := range verdicts {
			if got == v {
				n++
			}
		}
		if n > 0 {
			line += fmt.Sprintf("  %s %d", v, n)
		}
	}
	return line
}

// tail reads a history that grows.
type tail struct {
	file   *os.File
	at     int64  // where the first line begins that was not there to its end
	buf    []byte // of read
	ops    histories.OpCounts
	now    time.Duration
	events histories.EventReader
	began  bool // the load has
	start  time.Duration
	final  bool // the recovery is over, and the final reads begin

	lastDone int64
	lastNow  time.Duration
	rate     float64
}

// read takes what was appended, and reports whether there is a history at all. What follows the
// last whole line is read again next time: it may be a part of a line, or space that the writer
// reserved, which is zero bytes.
func (t *tail) read(path string) bool {
	if t.file == nil {
		f, err := os.Open(path)
		if err != nil {
			return false
		}
		t.file, t.buf = f, make([]byte, 1<<16)
	}
	for {
		n, err := t.file.ReadAt(t.buf, t.at)
		if err != nil && !errors.Is(err, io.EOF) {
			return false
		}
		written := t.buf[:n]
		if zero := bytes.IndexByte(written, 0); zero >= 0 {
			written = written[:zero]
		}
		whole := written[:bytes.LastIndexByte(written, '\n')+1]
		for line := range bytes.Lines(whole) {
			if op, err := histories.DecodeOp(line); err == nil {
				t.add(&op)
			}
		}
		t.at += int64(len(whole))
		switch {
		case len(written) < len(t.buf):
			return true
		case len(whole) == 0: // a line longer than that
			t.buf = make([]byte, 2*len(t.buf))
		}
	}
}

func (t *tail) close() {
	if t.file != nil {
		_ = t.file.Close() // it was only read
	}
}

func (t *tail) add(op *histories.Op) {
	t.now = time.Duration(op.Time)
	if op.Process == histories.NemesisProcess {
		t.final = t.final || op.F == histories.Note && op.Fault == histories.NoteRecovery
		t.events.Add(op)
		return
	}
	if !t.began {
		t.began, t.start = true, t.now
	}
	if op.Type != histories.Invoke {
		t.ops.Count(op.Type)
	}
}

// on names the strikes that took place and are not healed.
func (t *tail) on() []string {
	var names []string
	all := t.events.Events().Strikes
	for i := range all {
		if s := &all[i]; !s.Healed() && !s.Missed {
			names = append(names, strings.TrimSpace(s.Fault+" "+strings.Join(s.Nodes, ",")))
		}
	}
	return names
}

// line is what is shown, in at most width columns.
func (t *tail) line(total time.Duration, width int) string {
	if !t.began {
		return "starting"
	}
	elapsed := t.now - t.start
	done := t.ops.OK + t.ops.Weak + t.ops.Info + t.ops.Fail
	if dt := t.now - t.lastNow; dt > 0 {
		t.rate = float64(done-t.lastDone) / dt.Seconds()
		t.lastDone, t.lastNow = done, t.now
	}
	line := fmt.Sprintf("%3.0fs of %.0fs  %4.0f op/s  ok %d weak %d info %d fail %d", min(elapsed, total).Seconds(), total.Seconds(), t.rate, t.ops.OK, t.ops.Weak, t.ops.Info, t.ops.Fail)
	switch {
	case t.final:
		line += "  final reads"
	case elapsed > total:
		line += "  recovering"
	}
	if on := t.on(); len(on) > 0 {
		line += "  on: " + strings.Join(on, ", ")
	}
	if r := []rune(line); len(r) > width {
		line = string(r[:width-3]) + "..."
	}
	return line
}

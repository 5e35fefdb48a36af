package histories

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Names inside a run directory.
const (
	ManifestFile = "manifest.json" // versions, configuration, seed, plan; written before the run starts
	HistoryFile  = "history.jsonl" // the history, appended as it happens
	VerdictFile  = "verdict.json"  // what the checkers found
	ReportFile   = "report.html"   // the same for people
	NodesDir     = "nodes"         // one log per node
)

// ErrNotRun is returned by OpenRun when the path is not a run directory.
var ErrNotRun = errors.New("not a run directory")

// Store is a directory of runs. It keeps nothing in memory, and several processes may use one directory.
type Store struct{ dir string }

// NewStore returns the store in dir, which need not exist yet.
func NewStore(dir string) *Store { return &Store{dir: dir} }

// Dir returns the store's directory.
func (s *Store) Dir() string { return s.dir }

// RunName is what a run directory's name says about the run, for people: nothing reads it back.
type RunName struct {
	Time     time.Time
	Mode     string
	Workload string
	Seed     uint64
}

// Create makes a new run directory, <time>-<mode>-<workload>-<seed>-<unique suffix>, that no other call ever gets.
func (s *Store) Create(name RunName) (*Run, error) {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return nil, fmt.Errorf("creating the store of runs: %w", err)
	}
	base := fmt.Sprintf("%s-%s-%s-%d-", name.Time.UTC().Format("20060102T150405Z"), plain(name.Mode), plain(name.Workload), name.Seed)
	dir, err := os.MkdirTemp(s.dir, base)
	if err != nil {
		return nil, fmt.Errorf("creating a run directory in %s: %w", s.dir, err)
	}
	// MkdirTemp makes a private directory; a run is to be read by others, such as a CI that collects it.
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, fmt.Errorf("creating a run directory: %w", err)
	}
	r := &Run{dir: dir}
	if err := os.Mkdir(r.NodesDir(), 0o755); err != nil {
		return nil, fmt.Errorf("creating a run directory: %w", err)
	}
	return r, nil
}

// plain replaces what does not belong in a directory name.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_', r == '.':
			return r
		}
		return '_'
	}, s)
}

// List returns the store's runs, oldest first by name. A directory without manifest and history is not a run.
func (s *Store) List() ([]*Run, error) {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing the runs: %w", err)
	}
	var runs []*Run
	for _, e := range entries {
		if r, err := OpenRun(filepath.Join(s.dir, e.Name())); err == nil {
			runs = append(runs, r)
		}
	}
	slices.SortFunc(runs, func(a, b *Run) int { return strings.Compare(a.dir, b.dir) })
	return runs, nil
}

// Run is one run's directory.
type Run struct{ dir string }

// OpenRun returns the run in the directory path. The error is ErrNotRun when the directory holds neither a manifest nor a history.
func OpenRun(path string) (*Run, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("opening a run: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("opening the run %s: %w: it is a file", path, ErrNotRun)
	}
	r := &Run{dir: path}
	for _, name := range []string{ManifestFile, HistoryFile} {
		if _, err := os.Stat(r.Path(name)); err == nil {
			return r, nil
		}
	}
	return nil, fmt.Errorf("opening the run %s: %w: neither %s nor %s in it", path, ErrNotRun, ManifestFile, HistoryFile)
}

// Dir returns the run's directory.
func (r *Run) Dir() string { return r.dir }

// Path returns the path of a file in the run's directory.
func (r *Run) Path(name string) string { return filepath.Join(r.dir, name) }

// HistoryPath returns the path of the history.
func (r *Run) HistoryPath() string { return r.Path(HistoryFile) }

// ReportPath returns the path of the HTML report.
func (r *Run) ReportPath() string { return r.Path(ReportFile) }

// NodesDir returns the directory of the nodes' logs.
func (r *Run) NodesDir() string { return r.Path(NodesDir) }

// NodeLog returns the path of one node's log.
func (r *Run) NodeLog(node string) string { return filepath.Join(r.NodesDir(), plain(node)+".log") }

// CreateHistory creates the history's file for a Recorder. It fails if there is one already: a run is recorded once.
// The caller closes the file.
func (r *Run) CreateHistory() (*Appender, error) { return CreateAppender(r.HistoryPath()) }

// WriteJSON writes v, indented, to the named file in the run's directory. Readers see the old content or the new, never a part.
func (r *Run) WriteJSON(name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding %s: %w", name, err)
	}
	return r.WriteFile(name, append(b, '\n'))
}

// WriteFile writes the named file in the run's directory as a whole, by way of a temporary file and a rename.
func (r *Run) WriteFile(name string, content []byte) (err error) {
	f, err := os.CreateTemp(r.dir, "."+filepath.Base(name)+"-*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // best effort: the error that counts is already there
		}
	}()
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), r.Path(name))
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", r.Path(name), err)
	}
	return nil
}

// ReadJSON reads the named file in the run's directory into v. The error wraps os.ErrNotExist when there is none.
func (r *Run) ReadJSON(name string, v any) error {
	b, err := os.ReadFile(r.Path(name))
	if err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("reading %s: %w", r.Path(name), err)
	}
	return nil
}

package harness

import "time"

// ManifestFormat is the version of Manifest's JSON form and of the history beside it. Format 1,
// which is read too, has a history without events (histories.Event).
const ManifestFormat = 2

// Manifest says what a run is, completely enough to judge its history again and to run it again. It
// is written before the run starts (histories.ManifestFile).
type Manifest struct {
	Format   int         `json:"format"` // ManifestFormat
	Versions Versions    `json:"versions"`
	Start    time.Time   `json:"start"` // wall clock
	Env      string      `json:"env"`   // sim, docker, local
	Target   string      `json:"target"`
	Mode     string      `json:"mode"`
	Nodes    int         `json:"nodes"`
	Workload string      `json:"workload"`
	Nemesis  []string    `json:"nemesis"` // the faults as on the command line; empty: none
	Seed     uint64      `json:"seed"`
	Load     LoadProfile `json:"load"`
	// Options are the effective ones: those given, and the defaults of all others.
	Options   map[string]string `json:"options"`
	Plan      Plan              `json:"plan"`
	Command   []string          `json:"command"`   // as it was called
	Reproduce string            `json:"reproduce"` // the command that runs the same experiment again
}

// Versions are those of what a run consists of.
type Versions struct {
	Assay string `json:"assay"`
	Go    string `json:"go"`
	OS    string `json:"os"` // GOOS/GOARCH
	Image string `json:"image,omitempty"`
}

// LoadProfile is how a run was loaded.
type LoadProfile struct {
	Time         time.Duration `json:"time_ns"`
	Interval     time.Duration `json:"interval_ns"`
	Rate         float64       `json:"rate"`
	Clients      int           `json:"clients"`
	CheckTimeout time.Duration `json:"check_timeout_ns"`
}

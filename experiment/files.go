package experiment

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/nemesis"
	"github.com/assay-project/assay/report"
)

// ReadPlan reads a schedule of faults of the catalog: from a file that holds a plan, from a
// manifest, or from the manifest of a run directory.
func (c Catalog) ReadPlan(path string) (PlanFile, error) {
	set, err := nemesis.NewSet(c.Faults...)
	if err != nil {
		return PlanFile{}, err
	}
	file := path
	if run, err := histories.OpenRun(path); err == nil {
		file = run.Path(histories.ManifestFile)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return PlanFile{}, fmt.Errorf("--plan: %w", err)
	}
	var manifest struct {
		Plan json.RawMessage `json:"plan"`
	}
	if json.Unmarshal(b, &manifest) == nil && manifest.Plan != nil {
		b = manifest.Plan
	}
	// Whether it fits into the load is for Validate to say, which knows the load.
	plan, err := set.ReadPlan(bytes.NewReader(b), maxTime)
	if err != nil {
		return PlanFile{}, fmt.Errorf("--plan %s: %w", path, err)
	}
	return PlanFile{File: path, Plan: &plan}, nil
}

// open finds what path is: a run directory, or a bare history without a manifest (run is nil).
func open(path string) (run *histories.Run, history string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, "", err
	}
	if !info.IsDir() {
		return nil, path, nil
	}
	if run, err = histories.OpenRun(path); err != nil {
		return nil, "", err
	}
	return run, run.HistoryPath(), nil
}

// ReadHistory reads the history of a run directory, or a history file.
func ReadHistory(path string) (histories.History, error) {
	_, file, err := open(path)
	if err != nil {
		return nil, err
	}
	h, _, err := histories.ReadFile(file)
	return h, err
}

// ReadVerdict returns the verdict that a run has, or judges it when it has none.
func (c Catalog) ReadVerdict(ctx context.Context, path string) (*report.Document, error) {
	run, _, err := open(path)
	if err != nil {
		return nil, err
	}
	if run != nil {
		var d report.Document
		err := run.ReadJSON(histories.VerdictFile, &d)
		if err == nil {
			return &d, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	res, err := c.Judge(ctx, path, JudgeOptions{})
	if err != nil {
		return nil, err
	}
	return &res.Document, nil
}

// readManifest reads a run's manifest; nil when it has none.
func readManifest(run *histories.Run) (*harness.Manifest, error) {
	var m harness.Manifest
	err := run.ReadJSON(histories.ManifestFile, &m)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if m.Format < 1 || m.Format > harness.ManifestFormat {
		return nil, fmt.Errorf("%s has format %d; this version reads 1 to %d", run.Path(histories.ManifestFile), m.Format, harness.ManifestFormat)
	}
	return &m, nil
}

package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/client"

	"github.com/assay-project/assay/internal/owner"
)

// Report lists what was removed, by name.
type Report struct {
	Containers []string `json:"containers"`
	Volumes    []string `json:"volumes"`
	Networks   []string `json:"networks"`
	Images     []string `json:"images"`
	// Kept are things of processes that are alive, or may be on another machine.
	Kept []string `json:"kept"`
}

// Empty says that there was nothing to remove.
func (r Report) Empty() bool {
	return len(r.Containers)+len(r.Volumes)+len(r.Networks)+len(r.Images) == 0
}

// Clean removes what runs left behind whose process is certainly gone: containers, volumes and
// networks with the label "assay". With force it removes those of living processes too. Firewall
// rules go with the containers, in which they are. When nothing is kept, so that no run is going
// on, it also removes the nodes' images but for the newest, which makes the next start fast.
func Clean(ctx context.Context, force bool) (Report, error) {
	e, err := connect(ctx, slog.New(slog.DiscardHandler))
	if err != nil {
		return Report{}, err
	}
	defer e.close()
	report, err := clean(ctx, e, force, func(map[string]string) bool { return true })
	if err == nil && len(report.Kept) == 0 {
		report.Images, err = removeImages(ctx, e, func(image.Summary) bool { return true })
	}
	return report, err
}

// CleanProcess removes what a process of this machine made and left behind. One that is still alive
// keeps what it has.
func CleanProcess(ctx context.Context, pid int) (Report, error) {
	e, err := connect(ctx, slog.New(slog.DiscardHandler))
	if err != nil {
		return Report{}, err
	}
	defer e.close()
	return clean(ctx, e, false, func(marks map[string]string) bool {
		o, err := owner.Parse(marks[LabelOwner])
		return err == nil && o.PID == pid
	})
}

// clean removes those things that mine says yes to, and whose owner is gone unless it is forced.
func clean(ctx context.Context, e *engine, force bool, mine func(labels map[string]string) bool) (Report, error) {
	me := owner.Self()
	return sweep(ctx, e, func(marks map[string]string) bool {
		if !mine(marks) || force {
			return mine(marks)
		}
		o, err := owner.Parse(marks[LabelOwner])
		return err == nil && o.Fate(me) == owner.Dead
	})
}

// removeImages removes the images with assay's label that mine says yes to, but for the newest of
// them and those that containers use. A run that is about to use one has its network already, so
// nobody calls this while there is any.
func removeImages(ctx context.Context, e *engine, mine func(image.Summary) bool) (removed []string, err error) {
	list, err := e.api.ImageList(ctx, client.ImageListOptions{Filters: make(client.Filters).Add("label", Label)})
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	all := slices.DeleteFunc(list.Items, func(i image.Summary) bool { return !mine(i) })
	slices.SortFunc(all, func(a, b image.Summary) int { return cmp.Compare(a.Created, b.Created) })
	var errs []error
	for _, i := range all[:max(0, len(all)-1)] {
		names := slices.DeleteFunc(i.RepoTags, func(tag string) bool { return tag == "<none>:<none>" })
		if len(names) == 0 {
			names = []string{i.ID}
		}
		for _, name := range names {
			_, err := e.api.ImageRemove(ctx, name, client.ImageRemoveOptions{PruneChildren: true})
			switch {
			case err == nil:
				removed = append(removed, name)
			case !errdefs.IsConflict(err) && gone(err) != nil: // a conflict: some container uses it
				errs = append(errs, fmt.Errorf("remove image %s: %w", name, err))
			}
		}
	}
	return removed, errors.Join(errs...)
}

// sweep removes everything with assay's label that unwanted says yes to. It goes on after errors,
// and returns them.
func sweep(ctx context.Context, e *engine, unwanted func(labels map[string]string) bool) (Report, error) {
	s := sweeper{unwanted: unwanted}
	ours := make(client.Filters).Add("label", Label)

	containers, err := e.api.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: ours})
	s.fail(err, "list containers")
	for _, c := range containers.Items {
		name := c.ID
		if len(c.Names) > 0 {
			name = c.Names[0][1:]
		}
		s.remove(&s.report.Containers, name, c.Labels, func() error {
			return removeContainer(ctx, e, c.ID)
		})
	}
	s.all.Wait() // volumes and networks are in use before

	volumes, err := e.api.VolumeList(ctx, client.VolumeListOptions{Filters: ours})
	s.fail(err, "list volumes")
	for _, v := range volumes.Items {
		s.remove(&s.report.Volumes, v.Name, v.Labels, func() error {
			_, err := e.api.VolumeRemove(ctx, v.Name, client.VolumeRemoveOptions{Force: true})
			return err
		})
	}
	networks, err := e.api.NetworkList(ctx, client.NetworkListOptions{Filters: ours})
	s.fail(err, "list networks")
	for _, n := range networks.Items {
		s.remove(&s.report.Networks, n.Name, n.Labels, func() error {
			_, err := e.api.NetworkRemove(ctx, n.ID, client.NetworkRemoveOptions{})
			return err
		})
	}
	s.all.Wait()
	return s.report, errors.Join(s.errs...)
}

// removeContainer kills and removes, and waits for whoever else is removing it. Volumes that the
// image asked for go with it: they have no name, and no label by which they could be found later.
func removeContainer(ctx context.Context, e *engine, id string) error {
	for {
		_, err := e.api.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		if gone(err) == nil {
			return nil
		}
		if !inProgress(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// sweeper removes several things side by side.
type sweeper struct {
	unwanted func(map[string]string) bool
	all      sync.WaitGroup
	mu       sync.Mutex // guards what follows
	report   Report
	errs     []error
}

func (s *sweeper) fail(err error, doing string) {
	if err == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errs = append(s.errs, fmt.Errorf("%s: %w", doing, err))
}

func (s *sweeper) remove(list *[]string, name string, marks map[string]string, do func() error) {
	if !s.unwanted(marks) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.report.Kept = append(s.report.Kept, name)
		return
	}
	s.all.Go(func() {
		if err := gone(do()); err != nil {
			s.fail(err, "remove "+name)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		*list = append(*list, name)
	})
}

package masterslave

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/internal/vfs"
)

// lockedBuffer takes the logs of several nodes.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// startAs starts a node that was configured with another list of nodes than the others.
func (w *world) startAs(id int32, members []Member) {
	w.t.Helper()
	kept := w.members
	w.members = members
	w.start(id)
	w.members = kept
}

// swapped is the list with its second and third node in the other order.
func (w *world) swapped() []Member {
	m := slices.Clone(w.members)
	m[1], m[2] = m[2], m[1]
	return m
}

// Argument: an epoch names its leader by an index into the list of nodes. Of two nodes with other lists each would be named by the same epoch, each be
// told to lead it by an operator with its list, and both acknowledge in it. An empty group of such nodes does not begin; it says why, once and not at every question.
func TestSafetyOtherListsDoNotBegin(t *testing.T) {
	for name, list := range map[string]func(w *world) []Member{
		"order":  (*world).swapped,
		"length": func(w *world) []Member { return w.members[:2] },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 3, sync2(), func(w *world) {
				logs := &lockedBuffer{}
				w.logs = logs
				w.start(1, 3)
				w.startAs(2, list(w))
				time.Sleep(time.Minute)
				for _, id := range w.all() {
					require.Zero(t, w.status(id).Epoch)
					require.Equal(t, RoleIdle, w.status(id).Role)
				}
				require.Contains(t, logs.String(), "node 2 lists the nodes of group 0 as ")
				require.Equal(t, 1, strings.Count(logs.String(), "node=1 peer=2"), "%s", logs.String())
				w.crash(vfs.KeepCache, 2)
				w.start(2)
				w.well(0)
			})
		})
	}
}

// Argument: the same in a group that runs: a node comes back with an empty disk and another list. It gets no part in the group, and an operator with its
// list is refused by every other node, before anything is recorded.
func TestSafetyOtherListsAreRefused(t *testing.T) {
	inBubble(t, 3, sync2(), func(w *world) {
		w.up()
		sent := w.fill(1, 3)
		w.well(0)
		w.crash(vfs.Empty, 3)
		other := w.swapped()
		w.startAs(3, other)
		time.Sleep(time.Minute)
		require.Zero(t, w.status(3).Epoch)
		require.Zero(t, w.status(3).End)

		for _, op := range []string{opRecord, opLead, opMatch, opHolds} {
			resp := w.ask(2, request{Op: op, Members: []int32{1, 3, 2}, Epoch: 4, Boundaries: []boundary{{}}})
			require.Contains(t, resp.Error, "lists the nodes of group 0 as [1 2 3], and the sender as [1 3 2]", op)
			require.Contains(t, w.ask(3, request{Op: op, Members: w.all(), Epoch: 4}).Error, "lists the nodes", op)
		}
		for _, node := range []int32{0, 2, 3} {
			_, err := Promote(context.Background(), PromoteRequest{Node: node, Force: node == 2}, other, w.admin.Dial)
			if node == 2 {
				require.ErrorContains(t, err, "node 2 lists the nodes of the group as [1 2 3], and not as [1 3 2]")
			} else {
				require.ErrorIs(t, err, ErrUnsafe)
			}
			require.EqualValues(t, 3, w.status(1).Epoch)
			require.EqualValues(t, 3, w.status(2).Epoch)
		}
		sent = append(sent, w.fill(1, 3)...)
		res, err := w.promote(0, false)
		require.NoError(t, err)
		require.True(t, res.Safe, "the two that agree are enough")
		w.crash(vfs.Empty, 3)
		w.start(3)
		w.well(0)
		require.Equal(t, sent, w.messages(3))
	})
}

// Argument: the configuration is changed under a disk that has recorded epochs: they would name other nodes, and partitions live in other groups.
func TestSafetyConfigurationChangedUnderADisk(t *testing.T) {
	inBubble(t, 3, sync2(), func(w *world) {
		w.up()
		w.stop(2)
		cfg := w.config(2)
		cfg.Members = w.swapped()
		_, err := Open(cfg)
		require.ErrorIs(t, err, ErrMeta)
		require.ErrorContains(t, err, "in a group of nodes [1 2 3], and the configuration lists nodes [1 3 2]")
		cfg.Members = w.members[:2]
		_, err = Open(cfg)
		require.ErrorIs(t, err, ErrMeta)
		cfg.Members = append(slices.Clone(w.members), Member{ID: 4, Group: 1, Peer: "n4:9093"}, Member{ID: 5, Group: 1, Peer: "n5:9093"})
		cfg.Options.Groups = 2
		_, err = Open(cfg)
		require.ErrorIs(t, err, ErrMeta)
		require.ErrorContains(t, err, "groups=1, and the configuration says groups=2")
	})
}

// What two nodes have to agree on, one by one: each difference is seen in an answer and in a pull.
func TestWhatNodesAgreeOn(t *testing.T) {
	inBubble(t, 3, sync2(), func(w *world) {
		w.up()
		r := w.nodes[1].r.Load()
		m := w.members[1]
		require.NoError(t, r.differs(m, w.status(2)))
		for says, change := range map[string]func(*Status){
			"cluster \"other\"":      func(s *Status) { s.Cluster = "other" },
			"group 0 of 2":           func(s *Status) { s.Groups = 2 },
			"group 1 of 1":           func(s *Status) { s.Group = 1 },
			"answers as node 3":      func(s *Status) { s.Node = 3 },
			"wants 3 copies":         func(s *Status) { s.Copies = 3 },
			"lists the nodes":        func(s *Status) { s.Members = []int32{2, 1, 3} },
			"beyond all reason":      func(s *Status) { s.Epoch = maxEpoch + 1 },
			"group 0 as [1 2 3 4], ": func(s *Status) { s.Members = []int32{1, 2, 3, 4} },
		} {
			s := w.status(2)
			change(&s)
			require.ErrorContains(t, r.differs(m, s), says)
		}

		o := r.opts
		require.Equal(t, fingerprint("test", 0, o, w.all()), r.config)
		more, wider := o, o
		more.Copies, wider.Groups = 3, 2
		for _, other := range []uint64{
			fingerprint("other", 0, o, w.all()), fingerprint("test", 1, o, w.all()), fingerprint("test", 0, more, w.all()),
			fingerprint("test", 0, wider, w.all()), fingerprint("test", 0, o, []int32{2, 1, 3}), fingerprint("test", 0, o, []int32{1, 2}),
		} {
			require.NotEqual(t, r.config, other)
		}
	})
}

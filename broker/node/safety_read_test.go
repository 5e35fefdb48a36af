package node

import (
	"context"
	"errors"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/assay-project/assay/broker/commitlog"
	"github.com/assay-project/assay/broker/kafka"
	"github.com/assay-project/assay/broker/partitions"
	"github.com/assay-project/assay/broker/replication"
	"github.com/assay-project/assay/broker/replication/masterslave"
)

var _ replication.Log = (*scriptedLog)(nil)

// scriptedLog is a replica whose views and frames are the test's.
type scriptedLog struct {
	view replication.View
	read func(position int64) (commitlog.Frame, error)
}

func (l *scriptedLog) View() replication.View { return l.view }

func (l *scriptedLog) Append(context.Context, *partitions.Partition, []byte, bool) (replication.Appended, error) {
	return replication.Appended{}, kerr.NotLeaderForPartition
}

func (l *scriptedLog) ReadFrame(position int64) (commitlog.Frame, error) { return l.read(position) }

func (l *scriptedLog) Progress() <-chan struct{} { return nil }

// oneMessage is the state of a log with one message in topic t, and the frame of that message.
func oneMessage(t *testing.T) (*partitions.Machine, commitlog.Frame) {
	t.Helper()
	m := partitions.New(0, 1)
	id := uuid.UUID{15: 1}
	topic := partitions.AppendTopicPayload(nil, partitions.TopicPayload{ID: id, Partitions: 1, Name: "t"})
	require.NoError(t, m.Apply(partitions.Frame{Kind: partitions.KindTopic, Epoch: 1, Start: 0, End: 100, Payload: topic}))
	b := oneRecord(10)
	partitions.StampBatch(b, 0, 1)
	f := commitlog.Frame{Position: 100, End: 300, Kind: commitlog.Kind(partitions.KindBatch), Epoch: 1, Payload: partitions.AppendBatchPayload(nil, id, 0, 0, b)}
	require.NoError(t, m.Apply(partitions.Frame{Kind: partitions.KindBatch, Epoch: 1, Start: f.Position, End: f.End, Payload: f.Payload}))
	return m, f
}

// Argument: a consumer asks where an epoch ended, to find out whether what it read was cut off. The answer of a follower that serves reads and lags behind, of a handle
// from before a truncation, or under another epoch than the client's, would send it back, or past what it has not read.
func TestSafetyEpochEnd(t *testing.T) {
	m, _ := oneMessage(t)
	other, _ := oneMessage(t)
	for _, c := range []struct {
		what        string
		view        replication.View
		leaderEpoch int32
		want        error
	}{
		{what: "the leader", view: replication.View{Machine: m, Epoch: 3, Leading: true}, leaderEpoch: 3},
		{what: "no epoch given", view: replication.View{Machine: m, Epoch: 3, Leading: true}, leaderEpoch: -1},
		{what: "a follower that serves", view: replication.View{Machine: m, Epoch: 3, Readable: true}, leaderEpoch: 3, want: kerr.NotLeaderForPartition},
		{what: "cut and built anew", view: replication.View{Machine: other, Epoch: 3, Leading: true}, leaderEpoch: 3, want: kerr.UnknownTopicOrPartition},
		{what: "an older epoch", view: replication.View{Machine: m, Epoch: 3, Leading: true}, leaderEpoch: 2, want: kerr.FencedLeaderEpoch},
		{what: "a newer epoch", view: replication.View{Machine: m, Epoch: 3, Leading: true}, leaderEpoch: 4, want: kerr.UnknownLeaderEpoch},
	} {
		t.Run(c.what, func(t *testing.T) {
			n := &Node{opts: masterslave.Options{FollowerRead: true}}
			p := &partition{n: n, log: &scriptedLog{view: c.view}, part: m.TopicByName("t").Local(0, 1)}
			epoch, end, err := p.EpochEnd(2, c.leaderEpoch)
			require.ErrorIs(t, err, c.want)
			if c.want == nil {
				require.EqualValues(t, 1, epoch)
				require.EqualValues(t, 1, end)
			}
		})
	}
}

// Arguments: what a reader is shown and then not again, and what it is shown instead of something else. A leader that does not know yet what was
// committed; a log that is being cut; a log that was cut while it was read, with or without another message in that place; and a place that
// holds another message, for whatever reason.
func TestSafetyReads(t *testing.T) {
	m, frame := oneMessage(t)
	other, _ := oneMessage(t)
	good := replication.View{Machine: m, Epoch: 1, Leading: true, Readable: true, Committed: 300, Visible: 300, End: 300}
	with := func(change func(*replication.View)) replication.View {
		v := good
		change(&v)
		return v
	}
	elsewhere := frame
	elsewhere.Payload = append([]byte(nil), frame.Payload...)
	elsewhere.Payload[15] = 2 // another topic's
	for _, c := range []struct {
		what  string
		view  replication.View
		after func(*replication.View) // what becomes of the view while the frame is read
		frame commitlog.Frame
		err   error // of the read
		as    kafka.Reader
		want  error
	}{
		{what: "all is well", view: good, frame: frame},
		{what: "shown before it is committed", view: with(func(v *replication.View) { v.Committed = 100 }), frame: frame},
		{what: "committed is not known", view: with(func(v *replication.View) { v.Readable = false }), frame: frame, want: kerr.OffsetNotAvailable},
		{what: "being cut", view: with(func(v *replication.View) { v.Rebuilding = true }), frame: frame, want: kerr.OffsetNotAvailable},
		{what: "being cut, for a scanner", view: with(func(v *replication.View) { v.Rebuilding = true }), frame: frame, as: kafka.Scanner, want: kerr.OffsetNotAvailable},
		{what: "cut meanwhile", view: good, frame: frame, after: func(v *replication.View) { v.Machine = other }, want: kerr.OffsetNotAvailable},
		{what: "being cut meanwhile", view: good, frame: frame, after: func(v *replication.View) { v.Rebuilding = true }, want: kerr.OffsetNotAvailable},
		{what: "gone meanwhile", view: good, err: commitlog.ErrPosition, after: func(v *replication.View) { v.Machine = other }, want: kerr.OffsetNotAvailable},
		{what: "another message", view: good, frame: elsewhere, want: kerr.KafkaStorageError},
		{what: "damaged", view: good, err: errors.New("bad sector"), want: kerr.KafkaStorageError},
	} {
		t.Run(c.what, func(t *testing.T) {
			l := &scriptedLog{view: c.view}
			l.read = func(position int64) (commitlog.Frame, error) {
				require.EqualValues(t, 100, position)
				if c.after != nil {
					c.after(&l.view)
				}
				return c.frame, c.err
			}
			n := &Node{metrics: newMetrics(nil, nil)}
			p := &partition{n: n, log: l, part: m.TopicByName("t").Local(0, 1)}
			got, err := p.Read(c.as, 0, 1<<20, true, -1)
			if c.want == nil {
				require.NoError(t, err)
				require.EqualValues(t, 1, got.Committed, "the end that is stated is that of what is shown")
				require.Len(t, got.Batches, len(oneRecord(10)))
				return
			}
			require.ErrorIs(t, err, c.want)
		})
	}
}

// A batch that is larger than asked for, and need not be returned, is not read from the disk either: a Fetch may ask for a hundred thousand.
func TestNothingIsReadInVain(t *testing.T) {
	m, _ := oneMessage(t)
	l := &scriptedLog{view: replication.View{Machine: m, Epoch: 1, Leading: true, Readable: true, Committed: 300, Visible: 300, End: 300}}
	l.read = func(int64) (commitlog.Frame, error) {
		require.Fail(t, "the log was read")
		return commitlog.Frame{}, nil
	}
	n := &Node{metrics: newMetrics(nil, nil)}
	p := &partition{n: n, log: l, part: m.TopicByName("t").Local(0, 1)}
	for _, maxBytes := range []int{0, 1, 199} { // the frame has 200
		got, err := p.Read(kafka.Consumer, 0, maxBytes, false, -1)
		require.NoError(t, err)
		require.Empty(t, got.Batches)
		require.EqualValues(t, 1, got.Committed)
	}
}

package partitions

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
)

// feeder makes a log in memory and feeds a machine with it.
type feeder struct {
	m      *Machine
	frames []Frame
	pos    int64
	epoch  int32
}

func newFeeder(group, groups int32) *feeder { return &feeder{m: New(group, groups), epoch: 1} }

func (f *feeder) put(kind uint8, payload []byte) error {
	fr := Frame{Kind: kind, Epoch: f.epoch, Start: f.pos, End: f.pos + int64(len(payload)) + 45, Payload: payload}
	if err := f.m.Apply(fr); err != nil {
		return err
	}
	f.frames = append(f.frames, fr)
	f.pos = fr.End
	return nil
}

func topicID(n byte) uuid.UUID { return uuid.UUID{0: n} }

func (f *feeder) topic(name string, id byte, count int32) error {
	return f.put(KindTopic, AppendTopicPayload(nil, TopicPayload{ID: topicID(id), Partitions: count, Name: name}))
}

// spec is what a test wants of a batch.
type spec struct {
	records  int32
	producer int64
	epoch    int16
	seq      int32
	time     int64
	size     int
}

func (s spec) make() []byte {
	b := make([]byte, batchHeaderBytes+s.size)
	put := func(at int, v uint64, n int) {
		for i := range n {
			b[at+i] = byte(v >> (8 * (n - 1 - i)))
		}
	}
	put(batchLengthAt, uint64(len(b)-batchLengthCovered), 4)
	b[batchMagicAt] = 2
	put(batchLastDeltaAt, uint64(s.records-1), 4)
	put(batchMaxTimeAt, uint64(s.time), 8)
	put(batchProducerAt, uint64(s.producer), 8)
	put(batchProdEpochAt, uint64(uint16(s.epoch)), 2)
	put(batchBaseSeqAt, uint64(uint32(s.seq)), 4)
	put(batchCountAt, uint64(s.records), 4)
	return b
}

func (f *feeder) batch(id byte, partition int32, s spec) error {
	b := s.make()
	p := f.m.Partition(topicID(id), partition)
	base := int64(0)
	if p != nil {
		base = p.LogEnd()
	}
	StampBatch(b, base, f.epoch)
	return f.put(KindBatch, AppendBatchPayload(nil, topicID(id), partition, base, b))
}

func plain(records int32) spec { return spec{records: records, producer: -1, epoch: -1, seq: -1} }

func TestOffsetsAndPositions(t *testing.T) {
	f := newFeeder(0, 1)
	require.NoError(t, f.topic("t", 1, 2))
	var ends []int64 // position after each batch of partition 0
	for i := range 3000 {
		s := plain(1 + int32(i%3))
		s.time = int64(1000 + i)
		require.NoError(t, f.batch(1, 0, s))
		ends = append(ends, f.pos)
		require.NoError(t, f.batch(1, 1, plain(1)))
	}
	p := f.m.Partition(topicID(1), 0)
	require.EqualValues(t, 6000, p.LogEnd())
	require.EqualValues(t, 3000, f.m.Partition(topicID(1), 1).LogEnd())
	require.Zero(t, p.HighWatermark(0))
	require.Zero(t, p.HighWatermark(ends[0]-1))
	require.EqualValues(t, 1, p.HighWatermark(ends[0]))
	require.EqualValues(t, 3, p.HighWatermark(ends[1]))
	require.EqualValues(t, 3, p.HighWatermark(ends[2]-1))
	require.EqualValues(t, 6000, p.HighWatermark(f.pos+1))

	at := func(offset, limit int64, max int) (bases []int64) {
		for _, e := range p.Batches(offset, limit, max) {
			bases = append(bases, e.BaseOffset)
		}
		return bases
	}
	require.Equal(t, []int64{1, 3, 6}, at(2, 7, 1<<20), "from the batch that contains the offset, whole batches below the limit")
	require.Equal(t, []int64{1}, at(1, 6000, 1), "one at least")
	require.Empty(t, at(6000, 6000, 1<<20))
	require.Equal(t, []int64{5997}, at(5999, 6000, 1<<20))
	require.Len(t, at(0, 6000, 1<<30), 3000)

	e, ok := p.AtTime(1500, 6000)
	require.True(t, ok)
	require.EqualValues(t, 1500, e.MaxTimestamp)
	_, ok = p.AtTime(1500, 10)
	require.False(t, ok)
	_, ok = p.AtTime(1<<40, 6000)
	require.False(t, ok)
}

// Producers' clocks go back and forth: what is looked for is the first batch in the order of the log.
func TestAtTimeWithClocksThatGoBack(t *testing.T) {
	f := newFeeder(0, 1)
	require.NoError(t, f.topic("t", 1, 1))
	times := []int64{50, 40, 70, 10, 70, 65, 90}
	for _, at := range times {
		s := plain(1)
		s.time = at
		require.NoError(t, f.batch(1, 0, s))
	}
	p := f.m.Partition(topicID(1), 0)
	for timestamp := int64(0); timestamp < 100; timestamp += 5 {
		for limit := range int64(len(times) + 1) {
			want := slices.IndexFunc(times[:limit], func(at int64) bool { return at >= timestamp })
			e, ok := p.AtTime(timestamp, limit)
			require.Equal(t, want >= 0, ok, "timestamp %d, limit %d", timestamp, limit)
			if ok {
				require.EqualValues(t, want, e.BaseOffset)
				require.Equal(t, times[want], e.MaxTimestamp)
			}
		}
	}
}

func TestEpochTable(t *testing.T) {
	f := newFeeder(0, 1)
	f.epoch = 3
	require.NoError(t, f.put(KindEpoch, AppendEpochPayload(nil, 1)))
	require.NoError(t, f.topic("t", 1, 1))
	p := f.m.Partition(topicID(1), 0)
	check := func(epoch, found int32, end int64) {
		t.Helper()
		gotEpoch, gotEnd := p.EpochEnd(epoch)
		require.Equal(t, found, gotEpoch)
		require.Equal(t, end, gotEnd)
	}
	check(2, -1, -1)
	check(3, 3, 0)
	require.NoError(t, f.batch(1, 0, plain(5)))
	check(3, 3, 5)
	f.epoch = 4
	require.NoError(t, f.put(KindEpoch, AppendEpochPayload(nil, 2)))
	f.epoch = 6 // epoch 4 ended without a batch
	require.NoError(t, f.put(KindEpoch, AppendEpochPayload(nil, 1)))
	check(3, 3, 5)
	check(4, 3, 5)
	check(6, 6, 5)
	require.NoError(t, f.batch(1, 0, plain(1)))
	check(5, 3, 5)
	check(6, 6, 6)
	check(99, 6, 6)
	require.EqualValues(t, 3, p.EpochAt(4))
	require.EqualValues(t, 6, p.EpochAt(5))
	f.epoch = 5
	require.ErrorIs(t, f.batch(1, 0, plain(1)), ErrPayload, "epochs do not go back")
}

func TestTopics(t *testing.T) {
	f := newFeeder(1, 2)
	require.NoError(t, f.topic("b", 1, 4))
	require.NoError(t, f.topic("a", 2, 1))
	require.ErrorIs(t, f.topic("a", 3, 1), ErrPayload)
	require.ErrorIs(t, f.topic("c", 1, 1), ErrPayload)
	names := func() (out []string) {
		for _, topic := range f.m.Topics() {
			out = append(out, topic.Name)
		}
		return out
	}
	require.Equal(t, []string{"a", "b"}, names())
	b := f.m.TopicByName("b")
	for p, here := range []bool{false, true, false, true, false, false} {
		require.Equal(t, here, b.Local(int32(p), 2) != nil, p)
	}
	require.Nil(t, b.Local(-1, 2))
	require.Nil(t, f.m.Partition(topicID(2), 0), "it lives in group 0")
	require.ErrorIs(t, f.batch(1, 0, plain(1)), ErrPayload)
	require.NoError(t, f.batch(1, 3, plain(1)))
	del := func(id byte) error {
		return f.put(KindTopic, AppendTopicPayload(nil, TopicPayload{Delete: true, ID: topicID(id), Partitions: 1, Name: "b"}))
	}
	require.NoError(t, del(1))
	require.NoError(t, del(1), "deleting what is gone")
	require.Equal(t, []string{"a"}, names())
	require.ErrorIs(t, f.batch(1, 3, plain(1)), ErrPayload)
	require.NoError(t, f.topic("b", 9, 2), "the name is free again")
	require.Zero(t, f.m.Partition(topicID(9), 1).LogEnd())
}

func TestIdempotence(t *testing.T) {
	const max = 1<<31 - 1
	in := func(epoch int16, seq, n int32) spec { return spec{records: n, producer: 7, epoch: epoch, seq: seq} }
	type step struct {
		s    spec
		dup  int64 // base offset of the original; -1: none
		err  error
		note string
	}
	for name, steps := range map[string][]step{
		"in order, then all of the last five again": {
			{in(0, 0, 2), -1, nil, ""}, {in(0, 2, 1), -1, nil, ""}, {in(0, 3, 1), -1, nil, ""}, {in(0, 4, 1), -1, nil, ""},
			{in(0, 5, 1), -1, nil, ""}, {in(0, 6, 1), -1, nil, ""},
			{in(0, 2, 1), 2, nil, "the fifth from the end"}, {in(0, 6, 1), 6, nil, ""},
			{in(0, 0, 2), 0, kerr.OutOfOrderSequenceNumber, "too old to be known"},
		},
		"a gap": {{in(0, 0, 1), -1, nil, ""}, {in(0, 2, 1), -1, kerr.OutOfOrderSequenceNumber, ""}, {in(0, 1, 1), -1, nil, ""}},
		"another size is no duplicate": {
			{in(0, 0, 3), -1, nil, ""}, {in(0, 0, 2), -1, kerr.OutOfOrderSequenceNumber, ""},
		},
		"epochs": {
			{in(1, 0, 1), -1, nil, ""}, {in(0, 1, 1), -1, kerr.InvalidProducerEpoch, ""}, {in(2, 1, 1), -1, kerr.OutOfOrderSequenceNumber, "a new epoch starts at 0"},
			{in(2, 0, 1), -1, nil, ""}, {in(1, 0, 1), -1, kerr.InvalidProducerEpoch, ""},
		},
		"an unknown producer starts anywhere": {{in(0, 40, 1), -1, nil, ""}, {in(0, 41, 1), -1, nil, ""}},
		"wrap":                                {{in(0, max-1, 2), -1, nil, ""}, {in(0, 0, 1), -1, nil, ""}, {in(0, max-1, 2), 0, nil, ""}},
		"wrap inside a batch":                 {{in(0, max, 3), -1, nil, ""}, {in(0, 2, 1), -1, nil, ""}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFeeder(0, 1)
			require.NoError(t, f.topic("t", 1, 1))
			p := f.m.Partition(topicID(1), 0)
			for i, st := range steps {
				h, err := ParseBatch(st.s.make())
				require.NoError(t, err)
				dup, found, err := p.CheckProducer(h)
				require.ErrorIs(t, err, st.err, "step %d: %s", i, st.note)
				if st.err != nil {
					continue
				}
				require.Equal(t, st.dup >= 0, found, "step %d: %s", i, st.note)
				if found {
					require.Equal(t, st.dup, dup.BaseOffset)
					continue
				}
				require.NoError(t, f.batch(1, 0, st.s))
			}
		})
	}
}

// A retry of a batch that the log does not hold is not a duplicate: the memory is of what was applied (bugzoo CL-02).
func TestNothingIsRememberedBeforeItIsInTheLog(t *testing.T) {
	f := newFeeder(0, 1)
	require.NoError(t, f.topic("t", 1, 1))
	p := f.m.Partition(topicID(1), 0)
	h, err := ParseBatch(spec{records: 1, producer: 1}.make())
	require.NoError(t, err)
	for range 2 {
		_, found, err := p.CheckProducer(h)
		require.NoError(t, err)
		require.False(t, found)
	}
}

func TestProducersAreBoundedInLogOrder(t *testing.T) {
	f := newFeeder(0, 1)
	require.NoError(t, f.topic("t", 1, 1))
	p := f.m.Partition(topicID(1), 0)
	for i := range int64(maxProducers + 1) {
		require.NoError(t, f.batch(1, 0, spec{records: 1, producer: i}))
		if i == 10 { // producer 0 is no longer the oldest
			require.NoError(t, f.batch(1, 0, spec{records: 1, producer: 0, seq: 1}))
		}
	}
	require.Len(t, p.producers.byID, maxProducers)
	require.Contains(t, p.producers.byID, int64(0))
	require.NotContains(t, p.producers.byID, int64(1))
}

// Equal prefixes give equal machines: feeding a prefix anew gives what the machine was when it had seen just that.
func TestRebuildGivesTheSame(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	f := newFeeder(0, 1)
	require.NoError(t, f.topic("t", 1, 3))
	state := func(m *Machine) string {
		s := fmt.Sprint(m.epoch)
		for _, topic := range m.Topics() {
			for _, p := range topic.local {
				s += fmt.Sprint(topic.Name, p.Index, p.next, p.epochs, p.chunks)
				for el := p.producers.byAge.Front(); el != nil; el = el.Next() {
					s += fmt.Sprintf("%+v", *el.Value.(*producer))
				}
			}
		}
		return s
	}
	var states []string
	for i := range 400 {
		switch rng.IntN(20) {
		case 0:
			f.epoch++
			require.NoError(t, f.put(KindEpoch, AppendEpochPayload(nil, 1)))
		case 1:
			_ = f.topic(fmt.Sprint("x", i), byte(i), 2)
		default:
			require.NoError(t, f.batch(1, int32(rng.IntN(3)), spec{records: 1 + int32(rng.IntN(3)), producer: int64(rng.IntN(4)) - 1, seq: int32(rng.IntN(100)), time: int64(i)}))
		}
		states = append(states, state(f.m))
	}
	for cut := 10; cut < len(states); cut += 37 {
		m := New(0, 1)
		n := 0
		for n < len(f.frames) && state(m) != states[cut] {
			require.NoError(t, m.Apply(f.frames[n]))
			n++
		}
		require.Equal(t, states[cut], state(m))
	}
}

func TestStampLeavesTheChecksum(t *testing.T) {
	b := plain(3).make()
	before := append([]byte(nil), b[batchMagicAt:]...)
	StampBatch(b, 1<<40, 77)
	require.Equal(t, before, b[batchMagicAt:], "what the CRC covers, and the CRC, are as they were")
	h, err := ParseBatch(b)
	require.NoError(t, err)
	require.EqualValues(t, 1<<40, h.BaseOffset)
	require.EqualValues(t, 77, h.LeaderEpoch)
	require.EqualValues(t, -1, h.ProducerID)
}

func TestBadBatches(t *testing.T) {
	for name, change := range map[string]func([]byte) []byte{
		"short":          func(b []byte) []byte { return b[:60] },
		"long":           func(b []byte) []byte { return append(b, 0) },
		"magic":          func(b []byte) []byte { b[batchMagicAt] = 1; return b },
		"no record":      func(b []byte) []byte { clear(b[batchCountAt : batchCountAt+4]); return b },
		"more than fit":  func(b []byte) []byte { b[batchCountAt+3] = 9; return b },
		"negative delta": func(b []byte) []byte { b[batchLastDeltaAt] = 0x80; return b },
		"negative size":  func(b []byte) []byte { b[batchLengthAt] = 0x80; return b },
	} {
		_, err := ParseBatch(change(plain(1).make()))
		require.Error(t, err, name)
	}
}

// Whatever bytes a frame has, Apply refuses it without a change, or the state stays consistent.
func FuzzApply(f *testing.F) {
	b := plain(2).make()
	f.Add(uint8(KindBatch), AppendBatchPayload(nil, topicID(1), 0, 0, b))
	f.Add(uint8(KindTopic), AppendTopicPayload(nil, TopicPayload{ID: topicID(2), Partitions: 3, Name: "u"}))
	f.Add(uint8(KindTopic), AppendTopicPayload(nil, TopicPayload{Delete: true, ID: topicID(1), Partitions: 3, Name: "t"}))
	f.Add(uint8(KindEpoch), AppendEpochPayload(nil, 3))
	f.Add(uint8(9), []byte{})
	f.Fuzz(func(t *testing.T, kind uint8, payload []byte) {
		fe := newFeeder(0, 1)
		require.NoError(t, fe.topic("t", 1, 2))
		before := len(fe.m.Topics())
		if err := fe.put(kind, payload); err != nil {
			require.ErrorIs(t, err, ErrPayload)
			require.Len(t, fe.m.Topics(), before)
			require.Zero(t, fe.m.Partition(topicID(1), 0).LogEnd())
			return
		}
		if p := fe.m.Partition(topicID(1), 0); p != nil && kind == KindBatch {
			require.GreaterOrEqual(t, p.HighWatermark(fe.pos), int64(0))
			require.Equal(t, p.LogEnd(), p.HighWatermark(fe.pos))
		}
	})
}

// What decodes encodes to the same bytes.
func FuzzTopicPayload(f *testing.F) {
	f.Add(AppendTopicPayload(nil, TopicPayload{ID: topicID(2), Partitions: 3, Name: "u"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := DecodeTopicPayload(b)
		if err != nil {
			return
		}
		require.Equal(t, b, AppendTopicPayload(nil, p))
	})
}

package commitlog

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/assay-project/assay/internal/vfs"
)

// machine drives one log through crashes beside a model of what must and what may be found.
type machine struct {
	t     require.TestingT
	disk  *vfs.Disk
	fs    *crashFS
	opts  Options
	log   *Log
	all   []string // everything that may be in the log, in order
	floor int      // how many of them must be
	epoch uint32
	n     int
}

func newMachine(t require.TestingT, seed uint64, o Options) *machine {
	return &machine{t: t, disk: newDisk(seed), opts: o, epoch: 1, all: []string{}}
}

// open recovers and compares; after that the log holds exactly m.all. ok is false if the machine crashed meanwhile.
func (m *machine) open(crashAfter int) (ok bool) {
	m.fs = &crashFS{FS: m.disk, left: crashAfter}
	var got []string
	l, err := Open(m.fs, m.opts, func(f Frame) error {
		got = append(got, string(f.Payload))
		return nil
	})
	if err != nil {
		require.ErrorIs(m.t, err, errCrash)
		return false
	}
	m.log = l
	require.GreaterOrEqual(m.t, len(got), m.floor, "a durable frame is lost")
	require.LessOrEqual(m.t, len(got), len(m.all))
	require.Equal(m.t, m.all[:len(got)], append([]string{}, got...), "the log is no prefix of what was written")
	m.all, m.floor = m.all[:len(got):len(got)], len(got)
	require.Equal(m.t, l.End(), l.Flushed())
	require.Equal(m.t, m.all, append([]string{}, readAll(m.t, l)...))
	return true
}

func (m *machine) append(count int) bool {
	m.epoch++
	for range count {
		m.n++
		p := fmt.Sprintf("%d-%0*d", m.n, m.n*7%90+1, m.n)
		m.all = append(m.all, p)
		if _, err := m.log.Append(m.epoch, 1, []byte(p)); err != nil {
			require.ErrorIs(m.t, err, errCrash)
			return false
		}
	}
	return true
}

func (m *machine) flush() bool {
	if _, err := m.log.Flush(); err != nil {
		require.ErrorIs(m.t, err, errCrash)
		return false
	}
	m.floor = len(m.all)
	return true
}

// truncate keeps the first keep frames.
func (m *machine) truncate(keep int) bool {
	at := int64(0)
	for range keep {
		f, err := m.log.ReadFrame(at)
		require.NoError(m.t, err)
		at = f.End
	}
	m.floor = min(m.floor, keep)
	if err := m.log.Truncate(at); err != nil {
		require.ErrorIs(m.t, err, errCrash)
		return false
	}
	if keep < len(m.all) {
		m.floor = keep
	}
	m.all = m.all[:keep:keep]
	return true
}

// crash ends the process, or the power.
func (m *machine) crash(mode vfs.ImageMode) {
	m.disk, _ = m.disk.Image(mode)
}

// script is a life with everything that touches files: rolls, flushes, truncations in and across segments, and appends
// over the places that were cut.
func (m *machine) script() {
	_ = m.append(5) && m.flush() && m.append(10) && m.truncate(4) && m.append(12) && m.flush() && m.append(3) &&
		m.truncate(1) && m.append(2) && m.truncate(0) && m.append(6) && m.flush() && m.append(2)
}

// TestCrashAfterEveryOperation stops the script after each of its disk operations, in each kind of crash, then stops the
// recovery after each of its operations, and then demands a whole log that can go on.
func TestCrashAfterEveryOperation(t *testing.T) {
	whole := newMachine(t, 0, tinySegments)
	require.True(t, whole.open(-1))
	whole.script()
	total := whole.fs.ops
	require.Greater(t, total, 60)
	cases := 0
	for k := range total + 1 {
		for _, modes := range [][2]vfs.ImageMode{
			{vfs.PowerLoss, vfs.PowerLoss}, {vfs.KeepCache, vfs.PowerLoss}, {vfs.PowerLoss, vfs.KeepCache}, {vfs.KeepCache, vfs.KeepCache},
		} {
			for recoverySteps := range 9 {
				m := newMachine(t, uint64(k*100+recoverySteps), tinySegments)
				if m.open(k) {
					m.script()
				}
				m.crash(modes[0])
				if m.open(recoverySteps) && m.append(2) {
					m.flush()
				}
				m.crash(modes[1])
				require.True(t, m.open(-1), "k=%d", k)
				require.True(t, m.append(8) && m.flush())
				m.crash(vfs.PowerLoss)
				require.True(t, m.open(-1))
				cases++
			}
		}
	}
	t.Logf("%d disk operations, %d crashes", total, cases)
}

// TestCrashModel is the same with random scripts.
func TestCrashModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(t, rapid.Uint64().Draw(t, "seed"), Options{
			SegmentBytes:  int64(rapid.SampledFrom([]int{1, 200, 600, 1 << 20}).Draw(t, "segment")),
			IndexInterval: rapid.SampledFrom([]int{1, 150, 4096}).Draw(t, "index"),
		})
		for range rapid.IntRange(1, 5).Draw(t, "lives") {
			crashAfter := rapid.SampledFrom([]int{-1, -1, 0, 1, 2, 3, 5, 8, 13, 21, 34}).Draw(t, "crash after")
			alive := m.open(crashAfter)
			for range rapid.IntRange(0, 12).Draw(t, "steps") {
				if !alive {
					break
				}
				switch rapid.IntRange(0, 3).Draw(t, "step") {
				case 0, 1:
					alive = m.append(rapid.IntRange(1, 8).Draw(t, "frames"))
				case 2:
					alive = m.flush()
				case 3:
					alive = m.truncate(rapid.IntRange(0, len(m.all)).Draw(t, "keep"))
				}
			}
			m.crash(rapid.SampledFrom([]vfs.ImageMode{vfs.KeepCache, vfs.PowerLoss, vfs.PowerLoss}).Draw(t, "mode"))
		}
		require.True(t, m.open(-1))
		require.NoError(t, m.log.Close())
	})
}

// TestPowerLossTakesWhatNobodyFlushed proves that the crash tests above can fail: without a flush, frames do get lost,
// and tails do get torn.
func TestPowerLossTakesWhatNobodyFlushed(t *testing.T) {
	lost, torn := 0, 0
	for seed := range uint64(100) {
		m := newMachine(t, seed, Options{})
		require.True(t, m.open(-1) && m.append(10))
		m.crash(vfs.PowerLoss)
		require.True(t, m.open(-1))
		if len(m.all) < 10 {
			lost++
		}
		if m.log.Recovery().TruncatedBytes > 0 {
			torn++
		}
	}
	t.Logf("of 100 power losses %d lost frames, %d left a torn tail", lost, torn)
	require.Greater(t, lost, 80)
	require.Greater(t, torn, 30)
}

// TestFollowerCrash is the same for a log that is filled by AppendRaw.
func TestFollowerCrash(t *testing.T) {
	leader := mustOpen(t, newDisk(1), Options{})
	mustAppend(t, leader, 1, payloads(0, 40)...)
	for seed := range uint64(150) {
		d := newDisk(seed)
		floor := int64(0)
		for life := range 4 {
			l, got := contents(t, d, tinySegments)
			require.Equal(t, append([]string{}, payloads(0, len(got))...), append([]string{}, got...))
			require.GreaterOrEqual(t, l.End(), floor)
			chain, err := leader.ChainAt(l.End())
			require.NoError(t, err)
			require.Equal(t, chain, l.Chain())
			for i := range 3 {
				raw, _, err := leader.ReadRaw(l.End(), leader.End(), 300)
				require.NoError(t, err)
				_, err = l.AppendRaw(raw, nil)
				require.NoError(t, err)
				if i < life {
					mustFlush(t, l)
				}
			}
			floor = l.Flushed()
			d, _ = d.Image(vfs.PowerLoss)
		}
	}
}

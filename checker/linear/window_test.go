package linear

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/checker/internal/logview"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/histories/histtest"
)

// models returns the swept model of each partition of h.
func models(t testing.TB, h histories.History) []*model {
	v, err := logview.Build(t.Context(), h)
	require.NoError(t, err)
	var all []*model
	for _, p := range v.Parts {
		all = append(all, New(Config{ReadsUnderLoad: true}).model(v, p))
	}
	return all
}

// requirePictures draws every violation of h, or every partition without one. Porcupine must judge each picture as want, and what witnesses a violation must
// be in its picture.
func requirePictures(t testing.TB, h histories.History, want outcome) {
	drawn := 0
	for _, m := range models(t, h) {
		if len(m.found) == 0 && want == searchLegal {
			require.Equal(t, searchLegal, m.whole().search(t.Context()), "partition %d of\n%s", m.part.ID, text(h))
			drawn++
		}
		for i := range m.found {
			f := &m.found[i]
			w := m.picture(f)
			require.Equal(t, searchIllegal, w.search(t.Context()), "the picture of %q of\n%s", f.text, text(h))
			require.LessOrEqual(t, len(w.acts), maxWhole)
			shown := make(map[int64]bool)
			for i := range w.acts {
				for _, r := range w.acts[i].reads {
					shown[m.v.Reads[r].Invoke], shown[m.v.Reads[r].Done] = true, true
				}
				if s := w.acts[i].send; s >= 0 {
					shown[m.v.Sends[s].Invoke], shown[m.v.Sends[s].Done] = true, true
				}
			}
			for _, op := range f.ops {
				require.True(t, op < 0 || shown[op], "op %d, which witnesses %q, is not in the picture of\n%s", op, f.text, text(h))
			}
			drawn++
		}
	}
	require.Positive(t, drawn)
}

func TestPicturesOfTheCorpus(t *testing.T) {
	for _, class := range []string{"nonlinearizable", "stale-read", "lost-write", "rolled-back-read", "inconsistent-offsets"} {
		for dir, want := range map[string]outcome{"bad": searchIllegal, "good": searchLegal} {
			t.Run(dir+" "+class, func(t *testing.T) {
				h, _, err := histories.ReadFile(filepath.Join("../../histories/corpus", dir, class+".jsonl"))
				require.NoError(t, err)
				requirePictures(t, h, want)
			})
		}
	}
}

// lossy is a message that was acknowledged and read, then lost with its node, and its offset taken by another one.
func lossy() *histtest.Builder {
	b := histtest.New()
	for i := range int64(100) {
		b.Send(1, 0, 1000+i).OK(i)
	}
	b.Send(3, 0, 4711).On("n1").OK(100)
	b.Poll(2, 0, 99).OK(101, append(histtest.Msgs(99, 1099), histtest.Msgs(100, 4711)...)...)
	b.Inject("wipe:leader", "n1")
	var whole []int64
	for i := range int64(100) {
		whole = append(whole, 1000+i)
	}
	for i := range int64(100) {
		b.Send(1, 0, 5000+i).OK(100 + i)
		whole = append(whole, 5000+i)
	}
	b.At(time.Hour).Whole(0, whole...)
	return b
}

func TestPictureOfALostMessage(t *testing.T) {
	h := lossy().History()
	requirePictures(t, h, searchIllegal)
	for _, underLoad := range []bool{true, false} { // whether polls are judged or not, one that returned the message is shown
		v, err := logview.Build(t.Context(), h)
		require.NoError(t, err)
		m := New(Config{ReadsUnderLoad: underLoad}).model(v, v.Part(0))
		require.NotEmpty(t, m.found)
		w := m.picture(&m.found[0])
		var texts []string
		for i := range w.acts {
			texts = append(texts, w.describe(&w.acts[i]))
		}
		require.Contains(t, texts, "p1 send 1099 -> 99")
		require.Contains(t, texts, "p3 send 4711 -> offset 100")
		require.Contains(t, texts, "p2 poll 99..100: 4711 at 100")
		require.Contains(t, texts, "p1 send 5000 -> offset 100")
		require.Regexp(t, `^p\d+ final read 0\.\.199: without 4711, 5000 at 100$`, texts[len(texts)-1])
		require.Less(t, len(texts), 12)

		var page bytes.Buffer
		require.NoError(t, New(Config{ReadsUnderLoad: underLoad}).Visualize(t.Context(), h, 0, &page))
		require.Contains(t, page.String(), `"Description":"wipe n1 at `)
		require.Contains(t, page.String(), "font-size: 0.7rem")
		require.Contains(t, page.String(), "<p>"+m.found[0].text+"</p>")
	}
}

// A loss that nothing shows but the final read: the offset was never said, or the log ends below it.
func TestPictureOfALostEnd(t *testing.T) {
	for _, offset := range []int64{histories.Unset, 1} {
		b := histtest.New()
		b.Send(1, 0, 10).OK(0)
		b.Send(1, 0, 11).OK(offset)
		b.Whole(0, 10)
		requirePictures(t, b.History(), searchIllegal)
	}
}

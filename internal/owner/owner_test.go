package owner

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/internal/osproc"
)

func TestOwner(t *testing.T) {
	me := Self()
	parsed, err := Parse(me.String())
	require.NoError(t, err)
	require.Equal(t, me, parsed)
	require.Equal(t, Alive, me.Fate(me))

	for name, tc := range map[string]struct {
		change func(*Owner)
		want   Fate
	}{
		"another machine":            {func(o *Owner) { o.Host = "elsewhere" }, Unknown},
		"another boot":               {func(o *Owner) { o.Boot = "before" }, Dead},
		"another namespace":          {func(o *Owner) { o.Space = "pid:[1]" }, Unknown},
		"no such process":            {func(o *Owner) { o.PID = 1 << 30 }, Dead},
		"another process's number":   {func(o *Owner) { o.Start = "1" }, Dead},
		"a process of another owner": {func(o *Owner) { o.PID, o.Start = 1, osproc.Start(1) }, Alive},
	} {
		t.Run(name, func(t *testing.T) {
			o := me
			tc.change(&o)
			require.Equal(t, tc.want, o.Fate(me))
		})
	}
	for _, bad := range []string{"", "a/b/c/d", "a/b/c/x/e", "a/b/c/-1/e", "a/b/c/1/e/f"} {
		_, err := Parse(bad)
		require.Error(t, err, "%q", bad)
	}
}

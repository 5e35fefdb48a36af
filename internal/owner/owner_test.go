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
	me.Boot = "boot" // known, whatever the system
	for name, tc := range map[string]struct {
		owner Owner
		want  Fate
	}{
		"no boot":                       {Owner{Host: me.Host, Space: me.Space, PID: me.PID, Start: me.Start}, Alive},
		"no start":                      {Owner{Host: me.Host, Boot: me.Boot, Space: me.Space, PID: me.PID}, Unknown},
		"neither":                       {Owner{Host: me.Host, Space: me.Space, PID: me.PID}, Unknown},
		"neither, and it ended":         {Owner{Host: me.Host, Space: me.Space, PID: 1 << 30}, Dead},
		"no boot, another start":        {Owner{Host: me.Host, Space: me.Space, PID: me.PID, Start: "1"}, Dead},
		"no boot, in another namespace": {Owner{Host: me.Host, Space: "pid:[1]", PID: 1 << 30, Start: "1"}, Unknown},
	} {
		t.Run("known of it: "+name, func(t *testing.T) {
			// What one version or system writes down, another one reads.
			read, err := Parse(tc.owner.String())
			require.NoError(t, err)
			require.Equal(t, tc.want, read.Fate(me))
		})
	}
	t.Run("known of me: no boot", func(t *testing.T) {
		here := me
		here.Boot, here.Space = "", "" // as on Windows, which can have a Linux beside it with the same name
		there := me
		there.Space, there.PID = "pid:[1]", 1<<30
		require.Equal(t, Unknown, there.Fate(here))
	})
	for _, bad := range []string{"", "a/b/c/d", "a/b/c/x/e", "a/b/c/-1/e", "a/b/c/1/e/f"} {
		_, err := Parse(bad)
		require.Error(t, err, "%q", bad)
	}
}

package nemesis_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/fakecluster"
	"github.com/assay-project/assay/histories"
	"github.com/assay-project/assay/nemesis"
)

// nothing is a fault that does nothing.
type nothing struct{ nemesis.Victims }

func (nothing) Inject(context.Context, harness.Stage, harness.Strike, []harness.NodeID) (harness.Undo, error) {
	return func(context.Context) (harness.Effect, error) { return harness.Effect{}, nil }, nil
}

func newNothing(s nemesis.Spec, n *nemesis.Nodes) harness.Fault {
	return nothing{nemesis.Victims{Spec: s, Nodes: n}}
}

// idle is a valid kind of a fault that does nothing.
func idle(name string) nemesis.Kind {
	return nemesis.Kind{
		Info: nemesis.Info{Name: name, Kind: nemesis.Instant, Roles: nemesis.Roles(), Doc: "nothing"},
		Harm: histories.HarmNone, Build: newNothing,
	}
}

func TestNewSetRefuses(t *testing.T) {
	for says, change := range map[string]func(*nemesis.Kind){
		`bad name ""`:                 func(k *nemesis.Kind) { k.Name = "" },
		`bad name "a:b"`:              func(k *nemesis.Kind) { k.Name = "a:b" },
		`bad name "a/b"`:              func(k *nemesis.Kind) { k.Name = "a/b" },
		`bad name "a,b"`:              func(k *nemesis.Kind) { k.Name = "a,b" },
		`bad name " a"`:               func(k *nemesis.Kind) { k.Name = " a" },
		`"none" means something else`: func(k *nemesis.Kind) { k.Name = "none" },
		`two of this name`:            func(k *nemesis.Kind) { k.Name = "kill" },
		`unknown kind ""`:             func(k *nemesis.Kind) { k.Kind = "" },
		`no roles`:                    func(k *nemesis.Kind) { k.Roles = nil },
		`bad role or shape "x,"`:      func(k *nemesis.Kind) { k.Roles = []string{"x,"} },
		`bad role or shape ""`:        func(k *nemesis.Kind) { k.Shapes = []string{""} },
		`"with-clients" (want`:        func(k *nemesis.Kind) { k.Shapes = []string{"with-clients"} },
		`needs a shape`:               func(k *nemesis.Kind) { k.Clients = true },
		`unknown harm ""`:             func(k *nemesis.Kind) { k.Harm = "" },
		`unknown harm "soul"`:         func(k *nemesis.Kind) { k.Harm = "soul" },
		`no Build`:                    func(k *nemesis.Kind) { k.Build = nil },
		`it restarts nodes`:           func(k *nemesis.Kind) { k.Restarts = true },
	} {
		k := idle("idle")
		change(&k)
		_, err := nemesis.NewSet(append(nemesis.Stock(), k)...)
		require.ErrorContains(t, err, says)
	}
	_, err := nemesis.NewSet(append(nemesis.Stock(), idle("idle"))...)
	require.NoError(t, err)
}

// A fault that cannot be built is refused before the run.
func TestBuildThatReturnsNothing(t *testing.T) {
	k := idle("idle")
	k.Build = func(nemesis.Spec, *nemesis.Nodes) harness.Fault { return nil }
	set := stock(t, k)
	_, err := set.Faults("idle")
	require.ErrorContains(t, err, `fault "idle": its Build returned nothing`)
	_, err = set.New(harness.Plan{Strikes: []harness.Strike{strike("idle", 0, time.Second)}})
	require.ErrorContains(t, err, "its Build returned nothing")
}

// Nobody changes a set through what it was made of, or what it returns.
func TestSetIsImmutable(t *testing.T) {
	k := idle("idle")
	kinds := []nemesis.Kind{k, idle("another")}
	set, err := nemesis.NewSet(kinds...)
	require.NoError(t, err)
	kinds[0].Name, k.Roles[0] = "changed", "changed"
	set.Infos()[1].Roles[0] = "changed"
	infos := set.Infos()
	require.Equal(t, "another", infos[0].Name, "by name")
	require.Equal(t, "idle", infos[1].Name)
	require.Equal(t, "one", infos[1].Roles[0])
}

// A set knows what it was given, and nothing else.
func TestSetWithoutStock(t *testing.T) {
	shaped := idle("shaped")
	shaped.Shapes = []string{"round", "square"}
	set, err := nemesis.NewSet(idle("idle"), shaped)
	require.NoError(t, err)
	for text, says := range map[string]string{
		"kill":                      "there is idle, shaped",
		"transfer":                  "there is idle, shaped",
		"idle/round":                "idle has no shapes, only shaped has",
		"shaped/oval":               "there is round, square",
		"shaped/with-clients":       `no shape "with-clients"`,
		"shaped/round/with-clients": "nothing comes after a shape of shaped",
	} {
		_, err := set.Parse(text)
		require.ErrorContains(t, err, says, text)
		require.Error(t, set.Check(harness.Plan{Strikes: []harness.Strike{strike(text, 0, 1)}}, 1))
	}
	spec, err := set.Parse("shaped:leader/square")
	require.NoError(t, err)
	require.Equal(t, nemesis.Spec{Name: "shaped", Role: "leader", Shape: "square", Text: "shaped:leader/square"}, spec)
}

// A role that nobody can draw is refused before the run, unless the fault draws by itself.
func TestUnknownRole(t *testing.T) {
	k := idle("idle")
	k.Roles = []string{"oldest"}
	set := stock(t, k)
	faults, err := set.Faults("idle:oldest")
	require.NoError(t, err)
	c := fakecluster.New(fakecluster.Options{}, 3)
	require.ErrorContains(t, faults[0].Supports(c), `no node can be drawn by the role "oldest"`)
	_, err = faults[0].Draw(t.Context(), c, strike("idle", 0, 1))
	require.ErrorContains(t, err, `no node can be drawn by the role "oldest"`)
}

package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// launchers call the function that they get on a goroutine of its own, whatever they belong to. The
// condition of EventuallyWithT has one, too, but also a T of its own that allows require there.
var launchers = map[string]bool{
	"Go": true, "AfterFunc": true,
	"Eventually": true, "Eventuallyf": true, "Never": true, "Neverf": true,
}

// enders end the goroutine that calls them.
var enders = map[string]bool{
	"FailNow": true, "FailNowf": true, "Fatal": true, "Fatalf": true, "Skip": true, "Skipf": true, "SkipNow": true,
}

// endsElsewhere lists where the tests end a goroutine that is not the test's own. That ends only
// that goroutine: the test goes on without it, and may wait forever for what it was to send.
//
// It sees function literals only, with all that is written inside them. What such a literal calls
// by name is not looked at.
func (p *parsed) endsElsewhere() []string {
	var bad []string
	for _, f := range p.tests {
		ast.Inspect(f, func(n ast.Node) bool {
			for _, lit := range launched(n) {
				bad = append(bad, p.ends(lit)...)
			}
			return true
		})
	}
	slices.Sort(bad)
	return slices.Compact(bad) // a literal in a literal was looked at twice
}

// launched returns the function literals that n starts on another goroutine.
func launched(n ast.Node) []*ast.FuncLit {
	var starts []ast.Expr
	switch n := n.(type) {
	case *ast.GoStmt:
		starts = append(slices.Clone(n.Call.Args), n.Call.Fun)
	case *ast.CallExpr:
		if launchers[calleeName(n)] {
			starts = n.Args
		}
	}
	var lits []*ast.FuncLit
	for _, e := range starts {
		if lit, ok := e.(*ast.FuncLit); ok {
			lits = append(lits, lit)
		}
	}
	return lits
}

// ends lists the calls below n that may end the goroutine: all of package require, and what package
// testing has for it.
func (p *parsed) ends(n ast.Node) []string {
	var at []string
	ast.Inspect(n, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if ok && (exprName(sel.X) == "require" || enders[sel.Sel.Name]) {
			at = append(at, p.fset.Position(call.Pos()).String()+": "+exprName(sel))
		}
		return true
	})
	return at
}

// calleeName is the name of the function or method that is called, without what it belongs to.
func calleeName(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}

func TestOnlyTheTestsGoroutineEndsTheTest(t *testing.T) {
	for _, p := range packages(t) {
		require.Empty(t, p.endsElsewhere(), "use assert and return, or send what was found to the test's goroutine")
	}
}

func TestGoroutineRuleCanFail(t *testing.T) {
	src := `package p
func a() { go func() { require.NoError(t, err) }() }
func b() { wg.Go(func() { for { if x { t.Fatalf("x") } } }) }
func c() { Go(func() { w.t.FailNow() }) }
func d() { go func() { g.Go(func() error { require.True(t, x); return nil }) }() }
func e() { go run(func() { t.Skip() }) }
func f() { time.AfterFunc(1, func() { require.Fail(t, "late") }) }
func g() { require.Eventually(t, func() bool { require.True(t, x); return true }, 2, 1) }

func h() { go func() { assert.NoError(t, err); errs <- err }(); require.NoError(t, <-errs) }
func i() { wg.Go(func() { t.Error("x"); return }); t.Fatal("y") }
func j() { t.Run("x", func(t *testing.T) { require.True(t, x) }) }
func k() { require.EventuallyWithT(t, func(c *assert.CollectT) { require.True(c, x) }, 2, 1) }
func l() { go f(require.New(t)) }
`
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "p.go", src, 0)
	require.NoError(t, err)
	require.Equal(t, []string{
		"p.go:2:24: require.NoError", "p.go:3:40: t.Fatalf", "p.go:4:24: w.t.FailNow", "p.go:5:44: require.True",
		"p.go:6:28: t.Skip", "p.go:7:39: require.Fail", "p.go:8:48: require.True",
	}, (&parsed{fset: fset, tests: []*ast.File{f}}).endsElsewhere())
}

package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// maxParams is how many parameters a function may have: values that belong together are a struct.
const maxParams = 5

// parsed is one directory's Go files.
type parsed struct {
	fset        *token.FileSet
	code, tests []*ast.File
}

// packages parses the module's directories, those of tests' data left out.
func packages(t *testing.T) map[string]*parsed {
	t.Helper()
	root := filepath.Join("..", "..")
	all := make(map[string]*parsed)
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || d.Name() == ".git") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		dir, err := filepath.Rel(root, filepath.Dir(p))
		if err != nil {
			return err
		}
		pkg := all[dir]
		if pkg == nil {
			pkg = &parsed{fset: token.NewFileSet()}
			all[dir] = pkg
		}
		f, err := parser.ParseFile(pkg.fset, p, nil, 0)
		if strings.HasSuffix(p, "_test.go") {
			pkg.tests = append(pkg.tests, f)
		} else {
			pkg.code = append(pkg.code, f)
		}
		return err
	})
	require.NoError(t, err)
	require.Greater(t, len(all), 30, "too few directories were found to mean anything")
	return all
}

// sleeps lists where the tests sleep, unless the package's tests have virtual time: a synctest bubble, or the child of a simulation.
func (p *parsed) sleeps() []string {
	var at []string
	virtual := false
	for _, f := range p.tests {
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			switch exprName(call.Fun) {
			case "time.Sleep":
				at = append(at, p.fset.Position(call.Pos()).String())
			case "synctest.Test", "ChildMain":
				virtual = true
			}
			return true
		})
	}
	if virtual {
		return nil
	}
	return at
}

// mutations lists where functions change a variable of their package, or give its address away. A local variable of the same name counts
// as one, too: it hides the other.
func (p *parsed) mutations() []string {
	vars := make(map[string]bool)
	for _, f := range p.code {
		for _, d := range f.Decls {
			if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR {
				for _, s := range g.Specs {
					for _, n := range s.(*ast.ValueSpec).Names {
						vars[n.Name] = n.Name != "_"
					}
				}
			}
		}
	}
	var bad []string
	look := func(e ast.Expr) {
		for {
			switch x := e.(type) {
			case *ast.IndexExpr:
				e = x.X
				continue
			case *ast.SelectorExpr:
				e = x.X
				continue
			case *ast.Ident:
				if vars[x.Name] {
					bad = append(bad, fmt.Sprintf("%s: %s is changed", p.fset.Position(x.Pos()), x.Name))
				}
			}
			return
		}
	}
	for _, f := range p.code {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				for _, l := range n.Lhs {
					look(l)
				}
			case *ast.IncDecStmt:
				look(n.X)
			case *ast.UnaryExpr:
				if n.Op == token.AND {
					look(n.X)
				}
			}
			return true
		})
	}
	return bad
}

// longSignatures lists functions with too many parameters.
func (p *parsed) longSignatures() []string {
	var bad []string
	for _, f := range append(p.code, p.tests...) {
		ast.Inspect(f, func(n ast.Node) bool {
			if fn, ok := n.(*ast.FuncDecl); ok && fn.Type.Params.NumFields() > maxParams {
				bad = append(bad, fmt.Sprintf("%s: %s has %d parameters", p.fset.Position(fn.Pos()), fn.Name.Name, fn.Type.Params.NumFields()))
			}
			return true
		})
	}
	return bad
}

func TestTestsDoNotSleep(t *testing.T) {
	for _, p := range packages(t) {
		require.Empty(t, p.sleeps(), "wait on a condition, or use virtual time")
	}
}

func TestPackagesHaveNoMutableState(t *testing.T) {
	for _, p := range packages(t) {
		require.Empty(t, p.mutations())
	}
}

func TestSignaturesAreShort(t *testing.T) {
	for _, p := range packages(t) {
		require.Empty(t, p.longSignatures(), "values that belong together are a struct")
	}
}

func TestStyleRulesCanFail(t *testing.T) {
	parse := func(src string) (*token.FileSet, *ast.File) {
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, "p.go", "package p\n"+src, 0)
		require.NoError(t, err)
		return fset, f
	}
	fset, f := parse(`
var a, m, s, fine = 1, map[int]int{}, struct{ x int }{}, 2
func f() { a = 2; a++; m[1] = 2; s.x = 3; _ = &a; b := fine; b = 3; _ = b }
func g(a, b, c, d, e int, f string) {}
func h(a, b, c, d, e int) {}
`)
	p := &parsed{fset: fset, code: []*ast.File{f}}
	require.Len(t, p.mutations(), 5)
	require.Len(t, p.longSignatures(), 1)
	fset, f = parse(`func f() { time.Sleep(1) }`)
	p = &parsed{fset: fset, tests: []*ast.File{f}}
	require.Len(t, p.sleeps(), 1)
	_, bubble := parse(`func g() { synctest.Test(t, nil) }`)
	p.tests = append(p.tests, bubble)
	require.Empty(t, p.sleeps())
}

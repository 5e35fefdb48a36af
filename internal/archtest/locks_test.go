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

// bubbleDirs run inside a synctest bubble, where a goroutine that waits while it holds a sync.Mutex
// freezes virtual time as soon as another one wants the mutex: mutexes do not block durably.
var bubbleDirs = []string{"broker", "internal/netsim", "internal/vfs", "harness", "workloads", "nemesis", "ci/outside"}

// waits are methods and functions that may wait for the network, a disk, a timer or another
// goroutine.
var waits = map[string]bool{
	"Sleep": true, "Wait": true, "Sync": true, "SyncDir": true, "ReadAt": true, "WriteAt": true, "Dial": true, "DialContext": true,
	"Accept": true, "ReadFull": true, "Flush": true, "Request": true, "Invoke": true,
}

// osFiles never run in a bubble, or talk to the real disk, whose waits are system calls.
var osFiles = map[string]bool{"internal/vfs/os.go": true}

func heldAcrossWait(fset *token.FileSet, f *ast.File) []string {
	var bad []string
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Body == nil {
			continue
		}
		bodies := []*ast.BlockStmt{fn.Body}
		ast.Inspect(fn.Body, func(n ast.Node) bool {
			if lit, ok := n.(*ast.FuncLit); ok {
				bodies = append(bodies, lit.Body)
			}
			return true
		})
		for _, b := range bodies {
			c := lockScan{fset: fset, held: map[string]bool{}}
			c.block(b.List)
			bad = append(bad, c.bad...)
		}
	}
	return bad
}

// lockScan walks statements in order and remembers which mutexes are held. Branches are walked with
// a copy.
type lockScan struct {
	fset *token.FileSet
	held map[string]bool
	bad  []string
}

func (c *lockScan) block(list []ast.Stmt) {
	for _, s := range list {
		c.stmt(s)
	}
}

func (c *lockScan) branch(list []ast.Stmt) {
	saved := map[string]bool{}
	for k := range c.held {
		saved[k] = true
	}
	c.block(list)
	c.held = saved
}

func (c *lockScan) stmt(s ast.Stmt) {
	switch s := s.(type) {
	case *ast.ExprStmt:
		if name, op := lockCall(s.X); op != "" {
			if op == "Lock" || op == "RLock" {
				c.held[name] = true
			} else {
				delete(c.held, name)
			}
			return
		}
		c.look(s)
	case *ast.DeferStmt, *ast.GoStmt: // runs later, or elsewhere
	case *ast.BlockStmt:
		c.branch(s.List)
	case *ast.IfStmt:
		c.look(s.Init)
		c.look(s.Cond)
		c.branch(s.Body.List)
		if s.Else != nil {
			c.branch([]ast.Stmt{s.Else})
		}
	case *ast.ForStmt:
		c.look(s.Cond)
		c.branch(s.Body.List)
	case *ast.RangeStmt:
		c.look(s.X)
		c.branch(s.Body.List)
	case *ast.SwitchStmt:
		c.clauses(s.Body)
	case *ast.TypeSwitchStmt:
		c.clauses(s.Body)
	case *ast.SelectStmt:
		c.selectStmt(s)
	default:
		c.look(s)
	}
}

func (c *lockScan) clauses(b *ast.BlockStmt) {
	for _, cl := range b.List {
		c.branch(cl.(*ast.CaseClause).Body)
	}
}

func (c *lockScan) selectStmt(s *ast.SelectStmt) {
	def := false
	for _, cl := range s.Body.List {
		def = def || cl.(*ast.CommClause).Comm == nil
		c.branch(cl.(*ast.CommClause).Body)
	}
	if !def {
		c.report(s, "select")
	}
}

// look reports waits below n, function literals left out: they run when they are called.
func (c *lockScan) look(n ast.Node) {
	if n == nil || len(c.held) == 0 {
		return
	}
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.SendStmt:
			c.report(n, "channel send")
		case *ast.UnaryExpr:
			if n.Op == token.ARROW {
				c.report(n, "channel receive")
			}
		case *ast.CallExpr:
			if sel, ok := n.Fun.(*ast.SelectorExpr); ok && waits[sel.Sel.Name] {
				c.report(n, sel.Sel.Name)
			}
		}
		return true
	})
}

func (c *lockScan) report(n ast.Node, what string) {
	if len(c.held) > 0 {
		c.bad = append(c.bad, fmt.Sprintf("%s: %s while a mutex is held", c.fset.Position(n.Pos()), what))
	}
}

func lockCall(e ast.Expr) (name, op string) {
	call, ok := e.(*ast.CallExpr)
	if !ok {
		return "", ""
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	switch sel.Sel.Name {
	case "Lock", "RLock", "Unlock", "RUnlock":
		return fmt.Sprint(exprName(sel.X)), sel.Sel.Name
	}
	return "", ""
}

func exprName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return exprName(e.X) + "." + e.Sel.Name
	}
	return "?"
}

func TestNoLockIsHeldAcrossAWait(t *testing.T) {
	fset := token.NewFileSet()
	files := 0
	for _, dir := range bubbleDirs {
		err := filepath.WalkDir(filepath.Join("..", "..", filepath.FromSlash(dir)), func(p string, d fs.DirEntry, err error) error {
			rel := filepath.ToSlash(strings.TrimPrefix(p, filepath.Join("..", "..")+string(filepath.Separator)))
			if err != nil || d.IsDir() || !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") || osFiles[rel] || strings.HasPrefix(rel, "harness/cluster/docker/") {
				return err
			}
			f, err := parser.ParseFile(fset, p, nil, 0)
			if err != nil {
				return err
			}
			files++
			for _, b := range heldAcrossWait(fset, f) {
				t.Error(b)
			}
			return nil
		})
		require.NoError(t, err)
	}
	require.Greater(t, files, 40, "too few files were looked at to mean anything")
}

func TestLockRuleCanFail(t *testing.T) {
	src := `package p
func a() { mu.Lock(); defer mu.Unlock(); <-ch }
func b() { x.mu.Lock(); f.Sync(); x.mu.Unlock() }
func c() { mu.Lock(); mu.Unlock(); <-ch }
func d() { mu.Lock(); go func() { <-ch }(); mu.Unlock() }
func e() { mu.RLock(); select { case <-ch: }; mu.RUnlock() }
func f() { mu.Lock(); select { case <-ch: default: }; mu.Unlock() }
func g() { mu.Lock(); if x { mu.Unlock(); time.Sleep(1); return }; time.Sleep(1); mu.Unlock() }
`
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "p.go", src, 0)
	require.NoError(t, err)
	require.Len(t, heldAcrossWait(fset, f), 4, "a, b, e and the second sleep of g")
}

package contract

import (
	"fmt"
	"math"
	"strings"

	"github.com/assay-project/assay/histories"
)

// What the harness notes for the contract (Op.Fault of an op whose F is histories.Note).
const (
	// NoteGroup states one replication group, at the start of the load: Op.Part is its number, Op.Node its members, the leader first.
	NoteGroup = "group"
	// NotePromote states a promote that happened, whoever asked for it: Op.Part is the group, Op.Node the leader, Op.Effect a Promotion's String.
	NotePromote = "promote"
	// NoteCaughtUp states that a node whose disk was damaged has again everything that its leader had when it came back.
	NoteCaughtUp = "caught-up"
)

// Facts are the events of a run that promises depend on.
type Facts struct {
	// Faults are the names of the faults that struck, without role and shape.
	Faults     map[string]bool
	Damages    []Damage
	Promotions []Promotion
	Strikes    []Strike
}

// Damage is one fault that may have destroyed what a node's disk held, or that makes it stop for good.
type Damage struct {
	Fault string // wipe, power, corrupt, fsync, full
	Node  string
	Group int   // AnyGroup: no note says which
	Led   bool  // the node led its group when it was struck
	From  int64 // ns, when it was struck
	Until int64 // ns, when it had caught up again; math.MaxInt64 if it was not seen to
}

// Strike is the time that one fault was on.
type Strike struct {
	From, Until int64 // ns; math.MaxInt64: it was not healed
}

// Promotion is one promote that happened.
type Promotion struct {
	Group  int
	Leader string
	Epoch  int64
	Safe   bool // nothing acknowledged was left behind
	Forced bool
	Moved  bool  // another node led before
	From   int64 // ns, not after it was asked for: when the strike began that did
	Done   int64 // ns, when it was noted
}

// String is the Op.Effect of NotePromote: "epoch 3, leader n2, safe".
func (p Promotion) String() string {
	s := fmt.Sprintf("epoch %d, leader %s, ", p.Epoch, p.Leader)
	switch {
	case p.Safe:
		return s + "safe"
	case p.Forced:
		return s + "forced"
	}
	return s + "unsafe"
}

// FactsOf reads the facts from a history. A node of which no note tells the group may be of any, and is taken for one that may have led.
func FactsOf(h histories.Reader) Facts {
	f := reader{
		facts: Facts{Faults: make(map[string]bool)}, group: make(map[string]int), leader: make(map[int]string), open: make(map[struck][]int),
	}
	for op := range h.Ops() {
		if op.Process == histories.NemesisProcess {
			f.add(op)
		}
	}
	return f.facts
}

// reader collects Facts.
type reader struct {
	facts  Facts
	group  map[string]int   // node -> group
	leader map[int]string   // group -> node
	open   map[struck][]int // strikes that are on, indexes into facts.Strikes
}

// struck is what ties a heal to its injection.
type struck struct{ fault, nodes string }

func (f *reader) add(op *histories.Op) {
	f.strike(op)
	switch {
	case op.F == histories.Inject && op.Err == "":
		name := baseName(op.Fault)
		f.facts.Faults[name] = true
		f.damage(name, op)
	case op.F == histories.Note && op.Fault == NoteGroup:
		for i, n := range nodesOf(op) {
			f.group[n] = int(op.Part)
			if i == 0 {
				f.leader[int(op.Part)] = n
			}
		}
	case op.F == histories.Note && op.Fault == NotePromote && op.Effect != "":
		f.promotion(op)
	case op.F == histories.Note && op.Fault == NoteCaughtUp:
		for i := range f.facts.Damages {
			if d := &f.facts.Damages[i]; d.Node == op.Node && d.Until == math.MaxInt64 {
				d.Until = op.Time
			}
		}
	}
}

// strike notes when faults were on, whatever they were.
func (f *reader) strike(op *histories.Op) {
	key := struck{op.Fault, op.Node}
	switch op.F {
	case histories.Inject:
		f.open[key] = append(f.open[key], len(f.facts.Strikes))
		f.facts.Strikes = append(f.facts.Strikes, Strike{From: op.Time, Until: math.MaxInt64})
	case histories.Heal:
		if on := f.open[key]; len(on) > 0 {
			f.facts.Strikes[on[0]].Until = op.Time
			f.open[key] = on[1:]
		}
	}
}

// asked returns when the earliest of the strikes began that are on, one of which asked for the promote that is noted; 0 if there is none.
func (f *reader) asked() int64 {
	for _, s := range f.facts.Strikes {
		if s.Until == math.MaxInt64 {
			return s.From
		}
	}
	return 0
}

func (f *reader) damage(name string, op *histories.Op) {
	switch name {
	case "wipe", "power", "corrupt", "fsync", "full":
	default:
		return
	}
	for _, n := range nodesOf(op) {
		g, grouped := f.group[n]
		if !grouped {
			g = AnyGroup
		}
		leader, known := f.leader[g]
		f.facts.Damages = append(f.facts.Damages, Damage{
			Fault: name, Node: n, Group: g, Led: !known || leader == n, From: op.Time, Until: math.MaxInt64,
		})
	}
}

func (f *reader) promotion(op *histories.Op) {
	p := Promotion{Group: int(op.Part), Leader: op.Node, Moved: f.leader[int(op.Part)] != op.Node, From: f.asked(), Done: op.Time}
	// What cannot be read is taken for unsafe: the harness writes this text itself, see String.
	_, _ = fmt.Sscanf(op.Effect, "epoch %d,", &p.Epoch)
	p.Safe = strings.HasSuffix(op.Effect, ", safe")
	p.Forced = strings.HasSuffix(op.Effect, ", forced")
	f.facts.Promotions = append(f.facts.Promotions, p)
	f.leader[p.Group] = op.Node
}

// baseName returns a fault's name without role and shape.
func baseName(fault string) string {
	if i := strings.IndexAny(fault, ":/"); i >= 0 {
		return fault[:i]
	}
	return fault
}

func nodesOf(op *histories.Op) []string {
	if op.Node == "" {
		return nil
	}
	return strings.Split(op.Node, ",")
}

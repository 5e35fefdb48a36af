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
}

// Damage is one fault that may have destroyed what a node's disk held, or that makes it stop for good.
type Damage struct {
	Fault string // wipe, power, corrupt, fsync, full
	Node  string
	Group int
	Led   bool  // the node led its group when it was struck
	From  int64 // ns, when it was struck
	Until int64 // ns, when it had caught up again; math.MaxInt64 if it was not seen to
}

// Promotion is one promote that happened.
type Promotion struct {
	Group  int
	Leader string
	Epoch  int64
	Safe   bool // nothing acknowledged was left behind
	Forced bool
	Moved  bool // another node led before
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

// FactsOf reads the facts from a history. A history without notes of its groups knows one group without a leader, so that
// every damaged node is taken for one that may have led.
func FactsOf(h histories.Reader) Facts {
	f := reader{facts: Facts{Faults: make(map[string]bool)}, group: make(map[string]int), leader: make(map[int]string)}
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
	group  map[string]int // node -> group
	leader map[int]string // group -> node
}

func (f *reader) add(op *histories.Op) {
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

func (f *reader) damage(name string, op *histories.Op) {
	switch name {
	case "wipe", "power", "corrupt", "fsync", "full":
	default:
		return
	}
	for _, n := range nodesOf(op) {
		g := f.group[n]
		leader, known := f.leader[g]
		f.facts.Damages = append(f.facts.Damages, Damage{
			Fault: name, Node: n, Group: g, Led: !known || leader == n, From: op.Time, Until: math.MaxInt64,
		})
	}
}

func (f *reader) promotion(op *histories.Op) {
	p := Promotion{Group: int(op.Part), Leader: op.Node, Moved: f.leader[int(op.Part)] != op.Node}
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

package linear

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"html"
	"io"
	"slices"
	"strings"

	"github.com/anishathalye/porcupine"

	"github.com/assay-project/assay/checker/internal/logview"
	"github.com/assay-project/assay/histories"
)

const (
	maxFaults = 12 // in a picture
	maxShown  = 4  // messages that one text names
)

// pictureStyle makes texts small, as Porcupine's boxes are as wide as their texts, and room for a
// sentence below the legend.
const pictureStyle = `
.history-text { font-size: 0.7rem; }
p { margin: 42px 2px 0; font-size: 0.85rem; }
p + #legend + #canvas { margin-top: 8px; }
`

// A state of the log of a window is a string with two bytes per slot: the index of the act that
// filled it, plus one.
const slotBytes = 2

// model is the log as Porcupine's model.
func (w *window) model(ctx context.Context) porcupine.Model {
	seed := maphash.MakeSeed()
	return porcupine.Model{
		Init: func() any { return string(make([]byte, slotBytes*len(w.offsets))) },
		Step: func(state, input, _ any) (bool, any) {
			log, i := state.(string), input.(int)
			if ctx.Err() != nil { // out of time: refuse everything, so that the search ends
				return false, log
			}
			if a := &w.acts[i]; a.send < 0 {
				return w.explains(a, log), log
			}
			return w.append(i, log)
		},
		Hash:                      func(state any) uint64 { return maphash.String(seed, state.(string)) },
		DescribeOperation:         func(input, _ any) string { return w.describe(&w.acts[input.(int)]) },
		DescribeOperationMetadata: func(metadata any) string { return html.EscapeString(metadata.(string)) },
		DescribeState:             func(state any) string { return w.describeLog(state.(string)) },
	}
}

// at returns the index of the act that filled a slot, -1 for an empty one.
func at(log string, slot int) int {
	return int(binary.BigEndian.Uint16([]byte(log[slotBytes*slot:]))) - 1
}

// append lets the i-th act, a send, append to the log, unless a higher offset is taken.
func (w *window) append(i int, log string) (bool, string) {
	a := &w.acts[i]
	if a.inert {
		return true, log
	}
	free := log[slotBytes*a.slot:]
	if a.offset == histories.Unset {
		free = free[:slotBytes]
	}
	if strings.Trim(free, "\x00") != "" {
		return !a.forced, log
	}
	next := []byte(log)
	binary.BigEndian.PutUint16(next[slotBytes*a.slot:], uint16(i+1)) // a window has a few hundred acts at most
	return true, string(next)
}

// explains reports whether the read a can return what it did from the log.
func (w *window) explains(a *act, log string) bool {
	if a.never {
		return false
	}
	for _, want := range a.wants {
		by := at(log, want.slot)
		switch {
		case (want.kind == wantNothing) != (by < 0):
			return false
		case want.kind == wantValue && w.value(by) != want.value:
			return false
		}
	}
	return true
}

// value returns the message of the i-th act.
func (w *window) value(i int) int64 { return w.m.v.Sends[w.acts[i].send].Value }

// operations puts the acts into Porcupine's form, with a row per process, and more rows for what a
// process has open at once.
func (w *window) operations() []porcupine.Operation {
	end := int64(0)
	for i := range w.acts {
		if end = max(end, w.acts[i].call); w.acts[i].ret != logview.Never {
			end = max(end, w.acts[i].ret)
		}
	}
	ops := make([]porcupine.Operation, len(w.acts))
	rows := make(map[[2]int]int64) // process, and how many of its operations are open -> busy until
	keys := make([][2]int, len(w.acts))
	for i := range w.acts {
		a := &w.acts[i]
		ops[i] = porcupine.Operation{Input: i, Call: a.call, Return: min(a.ret, end+1), Metadata: w.details(a)}
		key := [2]int{w.process(a), 0}
		for until, ok := rows[key]; ok && until >= a.call; until, ok = rows[key] {
			key[1]++
		}
		rows[key], keys[i] = ops[i].Return, key
	}
	order := make([][2]int, 0, len(rows))
	for key := range rows {
		order = append(order, key)
	}
	byProcess := func(a, b [2]int) int { return slices.Compare(a[:], b[:]) }
	slices.SortFunc(order, byProcess)
	for i, key := range keys {
		ops[i].ClientId, _ = slices.BinarySearchFunc(order, key, byProcess)
	}
	return ops
}

// search lets Porcupine judge the window.
func (w *window) search(ctx context.Context) outcome {
	ctx, cancel := context.WithTimeout(ctx, windowTime)
	defer cancel()
	return decide(ctx, w.model(ctx), w.operations())
}

// draw writes Porcupine's picture of the window, from what its search has found by windowTime.
func (w *window) draw(out io.Writer) error {
	model := w.model(context.Background())
	_, info := porcupine.CheckOperationsVerbose(model, w.operations(), windowTime)
	info.AddAnnotations(w.annotations())
	var page bytes.Buffer
	if err := porcupine.Visualize(model, info, &page); err != nil {
		return fmt.Errorf("drawing a linearization: %w", err)
	}
	text := strings.Replace(page.String(), "</style>", pictureStyle+"</style>", 1)
	if w.f != nil {
		text = strings.Replace(text, "<body>", "<body><p>"+html.EscapeString(w.f.text)+"</p>", 1)
	}
	if _, err := io.WriteString(out, text); err != nil {
		return fmt.Errorf("writing the picture of a linearization: %w", err)
	}
	return nil
}

// annotations are the faults until the violation showed: until another message came after the first
// one, if one did, and else until the last read.
func (w *window) annotations() []porcupine.Annotation {
	if w.f == nil {
		return nil
	}
	from, to, next := int64(logview.Never), int64(0), int64(0)
	for i := range w.acts {
		a := &w.acts[i]
		if !a.witness {
			continue
		}
		if from, to = min(from, a.call), max(to, a.call); a.send >= 0 {
			next = max(next, a.call)
		}
	}
	if next > from {
		to = next
	}
	var all []porcupine.Annotation
	for _, f := range w.m.v.Strikes {
		if f.Inject < to && (f.Heal == histories.Unset && f.To == logview.Never || f.Heal > from || f.Inject > from) && len(all) < maxFaults {
			all = append(all, porcupine.Annotation{Tag: "faults", Start: f.Inject, Description: f.String(), BackgroundColor: "#ffe9b3"})
		}
	}
	return all
}

func (w *window) process(a *act) int {
	if a.send >= 0 {
		return w.m.v.Sends[a.send].Proc
	}
	return w.m.v.Reads[a.reads[0]].Proc
}

// details is what the picture shows of an act under the mouse.
func (w *window) details(a *act) string {
	node, call, ret, from, to := "", int64(0), int64(0), a.call, a.ret
	if a.send >= 0 {
		s := &w.m.v.Sends[a.send]
		node, call, ret, to = s.Node, s.Call, s.Return, s.Done
	} else {
		first, last := &w.m.v.Reads[a.reads[0]], &w.m.v.Reads[a.reads[len(a.reads)-1]]
		node, call, ret = last.Node, first.Call, last.Return
	}
	text := fmt.Sprintf("Process %d and %s, from %s", w.process(a), orSystem(node), logview.Seconds(call))
	if ret == logview.Never {
		return text + fmt.Sprintf(", never answered; op %d", from)
	}
	return text + fmt.Sprintf(" to %s; op %d and %d", logview.Seconds(ret), from, to)
}

// describe is the text of an act: "p3 send 4711 -> offset 120", "p7 final read 0..1915: without
// 4711". Those that are only near are shorter.
func (w *window) describe(a *act) string {
	text := fmt.Sprintf("p%d ", w.process(a))
	if a.send >= 0 {
		return text + describeSend(&w.m.v.Sends[a.send], a)
	}
	return text + w.describeRead(a)
}

func describeSend(s *logview.Send, a *act) string {
	text := fmt.Sprintf("send %d -> ", s.Value)
	switch {
	case a.inert && s.Type == histories.Fail:
		return text + "refused"
	case a.inert:
		return text + fmt.Sprintf("partition %d", s.Part)
	case a.forced && a.offset == histories.Unset:
		return text + "ok"
	case a.forced && a.witness:
		return text + fmt.Sprintf("offset %d", a.offset)
	case a.forced:
		return text + fmt.Sprint(a.offset)
	case s.Type == histories.Info:
		return text + fmt.Sprintf("no answer, read at %d", a.offset)
	}
	return text + fmt.Sprintf("%s, read at %d", s.Type, a.offset)
}

func (w *window) describeRead(a *act) string {
	first, last := &w.m.v.Reads[a.reads[0]], &w.m.v.Reads[a.reads[len(a.reads)-1]]
	text := first.F + " "
	if first.F == histories.Final {
		text = "final read "
	}
	if next := last.Next(); next > first.From {
		text += fmt.Sprintf("%d..%d", first.From, next-1)
	} else {
		text += fmt.Sprintf("from %d", first.From)
	}
	notes := w.notes(a)
	if len(notes) == 0 && last.Next() == first.From {
		return text + ": nothing"
	}
	if len(notes) == 0 {
		return text
	}
	return text + ": " + strings.Join(notes, ", ")
}

// notes are what a read that proves the violation says of the messages and offsets that it is
// about.
func (w *window) notes(a *act) (notes []string) {
	if !a.witness || w.f == nil {
		return nil
	}
	for _, value := range w.f.values {
		if note := w.saysOf(a, value); note != "" && len(notes) < maxShown {
			notes = append(notes, note)
		}
	}
	for _, want := range a.wants {
		o := w.offsets[want.slot]
		if want.kind == wantValue && slices.Contains(w.f.offsets, o) && !slices.Contains(w.f.values, want.value) && len(notes) < maxShown {
			notes = append(notes, fmt.Sprintf("%d at %d", want.value, o))
		}
	}
	return notes
}

// saysOf is what the read a says of a message: where it is, that it is not there, or nothing.
func (w *window) saysOf(a *act, value int64) string {
	for _, i := range a.reads {
		for _, msg := range w.m.v.Reads[i].Msgs {
			if msg.Value == value {
				return fmt.Sprintf("%d at %d", value, msg.Offset)
			}
		}
	}
	for i := range w.acts {
		if b := &w.acts[i]; b.send >= 0 && !b.inert && w.value(i) == value {
			covers := func(x want) bool { return x.slot == b.slot && x.kind != wantAny }
			if slices.ContainsFunc(a.wants, covers) {
				return fmt.Sprintf("without %d", value)
			}
		}
	}
	return ""
}

// describeLog is the end of a log.
func (w *window) describeLog(log string) string {
	var held []string
	for slot, o := range w.offsets {
		if by := at(log, slot); by >= 0 {
			held = append(held, fmt.Sprintf("%d at %d", w.value(by), o))
		}
	}
	if len(held) == 0 {
		return "an empty log"
	}
	if n := len(held); n > maxShown {
		held = append([]string{"..."}, held[n-maxShown:]...)
	}
	return strings.Join(held, "<br>")
}

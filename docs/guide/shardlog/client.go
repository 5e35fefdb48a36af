package shardlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/harness/target"
	"github.com/assay-project/assay/histories"
)

// client does the ops of one process.
type client struct {
	nodes []harness.NodeID
	addr  func(n harness.NodeID, port string) string
	dial  target.DialFunc
}

// Invoke implements harness.Client.
func (c *client) Invoke(ctx context.Context, op histories.Op) (histories.Op, error) {
	n := c.nodes[int(op.Part)%len(c.nodes)]
	q := request{Part: op.Part, Value: op.Value, From: op.From}
	switch {
	case op.F == histories.Send && op.Msgs == nil:
		q.Do = "append"
	case op.F == histories.Poll || op.F == histories.Final:
		q.Do = "read"
	default: // certainly not done: fail
		return op, fmt.Errorf("this client has no %s of %d messages: %w", op.F, len(op.Msgs), harness.ErrNotApplied)
	}
	conn, err := c.dial(ctx, "tcp", c.addr(n, portName))
	if err != nil { // nothing was sent, so this is a fail too
		return op, fmt.Errorf("%w: %w", harness.ErrNotApplied, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	var a reply
	if err := errors.Join(json.NewEncoder(conn).Encode(q), json.NewDecoder(conn).Decode(&a)); err != nil {
		return op, err // it may be stored and may not: any other error is info
	}
	if a.Err != "" {
		return op, errors.New(a.Err)
	}
	op.Node = string(n)
	if op.F == histories.Send {
		op.Offset = a.Offset
		return op, nil
	}
	op.HW = op.From + int64(len(a.Values)) // where the log ended
	for i, v := range a.Values {
		op.Msgs = append(op.Msgs, histories.Message{Offset: op.From + int64(i), Value: v})
	}
	return op, nil
}

// Close implements harness.Client.
func (c *client) Close() error { return nil }

package masterslave

import (
	"context"
	"errors"
	"fmt"

	"github.com/assay-project/assay/broker/partitions"
)

// boundariesPerRound is how many frame boundaries a follower asks about at once.
const boundariesPerRound = 128

// rejoin finds what this follower's log and the leader's have in common, and cuts the rest off. The log's last frame is of an older epoch
// than the leader's: what the leader does not have was never acknowledged, if its promote was safe.
func (r *Replica) rejoin(ctx context.Context, leader Member, epoch int32) error {
	common, err := r.commonPrefix(ctx, leader, epoch)
	if err != nil {
		return fmt.Errorf("find the common prefix: %w", err)
	}
	if e := r.do(ctx, func() { err = r.cut(epoch, common) }); e != nil {
		return e
	}
	return err
}

// commonPrefix narrows the range in which the common prefix ends, round by round.
func (r *Replica) commonPrefix(ctx context.Context, leader Member, epoch int32) (int64, error) {
	low, high := int64(0), r.log.End() // low is common; what is above high is not
	for {
		bs, err := r.log.Boundaries(low, high, boundariesPerRound)
		if err != nil || len(bs) == 0 {
			return low, err
		}
		ask := make([]boundary, len(bs))
		for i, b := range bs {
			ask[len(bs)-1-i] = boundary{Position: b.Position, Chain: b.Chain}
		}
		resp, err := call(ctx, r.cfg.Dial, leader.Peer, request{Op: opMatch, Group: r.self.Group, Epoch: epoch, Members: r.ids, Boundaries: ask})
		if err == nil && resp.Error != "" {
			err = errors.New(resp.Error)
		}
		if err != nil {
			return 0, err
		}
		if resp.Match >= len(bs) {
			return 0, fmt.Errorf("%w: match %d of %d", errWire, resp.Match, len(bs))
		}
		last := -1 // index into bs of the last common one
		if resp.Match >= 0 {
			last = len(bs) - 1 - resp.Match
		}
		if last >= 0 {
			low = bs[last].Position
		}
		if last == len(bs)-1 {
			return low, nil
		}
		high = bs[last+1].Position - 1
	}
}

// cut truncates the log to the common prefix, and builds the machine anew from what is left.
func (r *Replica) cut(epoch int32, to int64) error {
	s := &r.state
	tail := r.log.Tail()
	if s.meta.Epoch != epoch || s.lead != nil || s.failure != "" {
		return errElsewhere
	}
	if int32(tail.Epoch) >= epoch || to > tail.Position {
		return fmt.Errorf("not truncating from %d (epoch %d) to %d under epoch %d", tail.Position, tail.Epoch, to, epoch)
	}
	r.logger.Warn("truncating to what this log has in common with the leader's", "group", r.self.Group, "epoch", epoch,
		"from", tail.Position, "to", to, "last_epoch", tail.Epoch)
	s.rebuild = true
	s.committed = min(s.committed, to)
	r.publish() // readers know before anything is gone
	if err := r.log.Truncate(to); err != nil {
		r.fail("truncate", err)
		return err
	}
	s.machine, s.epochAt = partitions.New(r.self.Group, r.opts.Groups), epochFrame{}
	for at := int64(0); at < to; {
		f, err := r.log.ReadFrame(at)
		if err == nil {
			err = r.apply(f)
		}
		if err != nil {
			r.fail("read the log again after a truncation", err)
			return err
		}
		at = f.End
	}
	s.rebuild, s.refused = false, ""
	return nil
}

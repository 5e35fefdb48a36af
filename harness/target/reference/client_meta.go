package reference

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// metadataMinAge is how old the client's knowledge of leaders is at least before it asks again.
const metadataMinAge = 100 * time.Millisecond

// metadata is what the client knows about its topic.
type metadata struct {
	routes []route
	asked  time.Time
	stale  bool // something said that it is out of date
}

// route says where a partition is.
type route struct {
	leader   int32 // -1: nobody
	epoch    int32
	replicas []int32
}

// route returns where a partition is, asking the brokers when nothing is known or what is known is said to be stale. Its errors are ErrNotApplied.
func (c *Client) route(ctx context.Context, partition int32) (route, error) {
	if m := &c.meta; m.routes == nil || (m.stale && time.Since(m.asked) >= metadataMinAge) {
		if err := c.refresh(ctx); err != nil {
			return route{}, err
		}
	}
	if partition < 0 || int(partition) >= len(c.meta.routes) {
		c.meta.stale = true
		return route{}, notApplied("topic %s has no partition %d", c.cfg.Topic, partition)
	}
	return c.meta.routes[partition], nil
}

func (c *Client) refresh(ctx context.Context) error {
	c.meta.asked = time.Now()
	req := kmsg.NewPtrMetadataRequest()
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = kmsg.StringPtr(c.cfg.Topic)
	req.Topics = append(req.Topics, topic)
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout/2)
	defer cancel()
	resp, err := req.RequestWith(ctx, c.link)
	if err != nil {
		return notApplied("asking who leads: %w", err)
	}
	if len(resp.Topics) != 1 {
		return notApplied("asking who leads: the answer has %d topics", len(resp.Topics))
	}
	t := &resp.Topics[0]
	if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
		return notApplied("asking who leads topic %s: %w", c.cfg.Topic, err)
	}
	routes := make([]route, len(t.Partitions))
	for i := range t.Partitions {
		p := &t.Partitions[i]
		if p.Partition < 0 || int(p.Partition) >= len(routes) {
			return notApplied("asking who leads: the answer has %d partitions, one with number %d", len(routes), p.Partition)
		}
		routes[p.Partition] = route{leader: p.Leader, epoch: p.LeaderEpoch, replicas: p.Replicas}
	}
	c.meta = metadata{routes: routes, asked: c.meta.asked}
	return nil
}

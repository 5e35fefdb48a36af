package reference

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/assay-project/assay/harness"
)

const (
	topicAttempt = 5 * time.Second
	topicRetry   = 100 * time.Millisecond
)

var _ harness.TopicMaker = (*Admin)(nil)

// CreateTopic implements harness.TopicMaker. It repeats until every group's leader has the topic,
// or ctx ends.
func (a *Admin) CreateTopic(ctx context.Context, name string, partitions int) error {
	var seeds []string
	for _, m := range a.Members() {
		seeds = append(seeds, m.Kafka)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(seeds...), kgo.Dialer(a.Dial), kgo.RequestRetries(0), kgo.MetadataMinAge(topicRetry))
	if err != nil {
		return fmt.Errorf("create topic %s: %w", name, err)
	}
	defer cl.Close()
	for {
		err := createTopic(ctx, cl, name, partitions)
		if err == nil {
			return nil
		}
		timer := time.NewTimer(topicRetry)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("create topic %s with %d partitions: %w; the last attempt: %w", name, partitions, ctx.Err(), err)
		}
	}
}

func createTopic(ctx context.Context, cl *kgo.Client, name string, partitions int) error {
	ctx, cancel := context.WithTimeout(ctx, topicAttempt)
	defer cancel()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic = name
	topic.NumPartitions = int32(partitions)
	topic.ReplicationFactor = -1
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics = append(req.Topics, topic)
	req.TimeoutMillis = int32(topicAttempt.Milliseconds())
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return err
	}
	if len(resp.Topics) != 1 {
		return fmt.Errorf("the answer names %d topics", len(resp.Topics))
	}
	code := resp.Topics[0].ErrorCode
	if code == kerr.TopicAlreadyExists.Code {
		return nil
	}
	if err := kerr.ErrorForCode(code); err != nil {
		if m := resp.Topics[0].ErrorMessage; m != nil {
			return fmt.Errorf("%w: %s", err, *m)
		}
		return err
	}
	return nil
}

package kafka

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func createTopicsAPI() api {
	return api{
		key: keyCreateTopics, min: 0, max: 7,
		schema: schema{
			fields: []field{
				list(str(), bytesN(4), bytesN(2), list(bytesN(4), plainList(bytesN(4))), list(str(), str())),
				bytesN(4), bytesN(1).from(1),
			},
			flexible: 5, refused: noTag,
		},
		decoded: func() kmsg.Request { return kmsg.NewPtrCreateTopicsRequest() },
		handle:  handler(createTopics),
	}
}

// maxAdminTimeout bounds what creates or deletes.
const maxAdminTimeout = 5 * time.Minute

// createTopics creates topics one after the other. How many replicas there are is the cluster's configuration: the replication factor
// is checked for sense and otherwise ignored.
func createTopics(ctx context.Context, s *Server, req *kmsg.CreateTopicsRequest) *kmsg.CreateTopicsResponse {
	ctx, cancel := withAdminTimeout(ctx, req.TimeoutMillis)
	defer cancel()
	resp := kmsg.NewPtrCreateTopicsResponse()
	resp.Version = req.Version
	times := map[string]int{}
	for i := range req.Topics {
		times[req.Topics[i].Topic]++
	}
	brokers := len(s.backend.Cluster().Brokers)
	for i := range req.Topics {
		asked := &req.Topics[i]
		if times[asked.Topic] == 0 {
			continue // answered already
		}
		out := kmsg.NewCreateTopicsResponseTopic()
		out.Topic = asked.Topic
		out.NumPartitions, out.ReplicationFactor = -1, -1
		var view TopicView
		err := s.validSpec(asked, brokers)
		if times[asked.Topic] > 1 {
			err = refuse(kerr.InvalidRequest, "topic %q is named %d times", asked.Topic, times[asked.Topic])
		}
		times[asked.Topic] = 0
		if err == nil {
			view, err = s.create(ctx, asked, req.ValidateOnly)
		}
		if err == nil {
			out.TopicID, out.NumPartitions = view.ID, int32(len(view.Partitions))
			if len(view.Partitions) > 0 {
				out.ReplicationFactor = int16(len(view.Partitions[0].Replicas))
			}
		}
		out.ErrorCode, out.ErrorMessage = s.codeOf(err)
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

func (s *Server) create(ctx context.Context, t *kmsg.CreateTopicsRequestTopic, validateOnly bool) (TopicView, error) {
	view, created, err := s.backend.CreateTopic(ctx, TopicSpec{Name: t.Topic, Partitions: max(t.NumPartitions, 0), ValidateOnly: validateOnly})
	if err == nil && !created {
		err = refuse(kerr.TopicAlreadyExists, "topic %q exists", t.Topic)
	}
	return view, err
}

func (s *Server) validSpec(t *kmsg.CreateTopicsRequestTopic, brokers int) error {
	switch {
	case len(t.ReplicaAssignment) > 0:
		return refuse(kerr.InvalidReplicaAssignment, "topic %q: replicas cannot be assigned by hand", t.Topic)
	case len(t.Configs) > 0:
		return refuse(kerr.InvalidConfig, "topic %q: %s cannot be set on a topic", t.Topic, t.Configs[0].Name)
	case t.NumPartitions < -1 || t.NumPartitions == 0 || int(t.NumPartitions) > s.cfg.MaxPartitions:
		return refuse(kerr.InvalidPartitions, "topic %q: %d partitions; 1 to %d, or -1 for the default", t.Topic, t.NumPartitions, s.cfg.MaxPartitions)
	case t.ReplicationFactor < -1 || t.ReplicationFactor == 0 || int(t.ReplicationFactor) > brokers:
		return refuse(kerr.InvalidReplicationFactor, "topic %q: replication factor %d with %d brokers", t.Topic, t.ReplicationFactor, brokers)
	}
	return validTopic(t.Topic)
}

func withAdminTimeout(ctx context.Context, ms int32) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, min(time.Duration(max(ms, 0))*time.Millisecond, maxAdminTimeout))
}

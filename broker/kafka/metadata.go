package kafka

import (
	"context"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func metadataAPI() api {
	return api{
		key: keyMetadata, min: 0, max: 12,
		schema: schema{
			fields: []field{
				list(bytesN(16).from(10), str()),
				bytesN(1).from(4), bytesN(1).from(8).upTo(10), bytesN(1).from(8),
			},
			flexible: 9, refused: noTag,
		},
		decoded: func() kmsg.Request { return kmsg.NewPtrMetadataRequest() },
		handle:  handler(metadata),
	}
}

// metadata describes the brokers and the topics asked for, each once however often it is named, as Kafka does: a topic of thousands of
// partitions takes half a megabyte. A topic that does not exist is created if both the client and the configuration allow it. Before version
// 4 every client allows it.
func metadata(ctx context.Context, s *Server, req *kmsg.MetadataRequest) *kmsg.MetadataResponse {
	view := s.backend.Cluster()
	resp := kmsg.NewPtrMetadataResponse()
	resp.Version = req.Version
	resp.ControllerID = view.ControllerID
	resp.ClusterID = kmsg.StringPtr(view.ClusterID)
	for _, b := range view.Brokers {
		mb := kmsg.NewMetadataResponseBroker()
		mb.NodeID, mb.Host, mb.Port = b.ID, b.Host, b.Port
		resp.Brokers = append(resp.Brokers, mb)
	}
	if req.Topics == nil || (req.Version == 0 && len(req.Topics) == 0) {
		for i := range view.Topics {
			resp.Topics = append(resp.Topics, topicMetadata(&view.Topics[i]))
		}
		return resp
	}
	index := indexTopics(view.Topics)
	create := s.cfg.AutoCreateTopics && (req.Version < 4 || req.AllowAutoTopicCreation)
	named, byID := map[string]bool{}, map[[16]byte]bool{}
	for i := range req.Topics {
		asked := &req.Topics[i]
		again := false
		if asked.Topic != nil {
			again, named[*asked.Topic] = named[*asked.Topic], true
		} else {
			again, byID[asked.TopicID] = byID[asked.TopicID], true
		}
		if !again {
			resp.Topics = append(resp.Topics, s.topicAsked(ctx, req.Version, asked, index, create))
		}
	}
	return resp
}

// topicAsked answers for one topic of the request.
func (s *Server) topicAsked(ctx context.Context, version int16, asked *kmsg.MetadataRequestTopic, index topicIndex, create bool) kmsg.MetadataResponseTopic {
	if asked.Topic == nil {
		if t := index.byID[asked.TopicID]; t != nil && version >= 12 {
			return topicMetadata(t)
		}
		out := kmsg.NewMetadataResponseTopic()
		out.TopicID = asked.TopicID
		out.ErrorCode = kerr.UnknownTopicID.Code
		if version < 12 { // the name may not be null, in the answer neither
			out.Topic = kmsg.StringPtr("")
			out.ErrorCode = kerr.InvalidRequest.Code
		}
		return out
	}
	name := *asked.Topic
	if t := index.byName[name]; t != nil {
		return topicMetadata(t)
	}
	err := validTopic(name)
	if err == nil && create {
		var t TopicView
		if t, _, err = s.backend.CreateTopic(ctx, TopicSpec{Name: name}); err == nil {
			return topicMetadata(&t)
		}
	} else if err == nil {
		err = refuse(kerr.UnknownTopicOrPartition, "topic %q", name)
	}
	out := kmsg.NewMetadataResponseTopic()
	out.Topic = &name
	out.ErrorCode = s.code(err)
	return out
}

// topicIndex finds the topics of one snapshot.
type topicIndex struct {
	byName map[string]*TopicView
	byID   map[[16]byte]*TopicView
}

func indexTopics(topics []TopicView) topicIndex {
	x := topicIndex{byName: map[string]*TopicView{}, byID: map[[16]byte]*TopicView{}}
	for i := range topics {
		t := &topics[i]
		x.byName[t.Name] = t
		if t.ID != uuid.Nil {
			x.byID[t.ID] = t
		}
	}
	return x
}

func topicMetadata(t *TopicView) kmsg.MetadataResponseTopic {
	out := kmsg.NewMetadataResponseTopic()
	out.Topic = kmsg.StringPtr(t.Name)
	out.TopicID = t.ID
	for i := range t.Partitions {
		p := &t.Partitions[i]
		mp := kmsg.NewMetadataResponseTopicPartition()
		mp.Partition, mp.Leader, mp.LeaderEpoch = int32(i), p.Leader, p.LeaderEpoch
		mp.Replicas, mp.ISR, mp.OfflineReplicas = p.Replicas, p.ISR, p.Offline
		if p.Leader < 0 {
			mp.ErrorCode = kerr.LeaderNotAvailable.Code
		}
		out.Partitions = append(out.Partitions, mp)
	}
	return out
}

// maxTopicName is Kafka's bound: a name has to fit into a directory's.
const maxTopicName = 249

// validTopic holds the rule of org.apache.kafka.common.internals.Topic.
func validTopic(name string) error {
	switch {
	case name == "":
		return refuse(kerr.InvalidTopicException, "a topic's name is empty")
	case name == "." || name == "..":
		return refuse(kerr.InvalidTopicException, "a topic's name is %q", name)
	case len(name) > maxTopicName:
		return refuse(kerr.InvalidTopicException, "a topic's name has %d characters; %d are allowed", len(name), maxTopicName)
	}
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
		default:
			return refuse(kerr.InvalidTopicException, "the topic name %q has characters other than a-z A-Z 0-9 . _ -", name)
		}
	}
	return nil
}

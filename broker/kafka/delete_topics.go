package kafka

import (
	"context"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func deleteTopicsAPI() api {
	return api{
		key: keyDeleteTopics, min: 0, max: 6,
		schema: schema{
			fields:   []field{plainList(str()).upTo(5), list(str(), bytesN(16)).from(6), bytesN(4)},
			flexible: 4, refused: noTag,
		},
		decoded: func() kmsg.Request { return kmsg.NewPtrDeleteTopicsRequest() },
		handle:  handler(deleteTopics),
	}
}

// deleteTopics deletes topics by name or, from version 6 on, by id.
func deleteTopics(ctx context.Context, s *Server, req *kmsg.DeleteTopicsRequest) *kmsg.DeleteTopicsResponse {
	ctx, cancel := withAdminTimeout(ctx, req.TimeoutMillis)
	defer cancel()
	resp := kmsg.NewPtrDeleteTopicsResponse()
	resp.Version = req.Version
	for _, name := range req.TopicNames {
		resp.Topics = append(resp.Topics, s.delete(ctx, &name, uuid.Nil))
	}
	for i := range req.Topics {
		resp.Topics = append(resp.Topics, s.delete(ctx, req.Topics[i].Topic, req.Topics[i].TopicID))
	}
	return resp
}

func (s *Server) delete(ctx context.Context, name *string, id uuid.UUID) kmsg.DeleteTopicsResponseTopic {
	out := kmsg.NewDeleteTopicsResponseTopic()
	out.Topic, out.TopicID = name, id
	var err error
	switch {
	case name != nil && id != uuid.Nil:
		err = refuse(kerr.InvalidRequest, "a topic is given by its name or by its id, not by both")
	case name != nil && *name != "":
		err = s.backend.DeleteTopic(ctx, *name, uuid.Nil)
	case name == nil && id != uuid.Nil:
		err = s.backend.DeleteTopic(ctx, "", id)
	default:
		err = refuse(kerr.InvalidRequest, "neither a name nor an id of a topic")
	}
	out.ErrorCode, out.ErrorMessage = s.codeOf(err)
	return out
}

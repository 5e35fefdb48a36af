package kafka

import (
	"context"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func offsetForLeaderEpochAPI() api {
	return api{
		key: keyOffsetForLeaderEpoch, min: 0, max: 4,
		schema: schema{
			fields:   []field{bytesN(4).from(3), list(str(), list(bytesN(4), bytesN(4).from(2), bytesN(4)))},
			flexible: 4, refused: noTag,
		},
		decoded: func() kmsg.Request { return kmsg.NewPtrOffsetForLeaderEpochRequest() },
		handle:  handler(offsetForLeaderEpoch),
	}
}

// offsetForLeaderEpoch tells consumers where an epoch ended, so that they find out that what they read was truncated (KIP-320).
func offsetForLeaderEpoch(_ context.Context, s *Server, req *kmsg.OffsetForLeaderEpochRequest) *kmsg.OffsetForLeaderEpochResponse {
	resp := kmsg.NewPtrOffsetForLeaderEpochResponse()
	resp.Version = req.Version
	for i := range req.Topics {
		asked := &req.Topics[i]
		t := kmsg.NewOffsetForLeaderEpochResponseTopic()
		t.Topic = asked.Topic
		for j := range asked.Partitions {
			p := &asked.Partitions[j]
			out := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			out.Partition = p.Partition
			part, err := s.backend.Partition(asked.Topic, uuid.Nil, p.Partition)
			if err == nil {
				out.LeaderEpoch, out.EndOffset, err = part.EpochEnd(p.LeaderEpoch, p.CurrentLeaderEpoch)
			}
			if out.ErrorCode = s.code(err); err != nil {
				out.LeaderEpoch, out.EndOffset = -1, -1
			}
			t.Partitions = append(t.Partitions, out)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

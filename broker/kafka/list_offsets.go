package kafka

import (
	"context"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func listOffsetsAPI() api {
	return api{
		key: keyListOffsets, min: 1, max: 6,
		schema: schema{
			fields:   []field{bytesN(4), bytesN(1).from(2), list(str(), list(bytesN(4), bytesN(4).from(4), bytesN(8)))},
			flexible: 6, refused: noTag,
		},
		decoded: func() kmsg.Request { return kmsg.NewPtrListOffsetsRequest() },
		handle:  handler(listOffsets),
	}
}

// earliest is the smallest timestamp with a meaning.
const earliest = -2

// listOffsets answers the earliest and latest offsets and the first one at or after a timestamp, for which it reads a batch. It stops when ctx
// ends: a request may ask for a hundred thousand partitions.
func listOffsets(ctx context.Context, s *Server, req *kmsg.ListOffsetsRequest) *kmsg.ListOffsetsResponse {
	resp := kmsg.NewPtrListOffsetsResponse()
	resp.Version = req.Version
	for i := range req.Topics {
		asked := &req.Topics[i]
		t := kmsg.NewListOffsetsResponseTopic()
		t.Topic = asked.Topic
		for j := range asked.Partitions {
			if ctx.Err() != nil {
				return resp
			}
			p := &asked.Partitions[j]
			out := kmsg.NewListOffsetsResponseTopicPartition()
			out.Partition = p.Partition
			listed, err := s.listed(req.ReplicaID, asked.Topic, p)
			if out.ErrorCode = s.code(err); err == nil {
				out.Timestamp, out.Offset, out.LeaderEpoch = listed.Timestamp, listed.Offset, listed.LeaderEpoch
			}
			t.Partitions = append(t.Partitions, out)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

func (s *Server) listed(replica int32, topic string, p *kmsg.ListOffsetsRequestTopicPartition) (Listed, error) {
	as, err := readerOf(replica)
	if err != nil {
		return Listed{}, err
	}
	if p.Timestamp < earliest {
		return Listed{}, refuse(kerr.InvalidRequest, "timestamp %d has no meaning before version 7", p.Timestamp)
	}
	part, err := s.backend.Partition(topic, uuid.Nil, p.Partition)
	if err != nil {
		return Listed{}, err
	}
	return part.Offsets(as, p.Timestamp, p.CurrentLeaderEpoch)
}

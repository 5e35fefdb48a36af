package kafka

import (
	"context"
	"math"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func initProducerIDAPI() api {
	return api{
		key: keyInitProducerID, min: 0, max: 4,
		schema: schema{
			fields:   []field{str(), bytesN(4), bytesN(8).from(3), bytesN(2).from(3)},
			flexible: 2, refused: noTag,
		},
		decoded: func() kmsg.Request { return kmsg.NewPtrInitProducerIDRequest() },
		handle:  handler(initProducerID),
	}
}

// initProducerID gives a producer a random 63-bit id: unique without any agreement between the brokers. A producer that states
// the id and epoch that it has keeps the id and gets the next epoch (KIP-360), until the epochs are used up.
func initProducerID(_ context.Context, s *Server, req *kmsg.InitProducerIDRequest) *kmsg.InitProducerIDResponse {
	resp := kmsg.NewPtrInitProducerIDResponse()
	resp.Version = req.Version
	resp.ProducerEpoch = -1
	switch {
	case req.TransactionalID != nil:
		s.log.Warn("transactional producer refused: transactions are not supported", "transactional.id", *req.TransactionalID)
		resp.ErrorCode = kerr.TransactionalIDAuthorizationFailed.Code
	case req.ProducerID < -1 || req.ProducerEpoch < -1 || (req.ProducerID == -1) != (req.ProducerEpoch == -1):
		resp.ErrorCode = kerr.InvalidRequest.Code
	case req.ProducerID >= 0 && req.ProducerEpoch < math.MaxInt16:
		resp.ProducerID, resp.ProducerEpoch = req.ProducerID, req.ProducerEpoch+1
	default:
		resp.ProducerID, resp.ProducerEpoch = s.newProducerID(), 0
	}
	return resp
}

func (s *Server) newProducerID() int64 {
	s.randMu.Lock()
	defer s.randMu.Unlock()
	return s.cfg.Rand.Int64()
}

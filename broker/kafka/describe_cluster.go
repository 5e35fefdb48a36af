package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func describeClusterAPI() api {
	return api{
		key: keyDescribeCluster, min: 0, max: 0,
		schema:  schema{fields: []field{bytesN(1)}, flexible: 0, refused: noTag},
		decoded: func() kmsg.Request { return kmsg.NewPtrDescribeClusterRequest() },
		handle:  handler(describeCluster),
	}
}

// describeCluster names the brokers and the controller.
func describeCluster(_ context.Context, s *Server, req *kmsg.DescribeClusterRequest) *kmsg.DescribeClusterResponse {
	view := s.backend.Cluster()
	resp := kmsg.NewPtrDescribeClusterResponse()
	resp.Version = req.Version
	resp.ClusterID, resp.ControllerID = view.ClusterID, view.ControllerID
	for _, b := range view.Brokers {
		out := kmsg.NewDescribeClusterResponseBroker()
		out.NodeID, out.Host, out.Port = b.ID, b.Host, b.Port
		resp.Brokers = append(resp.Brokers, out)
	}
	return resp
}

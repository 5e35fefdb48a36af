package kafka

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The numbers of the APIs that are served: https://kafka.apache.org/protocol#protocol_api_keys
const (
	keyProduce              int16 = 0
	keyFetch                int16 = 1
	keyListOffsets          int16 = 2
	keyMetadata             int16 = 3
	keyAPIVersions          int16 = 18
	keyCreateTopics         int16 = 19
	keyDeleteTopics         int16 = 20
	keyInitProducerID       int16 = 22
	keyOffsetForLeaderEpoch int16 = 23
	keyDescribeConfigs      int16 = 32
	keyDescribeCluster      int16 = 60
)

// api is one API: its versions and what a request looks like. Produce has no handler: see start in produce.go.
type api struct {
	key      int16
	min, max int16
	schema   schema
	decoded  func() kmsg.Request
	// handle carries out a request. ctx ends with the connection; then the result is not used.
	handle func(ctx context.Context, s *Server, req kmsg.Request) kmsg.Response
}

// apis lists everything that is served, in the order of the keys. It is a function because the package has no state.
//
// The minima keep old clients. librdkafka uses record batches v2 only when the advertised ranges contain Produce 3 and Fetch 4, and compresses
// only when they contain Produce 0 (KAFKA-18659); what Produce 0 to 2 carry is refused by its message format.
func apis() []api {
	return []api{
		produceAPI(),
		fetchAPI(),
		listOffsetsAPI(),
		metadataAPI(),
		apiVersionsAPI(),
		createTopicsAPI(),
		deleteTopicsAPI(),
		initProducerIDAPI(),
		offsetForLeaderEpochAPI(),
		describeConfigsAPI(),
		describeClusterAPI(),
	}
}

// handler adapts a typed handler.
func handler[Req kmsg.Request, Resp kmsg.Response](f func(context.Context, *Server, Req) Resp) func(context.Context, *Server, kmsg.Request) kmsg.Response {
	return func(ctx context.Context, s *Server, req kmsg.Request) kmsg.Response { return f(ctx, s, req.(Req)) }
}

// find returns the API of a header. An unknown key and an unsupported version close the connection, as they do in Kafka, except for
// ApiVersions, which can answer anybody.
func find(all []api, h header) (*api, error) {
	i := slices.IndexFunc(all, func(a api) bool { return a.key == h.key })
	if i < 0 {
		return nil, fmt.Errorf("%w: api key %d is not served", errProtocol, h.key)
	}
	a := &all[i]
	if (h.version < a.min || h.version > a.max) && h.key != keyAPIVersions {
		return nil, fmt.Errorf("%w: api key %d has versions %d to %d here, not %d", errProtocol, h.key, a.min, a.max, h.version)
	}
	return a, nil
}

// decode reads the request behind a header. A panic of the decoder counts as a malformed request: it must not end the node.
func (a *api) decode(h header, rest []byte) (req kmsg.Request, err error) {
	defer func() {
		if p := recover(); p != nil {
			req, err = nil, fmt.Errorf("%w: decoding api key %d version %d panicked: %v", errProtocol, h.key, h.version, p)
		}
	}()
	if h.version < a.min || h.version > a.max { // only ApiVersions gets here
		return unsupportedAPIVersions(h), nil
	}
	body, err := skipClientID(rest, h.version >= a.schema.flexible)
	if err != nil {
		return nil, err
	}
	if err := a.schema.check(body, h.version); err != nil {
		return nil, fmt.Errorf("api key %d version %d: %w", h.key, h.version, err)
	}
	req = a.decoded()
	req.SetVersion(h.version)
	if err := req.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("%w: api key %d version %d: %w", errProtocol, h.key, h.version, err)
	}
	return req, nil
}

package kafka_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// served are the ranges of versions that the server promises. The minima are what librdkafka 2.0 and sarama need.
var served = map[int16][2]int16{
	0: {0, 9}, 1: {4, 13}, 2: {1, 6}, 3: {0, 12}, 18: {0, 4}, 19: {0, 7}, 20: {0, 6}, 22: {0, 4}, 23: {0, 4}, 32: {0, 4}, 60: {0, 0},
}

func TestApiVersionsAdvertisesWhatIsServed(t *testing.T) {
	w := loopback(t, 1, defaultConfig())
	r := w.raw(0)
	for version := int16(0); version <= 4; version++ {
		req := kmsg.NewPtrApiVersionsRequest()
		req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = version, "raw", "1"
		resp := call[*kmsg.ApiVersionsResponse](r, req)
		got := map[int16][2]int16{}
		for _, k := range resp.ApiKeys {
			got[k.ApiKey] = [2]int16{k.MinVersion, k.MaxVersion}
		}
		require.Zero(t, resp.ErrorCode)
		require.Equal(t, served, got)
	}
}

func TestApiVersionsOfTheFutureFallsBack(t *testing.T) {
	w := loopback(t, 1, defaultConfig())
	r := w.raw(0)
	for _, version := range []int16{5, 99, -1} {
		// What stands behind the correlation id is unknown in a version from the future.
		_, err := r.nc.Write([]byte{0, 0, 0, 12, 0, 18, byte(version >> 8), byte(version), 0, 0, 0, 7, 0xff, 0xff, 0xff, 0xff})
		require.NoError(t, err)
		corr, body := r.frame()
		resp := kmsg.NewPtrApiVersionsResponse()
		require.NoError(t, resp.ReadFrom(body), "the answer is in version 0")
		require.Equal(t, int32(7), corr)
		require.Equal(t, kerr.UnsupportedVersion.Code, resp.ErrorCode)
		require.Len(t, resp.ApiKeys, 1)
		require.Equal(t, int16(18), resp.ApiKeys[0].ApiKey)
	}
	req := kmsg.NewPtrApiVersionsRequest()
	require.Zero(t, call[*kmsg.ApiVersionsResponse](r, req).ErrorCode, "the connection goes on")
}

// filled is a request of an API with every field that it has at a version, and what a good answer to it looks like.
func filled(key, version int16, id [16]byte) (kmsg.Request, func(*testing.T, kmsg.Response)) {
	req := kmsg.RequestForKey(key)
	req.SetVersion(version)
	var check func(*testing.T, kmsg.Response)
	switch req := req.(type) {
	case *kmsg.ProduceRequest:
		req = produceRequest(version, -1, "t", 0, batch("x", "y"))
		return req, func(t *testing.T, r kmsg.Response) {
			p := r.(*kmsg.ProduceResponse).Topics[0].Partitions[0]
			require.Zero(t, p.ErrorCode)
			require.GreaterOrEqual(t, p.BaseOffset, int64(0))
		}
	case *kmsg.FetchRequest:
		req = fetchRequest(version, "t", 0, 0)
		req.Rack = "r"
		req.Topics[0].TopicID = id
		f := kmsg.NewFetchRequestForgottenTopic()
		f.Topic, f.TopicID, f.Partitions = "gone", id, []int32{1, 2}
		req.ForgottenTopics = append(req.ForgottenTopics, f)
		return req, func(t *testing.T, r kmsg.Response) {
			p := r.(*kmsg.FetchResponse).Topics[0].Partitions[0]
			require.Zero(t, p.ErrorCode)
			got, _ := values(t, p.RecordBatches)
			require.Equal(t, []string{"a", "b"}, got[:2])
		}
	case *kmsg.ListOffsetsRequest:
		req.ReplicaID = -1
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Timestamp = -1
		tp := kmsg.NewListOffsetsRequestTopic()
		tp.Topic, tp.Partitions = "t", append(tp.Partitions, p)
		req.Topics = append(req.Topics, tp)
		check = func(t *testing.T, r kmsg.Response) {
			p := r.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]
			require.Zero(t, p.ErrorCode)
			require.GreaterOrEqual(t, p.Offset, int64(2))
		}
	case *kmsg.MetadataRequest:
		mt := kmsg.NewMetadataRequestTopic()
		mt.Topic = kmsg.StringPtr("t")
		req.Topics = append(req.Topics, mt)
		check = func(t *testing.T, r kmsg.Response) {
			resp := r.(*kmsg.MetadataResponse)
			require.Len(t, resp.Brokers, 2)
			require.Zero(t, resp.Topics[0].ErrorCode)
			require.Len(t, resp.Topics[0].Partitions, 1)
			require.Equal(t, int32(1), resp.Topics[0].Partitions[0].Leader)
		}
	case *kmsg.ApiVersionsRequest:
		req.ClientSoftwareName, req.ClientSoftwareVersion = "raw", "1"
		check = func(t *testing.T, r kmsg.Response) { require.Zero(t, r.(*kmsg.ApiVersionsResponse).ErrorCode) }
	default:
		return filledAdmin(req, version)
	}
	return req, check
}

func filledAdmin(req kmsg.Request, version int16) (kmsg.Request, func(*testing.T, kmsg.Response)) {
	check := func(*testing.T, kmsg.Response) {}
	switch req := req.(type) {
	case *kmsg.CreateTopicsRequest:
		req.TimeoutMillis = 1000
		tp := kmsg.NewCreateTopicsRequestTopic()
		tp.Topic, tp.NumPartitions, tp.ReplicationFactor = fmt.Sprintf("new-%d", version), 2, 1
		req.Topics = append(req.Topics, tp)
		check = func(t *testing.T, r kmsg.Response) {
			require.Zero(t, r.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode)
		}
	case *kmsg.DeleteTopicsRequest:
		name := fmt.Sprintf("new-%d", version)
		req.TimeoutMillis, req.TopicNames = 1000, []string{name}
		dt := kmsg.NewDeleteTopicsRequestTopic()
		dt.Topic = &name
		req.Topics = append(req.Topics, dt)
		check = func(t *testing.T, r kmsg.Response) {
			require.Zero(t, r.(*kmsg.DeleteTopicsResponse).Topics[0].ErrorCode)
		}
	case *kmsg.InitProducerIDRequest:
		check = func(t *testing.T, r kmsg.Response) {
			resp := r.(*kmsg.InitProducerIDResponse)
			require.Zero(t, resp.ErrorCode)
			require.Positive(t, resp.ProducerID)
			require.Zero(t, resp.ProducerEpoch)
		}
	case *kmsg.OffsetForLeaderEpochRequest:
		p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		p.LeaderEpoch = 1
		tp := kmsg.NewOffsetForLeaderEpochRequestTopic()
		tp.Topic, tp.Partitions = "t", append(tp.Partitions, p)
		req.Topics = append(req.Topics, tp)
		check = func(t *testing.T, r kmsg.Response) {
			p := r.(*kmsg.OffsetForLeaderEpochResponse).Topics[0].Partitions[0]
			require.Zero(t, p.ErrorCode)
			require.GreaterOrEqual(t, p.EndOffset, int64(2))
		}
	case *kmsg.DescribeConfigsRequest:
		rs := kmsg.NewDescribeConfigsRequestResource()
		rs.ResourceType, rs.ResourceName, rs.ConfigNames = kmsg.ConfigResourceTypeTopic, "t", []string{"max.message.bytes"}
		req.Resources = append(req.Resources, rs)
		check = func(t *testing.T, r kmsg.Response) {
			resp := r.(*kmsg.DescribeConfigsResponse)
			require.Zero(t, resp.Resources[0].ErrorCode)
			require.Len(t, resp.Resources[0].Configs, 1)
			require.Equal(t, "1048588", *resp.Resources[0].Configs[0].Value)
		}
	case *kmsg.DescribeClusterRequest:
		check = func(t *testing.T, r kmsg.Response) {
			resp := r.(*kmsg.DescribeClusterResponse)
			require.Equal(t, "fake", resp.ClusterID)
			require.Equal(t, int32(1), resp.ControllerID)
			require.Len(t, resp.Brokers, 2)
		}
	}
	return req, check
}

// Every API answers at every version that is advertised, so also at its minimum and maximum.
func TestEveryAPIAtEveryVersion(t *testing.T) {
	w := loopback(t, 2, defaultConfig())
	w.createTopic("t", 1)
	r := w.raw(0)
	call[*kmsg.ProduceResponse](r, produceRequest(9, -1, "t", 0, batch("a", "b")))
	meta := kmsg.NewPtrMetadataRequest()
	meta.Version = 12
	id := call[*kmsg.MetadataResponse](r, meta).Topics[0].TopicID
	require.NotZero(t, id)
	for _, key := range []int16{0, 1, 2, 3, 18, 19, 20, 22, 23, 32, 60} {
		for version := served[key][0]; version <= served[key][1]; version++ {
			t.Run(fmt.Sprintf("%s-%d", kmsg.NameForKey(key), version), func(t *testing.T) {
				if key == 20 { // what CreateTopics made at that version
					create, _ := filled(19, version, id)
					create.SetVersion(7)
					call[*kmsg.CreateTopicsResponse](r, create)
				}
				req, check := filled(key, version, id)
				corr := r.send(req)
				got, resp := r.receive(req)
				require.Equal(t, corr, got)
				check(t, resp)
			})
		}
	}
}

func TestUnservedVersionsAndKeysCloseTheConnection(t *testing.T) {
	w := loopback(t, 1, defaultConfig())
	for key, versions := range served {
		if key == 18 {
			continue
		}
		for _, version := range []int16{versions[0] - 1, versions[1] + 1} {
			r := w.raw(0)
			_, err := r.nc.Write([]byte{0, 0, 0, 10, 0, byte(key), byte(version >> 8), byte(version), 0, 0, 0, 1, 0xff, 0xff})
			require.NoError(t, err)
			r.closed()
		}
	}
	for _, key := range []int16{-1, 10, 11, 4000} {
		r := w.raw(0)
		_, err := r.nc.Write([]byte{0, 0, 0, 10, byte(key >> 8), byte(key), 0, 0, 0, 0, 0, 1, 0xff, 0xff})
		require.NoError(t, err)
		r.closed()
	}
	require.Zero(t, call[*kmsg.ApiVersionsResponse](w.raw(0), kmsg.NewPtrApiVersionsRequest()).ErrorCode, "the node goes on")
	require.NotZero(t, w.servers[0].Stats().Malformed)
}

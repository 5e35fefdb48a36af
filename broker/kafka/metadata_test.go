package kafka_test

import (
	"strings"
	"testing"

	"github.com/assay-project/assay/broker/kafka"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func metadata(r *raw, version int16, allow bool, topics ...string) *kmsg.MetadataResponse {
	req := kmsg.NewPtrMetadataRequest()
	req.Version, req.AllowAutoTopicCreation = version, allow
	for _, name := range topics {
		mt := kmsg.NewMetadataRequestTopic()
		mt.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, mt)
	}
	return call[*kmsg.MetadataResponse](r, req)
}

// null asks for all topics; the empty list asks for none, except in version 0, where it asks for all.
func TestMetadataWhichTopics(t *testing.T) {
	w := loopback(t, 1, defaultConfig())
	w.createTopic("a", 1)
	w.createTopic("b", 1)
	r := w.raw(0)
	require.Len(t, metadata(r, 0, false).Topics, 2)
	require.Len(t, metadata(r, 1, false).Topics, 2)
	require.Len(t, metadata(r, 9, false).Topics, 2)
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	for version, want := range map[int16]int{0: 2, 1: 0, 9: 0} {
		req.Version = version
		require.Len(t, call[*kmsg.MetadataResponse](r, req).Topics, want, "version %d", version)
	}
	require.Len(t, metadata(r, 9, false, "b").Topics, 1)
}

// A topic that is named a thousand times is answered once: its partitions a thousand times would be a way to take the node's memory.
func TestRepeatedNamesAreAnsweredOnce(t *testing.T) {
	w := loopback(t, 1, defaultConfig())
	w.createTopic("a", 1)
	w.createTopic("b", 1)
	r := w.raw(0)
	resp := metadata(r, 9, false, "a", "b", "a", "a", "c", "c")
	require.Len(t, resp.Topics, 3)
	require.Equal(t, "b", *resp.Topics[1].Topic)
	byID := kmsg.NewPtrMetadataRequest()
	byID.Version = 12
	for range 3 {
		byID.Topics = append(byID.Topics, kmsg.MetadataRequestTopic{TopicID: metadata(r, 12, false, "a").Topics[0].TopicID})
	}
	require.Len(t, call[*kmsg.MetadataResponse](r, byID).Topics, 1)

	configs := kmsg.NewPtrDescribeConfigsRequest()
	configs.Version = 4
	for range 3 {
		configs.Resources = append(configs.Resources, kmsg.DescribeConfigsRequestResource{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "1"},
			kmsg.DescribeConfigsRequestResource{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "a"})
	}
	require.Len(t, call[*kmsg.DescribeConfigsResponse](r, configs).Resources, 2)
}

func TestMetadataCreatesTopics(t *testing.T) {
	w := loopback(t, 1, defaultConfig())
	r := w.raw(0)
	unknown := kerr.UnknownTopicOrPartition.Code
	require.Equal(t, unknown, metadata(r, 9, false, "x").Topics[0].ErrorCode)
	require.Zero(t, metadata(r, 9, true, "x").Topics[0].ErrorCode)
	require.Zero(t, metadata(r, 9, false, "x").Topics[0].ErrorCode)
	require.Zero(t, metadata(r, 3, false, "y").Topics[0].ErrorCode, "before version 4 every client allows it")

	cfg := defaultConfig()
	cfg.AutoCreateTopics = false
	off := loopback(t, 1, cfg).raw(0)
	require.Equal(t, unknown, metadata(off, 9, true, "x").Topics[0].ErrorCode)
	require.Equal(t, unknown, metadata(off, 1, true, "x").Topics[0].ErrorCode)
}

func TestTopicNames(t *testing.T) {
	w := loopback(t, 1, defaultConfig())
	r := w.raw(0)
	for _, name := range []string{"", ".", "..", "a b", "a/b", "ä", "a\x00", strings.Repeat("x", 250)} {
		require.Equal(t, kerr.InvalidTopicException.Code, metadata(r, 9, true, name).Topics[0].ErrorCode, "%q", name)
		require.Equal(t, kerr.InvalidTopicException.Code, createOne(r, name, 1, 1).ErrorCode, "%q", name)
	}
	for _, name := range []string{"a", "...", "A.b_c-9", strings.Repeat("x", 249)} {
		require.Zero(t, metadata(r, 9, true, name).Topics[0].ErrorCode, "%q", name)
	}
}

func TestMetadataByID(t *testing.T) {
	w := loopback(t, 1, defaultConfig())
	w.createTopic("a", 1)
	r := w.raw(0)
	id := metadata(r, 12, false, "a").Topics[0].TopicID
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 12
	mt := kmsg.NewMetadataRequestTopic()
	mt.TopicID = id
	other := kmsg.NewMetadataRequestTopic()
	other.TopicID = [16]byte{1}
	req.Topics = append(req.Topics, mt, other)
	resp := call[*kmsg.MetadataResponse](r, req)
	require.Equal(t, "a", *resp.Topics[0].Topic)
	require.Equal(t, kerr.UnknownTopicID.Code, resp.Topics[1].ErrorCode)
}

func TestMetadataWithoutLeader(t *testing.T) {
	w := loopback(t, 1, defaultConfig())
	w.createTopic("a", 2)
	w.cluster.Lead("a", 1, -1)
	topic := metadata(w.raw(0), 9, false, "a").Topics[0]
	require.Zero(t, topic.ErrorCode)
	require.Zero(t, topic.Partitions[0].ErrorCode)
	require.Equal(t, kerr.LeaderNotAvailable.Code, topic.Partitions[1].ErrorCode)
}

func createOne(r *raw, name string, partitions int32, factor int16) kmsg.CreateTopicsResponseTopic {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.TimeoutMillis = 7, 1000
	tp := kmsg.NewCreateTopicsRequestTopic()
	tp.Topic, tp.NumPartitions, tp.ReplicationFactor = name, partitions, factor
	req.Topics = append(req.Topics, tp)
	return call[*kmsg.CreateTopicsResponse](r, req).Topics[0]
}

func TestCreateTopics(t *testing.T) {
	w := loopback(t, 2, defaultConfig())
	r := w.raw(0)
	made := createOne(r, "a", 4, 2)
	require.Zero(t, made.ErrorCode)
	require.EqualValues(t, 4, made.NumPartitions)
	require.EqualValues(t, 2, made.ReplicationFactor)
	require.NotZero(t, made.TopicID)
	require.Equal(t, kerr.TopicAlreadyExists.Code, createOne(r, "a", 4, 2).ErrorCode)
	require.EqualValues(t, 1, createOne(r, "b", -1, -1).NumPartitions, "the default")
	for _, n := range []int32{0, -2, kafka.DefaultMaxPartitions + 1} {
		refused := createOne(r, "c", n, 1)
		require.Equal(t, kerr.InvalidPartitions.Code, refused.ErrorCode)
		require.Contains(t, *refused.ErrorMessage, "1 to 4096")
	}
	for _, n := range []int16{0, -2, 3} {
		require.Equal(t, kerr.InvalidReplicationFactor.Code, createOne(r, "c", 1, n).ErrorCode)
	}

	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.TimeoutMillis = 7, 1000
	topic := func(change func(*kmsg.CreateTopicsRequestTopic)) {
		tp := kmsg.NewCreateTopicsRequestTopic()
		tp.Topic, tp.NumPartitions, tp.ReplicationFactor = "d", 1, 1
		change(&tp)
		req.Topics = append(req.Topics, tp)
	}
	topic(func(tp *kmsg.CreateTopicsRequestTopic) { tp.Topic = "twice" })
	topic(func(tp *kmsg.CreateTopicsRequestTopic) { tp.Topic = "twice" })
	topic(func(tp *kmsg.CreateTopicsRequestTopic) {
		tp.ReplicaAssignment = []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Replicas: []int32{1}}}
	})
	topic(func(tp *kmsg.CreateTopicsRequestTopic) {
		tp.Topic = "e"
		tp.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "retention.ms", Value: kmsg.StringPtr("1")}}
	})
	resp := call[*kmsg.CreateTopicsResponse](r, req)
	require.Len(t, resp.Topics, 3)
	require.Equal(t, kerr.InvalidRequest.Code, resp.Topics[0].ErrorCode)
	require.Equal(t, kerr.InvalidReplicaAssignment.Code, resp.Topics[1].ErrorCode)
	require.Equal(t, kerr.InvalidConfig.Code, resp.Topics[2].ErrorCode)
	require.Contains(t, *resp.Topics[2].ErrorMessage, "retention.ms")

	req.Topics, req.ValidateOnly = nil, true
	topic(func(tp *kmsg.CreateTopicsRequestTopic) { tp.Topic = "dry" })
	require.Zero(t, call[*kmsg.CreateTopicsResponse](r, req).Topics[0].ErrorCode)
	require.Len(t, metadata(r, 9, false).Topics, 2, "only a and b were made")
}

func TestDeleteTopics(t *testing.T) {
	w := loopback(t, 1, defaultConfig())
	w.createTopic("a", 1)
	w.createTopic("b", 1)
	r := w.raw(0)
	id := metadata(r, 12, false, "b").Topics[0].TopicID
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version, req.TimeoutMillis = 6, 1000
	req.Topics = []kmsg.DeleteTopicsRequestTopic{
		{Topic: kmsg.StringPtr("a")}, {TopicID: id}, {Topic: kmsg.StringPtr("a")}, {}, {Topic: kmsg.StringPtr("a"), TopicID: id},
	}
	var codes []int16
	for _, d := range call[*kmsg.DeleteTopicsResponse](r, req).Topics {
		codes = append(codes, d.ErrorCode)
	}
	require.Equal(t, []int16{0, 0, kerr.UnknownTopicOrPartition.Code, kerr.InvalidRequest.Code, kerr.InvalidRequest.Code}, codes)
	require.Empty(t, metadata(r, 9, false).Topics)
}

func TestDescribeConfigs(t *testing.T) {
	cfg := defaultConfig()
	cfg.BrokerConfigs = map[string]string{"replication": "sync"}
	w := loopback(t, 1, cfg)
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.Version = 4
	req.Resources = []kmsg.DescribeConfigsRequestResource{
		{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "1"},
		{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "2"},
		{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "nope"},
		{ResourceType: kmsg.ConfigResourceTypeClientMetrics, ResourceName: "x"},
	}
	resp := call[*kmsg.DescribeConfigsResponse](w.raw(0), req)
	got := map[string]string{}
	for _, c := range resp.Resources[0].Configs {
		got[c.Name] = *c.Value
	}
	require.Equal(t, "sync", got["replication"])
	require.Equal(t, "true", got["auto.create.topics.enable"])
	require.Equal(t, kerr.InvalidRequest.Code, resp.Resources[1].ErrorCode)
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, resp.Resources[2].ErrorCode)
	require.Equal(t, kerr.InvalidRequest.Code, resp.Resources[3].ErrorCode)
}

package kafka

import (
	"context"
	"maps"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func describeConfigsAPI() api {
	return api{
		key: keyDescribeConfigs, min: 0, max: 4,
		schema: schema{
			fields:   []field{list(bytesN(1), str(), plainList(str())), bytesN(1).from(1), bytesN(1).from(3)},
			flexible: 4, refused: noTag,
		},
		decoded: func() kmsg.Request { return kmsg.NewPtrDescribeConfigsRequest() },
		handle:  handler(describeConfigs),
	}
}

// describeConfigs answers for topics and for this broker, for each once however often it is named. Everything is read-only: a node is
// configured by its file.
func describeConfigs(_ context.Context, s *Server, req *kmsg.DescribeConfigsRequest) *kmsg.DescribeConfigsResponse {
	resp := kmsg.NewPtrDescribeConfigsResponse()
	resp.Version = req.Version
	view := s.backend.Cluster()
	index := indexTopics(view.Topics)
	type resource struct {
		kind kmsg.ConfigResourceType
		name string
	}
	answered := map[resource]bool{}
	for i := range req.Resources {
		asked := &req.Resources[i]
		r := resource{asked.ResourceType, asked.ResourceName}
		if answered[r] {
			continue
		}
		answered[r] = true
		out := kmsg.NewDescribeConfigsResponseResource()
		out.ResourceType, out.ResourceName = asked.ResourceType, asked.ResourceName
		configs, err := s.configs(asked, view.NodeID, index)
		out.ErrorCode, out.ErrorMessage = s.codeOf(err)
		for _, name := range slices.Sorted(maps.Keys(configs)) {
			if asked.ConfigNames != nil && !slices.Contains(asked.ConfigNames, name) {
				continue
			}
			c := kmsg.NewDescribeConfigsResponseResourceConfig()
			c.Name, c.Value = name, kmsg.StringPtr(configs[name])
			c.ReadOnly, c.Source, c.ConfigType = true, kmsg.ConfigSourceStaticBrokerConfig, kmsg.ConfigTypeString
			out.Configs = append(out.Configs, c)
		}
		resp.Resources = append(resp.Resources, out)
	}
	return resp
}

func (s *Server) configs(asked *kmsg.DescribeConfigsRequestResource, node int32, topics topicIndex) (map[string]string, error) {
	switch asked.ResourceType {
	case kmsg.ConfigResourceTypeTopic:
		if topics.byName[asked.ResourceName] == nil {
			return nil, refuse(kerr.UnknownTopicOrPartition, "topic %q", asked.ResourceName)
		}
		configs := map[string]string{
			"cleanup.policy":         "delete",
			"compression.type":       "producer",
			"max.message.bytes":      strconv.Itoa(s.cfg.MaxMessageBytes),
			"message.timestamp.type": "CreateTime",
			"retention.bytes":        "-1",
			"retention.ms":           "-1",
		}
		maps.Copy(configs, s.cfg.TopicConfigs)
		return configs, nil
	case kmsg.ConfigResourceTypeBroker:
		if asked.ResourceName != "" && asked.ResourceName != strconv.Itoa(int(node)) {
			return nil, refuse(kerr.InvalidRequest, "broker %q was asked for, this is broker %d", asked.ResourceName, node)
		}
		configs := map[string]string{
			"auto.create.topics.enable": strconv.FormatBool(s.cfg.AutoCreateTopics),
			"broker.id":                 strconv.Itoa(int(node)),
			"connections.max.idle.ms":   strconv.FormatInt(s.cfg.IdleTimeout.Milliseconds(), 10),
			"max.connections":           strconv.Itoa(s.cfg.MaxConnections),
			"message.max.bytes":         strconv.Itoa(s.cfg.MaxMessageBytes),
			"socket.request.max.bytes":  strconv.Itoa(s.cfg.MaxRequestBytes),
		}
		maps.Copy(configs, s.cfg.BrokerConfigs)
		return configs, nil
	}
	return nil, refuse(kerr.InvalidRequest, "resources of type %s have no configuration here", asked.ResourceType)
}

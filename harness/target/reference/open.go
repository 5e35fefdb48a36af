package reference

import "github.com/assay-project/assay/broker/replication/masterslave"

// OpenClient returns a client of a cluster with these settings and members, which writes and reads topic. It does not wait for any broker.
func OpenClient(s Settings, members []masterslave.Member, dial masterslave.DialFunc, topic string) (*Client, error) {
	seeds := make([]string, len(members))
	for i, m := range members {
		seeds[i] = m.Kafka
	}
	return NewClient(ClientConfig{Dial: dial, Seeds: seeds, Topic: topic, Options: s.Client})
}

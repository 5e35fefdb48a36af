package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestRealClients: kcat, franz-go and sarama write and read one topic of a cluster of processes, through a kill -9 of the leader, its
// restart, and an operator's promote of another node.
func TestRealClients(t *testing.T) {
	c := startProcesses(t, 3, `replication: sync, copies: "2"`)
	const topic = "clients"
	var want []string
	values := func(from string) []string {
		var out []string
		for i := range 20 {
			out = append(out, fmt.Sprintf("%s-%d", from, i))
		}
		want = append(want, out...)
		return out
	}

	produceFranz(t, c, topic, values("franz-1"))
	produceSarama(t, c, topic, values("sarama-1"), saramaConfig())
	produceKcat(t, c, topic, values("kcat-1"))

	c.kill(0)
	c.start(0)
	produceFranz(t, c, topic, values("franz-2"))

	c.kill(0) // and it stays away: only a promote helps
	out, err := c.run("admin", "promote", "--config", c.configs[1], "--group", "0")
	require.NoError(t, err, out)
	require.Contains(t, out, "safe")
	produceFranz(t, c, topic, values("franz-3"))
	produceSarama(t, c, topic, values("sarama-2"), saramaConfig())
	produceKcat(t, c, topic, values("kcat-2"))

	c.start(0) // the deposed leader comes back and follows
	consumeEverywhere(t, c, topic, want)
	for i := range 3 {
		c.terminate(i)
	}
}

// TestCompression: what each client writes with each codec is stored as that client compressed it, and every client reads all of it.
func TestCompression(t *testing.T) {
	c := startProcesses(t, 2, `replication: sync, copies: "2"`)
	const topic = "compressed"
	var want []string
	stored := map[uint8]int{} // messages per codec, by its number in Kafka
	value := func(from, codec string, number uint8) []string {
		v := from + "-" + codec + strings.Repeat("-compressible", 50)
		want = append(want, v)
		stored[number]++
		return []string{v}
	}
	for number, codec := range []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()} {
		produceFranz(t, c, topic, value("franz", fmt.Sprint(number), uint8(number)), kgo.ProducerBatchCompression(codec))
	}
	for _, codec := range []sarama.CompressionCodec{sarama.CompressionNone, sarama.CompressionGZIP, sarama.CompressionSnappy, sarama.CompressionLZ4, sarama.CompressionZSTD} {
		cfg := saramaConfig()
		cfg.Producer.Compression = codec
		produceSarama(t, c, topic, value("sarama", codec.String(), uint8(codec)), cfg)
	}
	for codec, number := range map[string]uint8{"none": 0, "gzip": 1, "snappy": 2, "lz4": 0, "zstd": 4} { // lz4: see the README
		produceKcat(t, c, topic, value("kcat", codec, number), "-z", codec)
	}

	consumeEverywhere(t, c, topic, want)
	got := map[uint8]int{}
	for _, r := range fetchFranz(t, c, topic, len(want)) {
		got[r.Attrs.CompressionType()]++
	}
	require.Equal(t, stored, got)
}

// consumeEverywhere reads a topic with every client.
func consumeEverywhere(t *testing.T, c *processes, topic string, want []string) {
	t.Helper()
	slices.Sort(want)
	for name, consume := range map[string]func(*testing.T, *processes, string, int) []string{"franz-go": consumeFranz, "sarama": consumeSarama, "kcat": consumeKcat} {
		got := consume(t, c, topic, len(want))
		slices.Sort(got)
		require.Equal(t, want, got, name)
	}
}

func produceFranz(t *testing.T, c *processes, topic string, values []string, opts ...kgo.Opt) {
	t.Helper()
	opts = append(opts, kgo.SeedBrokers(c.kafka...), kgo.AllowAutoTopicCreation(), kgo.MetadataMinAge(100*time.Millisecond))
	cl, err := kgo.NewClient(opts...)
	require.NoError(t, err)
	defer cl.Close()
	var records []*kgo.Record
	for _, v := range values {
		records = append(records, &kgo.Record{Topic: topic, Value: []byte(v)})
	}
	require.NoError(t, cl.ProduceSync(within(t, 60*time.Second), records...).FirstErr())
}

func consumeFranz(t *testing.T, c *processes, topic string, n int) []string {
	t.Helper()
	var got []string
	for _, r := range fetchFranz(t, c, topic, n) {
		got = append(got, string(r.Value))
	}
	return got
}

func fetchFranz(t *testing.T, c *processes, topic string, n int) []*kgo.Record {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.kafka...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(t, err)
	defer cl.Close()
	ctx := within(t, 60*time.Second)
	var got []*kgo.Record
	for len(got) < n {
		fetches := cl.PollFetches(ctx)
		require.NoError(t, ctx.Err(), "%d of %d", len(got), n)
		got = append(got, fetches.Records()...)
	}
	return got
}

func saramaConfig() *sarama.Config {
	cfg := sarama.NewConfig()
	cfg.Version = sarama.V2_8_0_0
	cfg.Producer.Return.Successes = true
	cfg.Producer.RequiredAcks = sarama.WaitForAll
	cfg.Producer.Idempotent = true
	cfg.Net.MaxOpenRequests = 1
	cfg.Metadata.Retry.Max = 100
	cfg.Producer.Retry.Max = 100
	return cfg
}

func produceSarama(t *testing.T, c *processes, topic string, values []string, cfg *sarama.Config) {
	t.Helper()
	p, err := sarama.NewSyncProducer(c.kafka, cfg)
	require.NoError(t, err)
	for _, v := range values {
		_, _, err := p.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(v)})
		require.NoError(t, err)
	}
	require.NoError(t, p.Close())
}

func consumeSarama(t *testing.T, c *processes, topic string, n int) []string {
	t.Helper()
	consumer, err := sarama.NewConsumer(c.kafka, saramaConfig())
	require.NoError(t, err)
	defer func() { require.NoError(t, consumer.Close()) }()
	partitions, err := consumer.Partitions(topic)
	require.NoError(t, err)
	values := make(chan string)
	for _, p := range partitions {
		pc, err := consumer.ConsumePartition(topic, p, sarama.OffsetOldest)
		require.NoError(t, err)
		defer pc.AsyncClose()
		go func() {
			for m := range pc.Messages() {
				select {
				case values <- string(m.Value):
				case <-t.Context().Done():
				}
			}
		}()
	}
	ctx := within(t, 60*time.Second)
	var got []string
	for len(got) < n {
		select {
		case v := <-values:
			got = append(got, v)
		case <-ctx.Done():
			require.FailNow(t, "sarama", "%d of %d", len(got), n)
		}
	}
	return got
}

// kcat returns the path of kcat; without it the part of the test that needs it is a failure in CI, and skips loudly elsewhere.
func kcat(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("kcat")
	if err != nil {
		if os.Getenv("CI") != "" {
			require.NoError(t, err, "CI needs kcat: apt-get install kcat")
		}
		t.Skip("NOT TESTED WITH kcat: it is not installed (apt-get install kcat)")
	}
	return path
}

func produceKcat(t *testing.T, c *processes, topic string, values []string, args ...string) {
	t.Helper()
	args = append([]string{"-P", "-b", strings.Join(c.kafka, ","), "-t", topic, "-X", "enable.idempotence=true"}, args...)
	cmd := exec.CommandContext(within(t, 60*time.Second), kcat(t), args...)
	cmd.Stdin = strings.NewReader(strings.Join(values, "\n") + "\n")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

func consumeKcat(t *testing.T, c *processes, topic string, n int) []string {
	t.Helper()
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(within(t, 60*time.Second), kcat(t), "-C", "-b", strings.Join(c.kafka, ","), "-t", topic, "-o", "beginning", "-c", fmt.Sprint(n), "-q")
	cmd.Stdout, cmd.Stderr = &out, &errOut
	require.NoError(t, cmd.Run(), "%s", errOut.String())
	return strings.Fields(out.String())
}

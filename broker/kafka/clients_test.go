package kafka_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// franz-go's own producer (idempotent, acks=all), its consumer and its admin client.
func TestFranzGo(t *testing.T) {
	w := loopback(t, 3, defaultConfig())
	ctx := within(t, 30*time.Second)
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.addrs...), kgo.ConsumeTopics("franz"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(t, err)
	defer cl.Close()
	adm := kadm.NewClient(cl)
	created, err := adm.CreateTopic(ctx, 3, 2, nil, "franz")
	require.NoError(t, err)
	require.NoError(t, created.Err)
	_, err = adm.CreateTopic(ctx, 3, 2, nil, "franz")
	require.ErrorContains(t, err, "TOPIC_ALREADY_EXISTS")

	const n = 500
	sent := map[string]bool{}
	var records []*kgo.Record
	for i := range n {
		v := fmt.Sprintf("value-%d", i)
		sent[v] = true
		records = append(records, &kgo.Record{Topic: "franz", Value: []byte(v)})
	}
	require.NoError(t, cl.ProduceSync(ctx, records...).FirstErr())
	for len(sent) > 0 {
		fetches := cl.PollFetches(ctx)
		require.NoError(t, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			require.True(t, sent[string(r.Value)], "unknown or seen twice: %s", r.Value)
			delete(sent, string(r.Value))
		})
	}
	ends, err := adm.ListEndOffsets(ctx, "franz")
	require.NoError(t, err)
	total := int64(0)
	ends.Each(func(o kadm.ListedOffset) { total += o.Offset })
	require.EqualValues(t, n, total)
	topics, err := adm.ListTopics(ctx)
	require.NoError(t, err)
	require.Len(t, topics["franz"].Partitions, 3)
	configs, err := adm.DescribeTopicConfigs(ctx, "franz")
	require.NoError(t, err)
	require.NotEmpty(t, configs[0].Configs)
	brokers, err := adm.ListBrokers(ctx)
	require.NoError(t, err)
	require.Len(t, brokers, 3)
	deleted, err := adm.DeleteTopics(ctx, "franz")
	require.NoError(t, err)
	require.NoError(t, deleted["franz"].Err)
}

// acks=0 has no response at all: a later request on the same connection must find its own.
func TestFranzGoWithoutAcks(t *testing.T) {
	w := loopback(t, 1, defaultConfig())
	ctx := within(t, 30*time.Second)
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.addrs...), kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite(), kgo.AllowAutoTopicCreation())
	require.NoError(t, err)
	defer cl.Close()
	for range 10 {
		require.NoError(t, cl.ProduceSync(ctx, &kgo.Record{Topic: "none", Value: []byte("v")}).FirstErr())
	}
	require.NoError(t, cl.Ping(ctx))
	require.Eventually(t, func() bool { return w.cluster.End("none", 0) == 10 }, 10*time.Second, 5*time.Millisecond)
}

func TestSarama(t *testing.T) {
	for _, version := range []sarama.KafkaVersion{sarama.V1_0_0_0, sarama.V2_1_0_0, sarama.V2_8_0_0, sarama.V3_6_0_0} {
		t.Run(version.String(), func(t *testing.T) {
			w := loopback(t, 2, defaultConfig())
			w.createTopic("sarama", 2)
			cfg := sarama.NewConfig()
			cfg.Version = version
			cfg.Producer.RequiredAcks = sarama.WaitForAll
			cfg.Producer.Return.Successes = true
			cfg.Producer.Idempotent = true
			cfg.Net.MaxOpenRequests = 1
			producer, err := sarama.NewSyncProducer(w.addrs, cfg)
			require.NoError(t, err)
			defer producer.Close()
			for i := range 20 {
				_, offset, err := producer.SendMessage(&sarama.ProducerMessage{Topic: "sarama", Key: sarama.StringEncoder("k"), Value: sarama.StringEncoder(fmt.Sprint(i))})
				require.NoError(t, err)
				require.EqualValues(t, i, offset)
			}
			consumer, err := sarama.NewConsumer(w.addrs, cfg)
			require.NoError(t, err)
			defer consumer.Close()
			part := int32(0)
			if w.cluster.End("sarama", 0) == 0 {
				part = 1
			}
			pc, err := consumer.ConsumePartition("sarama", part, sarama.OffsetOldest)
			require.NoError(t, err)
			defer pc.Close()
			for i := range 20 {
				select {
				case m := <-pc.Messages():
					require.Equal(t, fmt.Sprint(i), string(m.Value))
				case err := <-pc.Errors():
					require.NoError(t, err)
				case <-within(t, 10*time.Second).Done():
					t.Fatal("nothing came")
				}
			}
		})
	}
}

// kcat runs librdkafka's command line client; without it the test is skipped on a developer's machine only.
func kcat(t *testing.T, stdin string, args ...string) string {
	path, err := exec.LookPath("kcat")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("kcat is not installed; CI needs it (apt-get install kcat)")
		}
		t.Skip("SKIPPED, NOT TESTED: kcat is not installed (apt-get install kcat)")
	}
	cmd := exec.CommandContext(within(t, 30*time.Second), path, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Run(), "kcat %v: %s", args, stderr.String())
	return stdout.String()
}

func TestKcat(t *testing.T) {
	w := loopback(t, 3, defaultConfig())
	servers := strings.Join(w.addrs, ",")
	kcat(t, "one\ntwo\nthree\n", "-b", servers, "-P", "-t", "kcat", "-p", "0", "-X", "acks=all")
	kcat(t, "four\n", "-b", servers, "-P", "-t", "kcat", "-p", "0", "-X", "enable.idempotence=true")
	kcat(t, strings.Repeat("compressed ", 100)+"\n", "-b", servers, "-P", "-t", "kcat", "-p", "0", "-z", "snappy")
	got := kcat(t, "", "-b", servers, "-C", "-t", "kcat", "-p", "0", "-o", "beginning", "-e", "-q", "-f", "%o:%s\n")
	require.Equal(t, "0:one\n1:two\n2:three\n3:four\n4:"+strings.Repeat("compressed ", 100)+"\n", got)
	require.Equal(t, "4:"+strings.Repeat("compressed ", 100)+"\n", kcat(t, "", "-b", servers, "-C", "-t", "kcat", "-p", "0", "-o", "-1", "-e", "-q", "-f", "%o:%s\n"))
	listed := kcat(t, "", "-b", servers, "-L")
	require.Contains(t, listed, "3 brokers")
	require.Contains(t, listed, `topic "kcat" with 1 partitions`)
	require.Contains(t, kcat(t, "", "-b", servers, "-Q", "-t", "kcat:0:-1"), "offset 5")
}

// What kcat is told to compress comes compressed. librdkafka sends it as it is when it believes that the broker cannot read it, as it does
// with lz4 unless the broker has group coordinators.
func TestKcatCompresses(t *testing.T) {
	w := loopback(t, 1, defaultConfig())
	value := strings.Repeat("compressible ", 100)
	codecs := []string{"none", "gzip", "snappy", "lz4", "zstd"} // by their numbers in a batch's attributes
	const lz4 = 3
	for want, name := range codecs {
		kcat(t, value+"\n", "-b", w.addrs[0], "-P", "-t", name, "-p", "0", "-z", name)
		records := fetched(w.raw(0), fetchRequest(12, name, 0, 0)).RecordBatches
		require.Greater(t, len(records), 22)
		if want == lz4 {
			want = 0
		}
		require.Equal(t, want, int(records[22]&7), name)
		require.Equal(t, value+"\n", kcat(t, "", "-b", w.addrs[0], "-C", "-t", name, "-p", "0", "-o", "beginning", "-e", "-q"))
	}
}

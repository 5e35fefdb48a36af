package reference

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/assay-project/assay/harness"
	"github.com/assay-project/assay/histories"
)

// DefaultClientTimeout is the default of ClientConfig.Timeout: longer than the brokers' replication timeout (3 s), so that their answer comes first.
const DefaultClientTimeout = 5 * time.Second

// ClientConfig says how a Client drives a cluster. Dial, Seeds and Topic are required.
type ClientConfig struct {
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
	Seeds   []string // host:port of some brokers
	Topic   string   // what is written and read
	Options ClientOptions
	// Timeout bounds each Send and Poll; 0 means DefaultClientTimeout, less than 1 s is made 1 s.
	Timeout time.Duration
	// PayloadBytes is the size of a message; smaller than a value needs means as small as possible.
	PayloadBytes int
}

// Client is the harness's client of a Kafka broker that keeps the reference broker's promises about errors: which are refusals before
// the append (see broker/kafka.Partition), and that NOT_ENOUGH_REPLICAS_AFTER_APPEND means stored but weak.
//
// Without retries a send is one Produce request with one record batch made by hand, sent at most once: a gate around the
// connections lets one Produce through per send and none between sends, whatever kgo does below. kgo v1.22.2 itself repeats a request of
// Broker.Request in one case only, when writing it failed with no byte written. So an error is ErrNotApplied when the gate saw no Produce, and info when it
// did, unless the broker's answer says more. With retries, kgo's own producer sends; its errors are info unless the gate saw nothing.
//
// After an info the client takes no more ops. It is used by one goroutine.
type Client struct {
	cfg     ClientConfig
	link    *link
	meta    metadata
	seqs    sequences
	turn    int // picks the follower to read from
	retired error
	closed  sync.Once
}

var _ harness.Client = (*Client)(nil)

var (
	// ErrNoAck is returned for every send with acks=0: nobody says what became of it.
	ErrNoAck = errors.New("sent with acks=0, so nobody says what became of it")
	// ErrRetired is returned (with ErrNotApplied) after an op whose result is unknown.
	ErrRetired = errors.New("the client is retired")
)

// NewClient returns a client. It does not wait for any broker.
func NewClient(cfg ClientConfig) (*Client, error) {
	if cfg.Dial == nil || len(cfg.Seeds) == 0 || cfg.Topic == "" {
		return nil, errors.New("reference: a client needs Dial, Seeds and Topic")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultClientTimeout
	}
	cfg.Timeout = max(cfg.Timeout, time.Second)
	c := &Client{cfg: cfg}
	if err := c.connect(); err != nil {
		return nil, err
	}
	return c, nil
}

// link is a kgo client with the gate that all its connections go through.
type link struct {
	*kgo.Client
	gate *gate
}

// connect makes a new link; the old one, if any, is closed for good.
func (c *Client) connect() error {
	g := &gate{once: c.cfg.Options.Retries == 0}
	kc, err := kgo.NewClient(c.kgoOptions(g)...)
	if err != nil {
		return fmt.Errorf("reference: client of %s: %w", strings.Join(c.cfg.Seeds, ","), err)
	}
	if c.link != nil {
		c.link.Close()
	}
	c.link = &link{Client: kc, gate: g}
	return nil
}

// kgoOptions bound what happens before a request is written (dial, ApiVersions, each tried twice at most) to less than Timeout, so that such a
// failure is seen as what it is, and not as the end of the op's time.
func (c *Client) kgoOptions(g *gate) []kgo.Opt {
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(0, 9)  // Produce by topic name, with error messages
	versions.SetMaxKeyVersion(1, 12) // Fetch by topic name, with the replica id in its old place
	versions.SetMaxKeyVersion(18, 4) // ApiVersions as the reference broker has it, which saves a round trip
	step := c.cfg.Timeout / 5
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.cfg.Seeds...),
		kgo.ClientID("assay"),
		kgo.Dialer(func(ctx context.Context, network, address string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, step)
			defer cancel()
			nc, err := c.cfg.Dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &gatedConn{Conn: nc, gate: g}, nil
		}),
		kgo.MaxVersions(versions),
		kgo.RequestTimeoutOverhead(step),
		kgo.RequestRetries(2), // of metadata requests, which go to another broker then
		kgo.RetryTimeout(c.cfg.Timeout / 2),
		kgo.RetryBackoffFn(func(int) time.Duration { return metadataMinAge }),
		kgo.MetadataMinAge(metadataMinAge),
		kgo.DisableClientMetrics(),
		kgo.RequiredAcks([...]kgo.Acks{kgo.AllISRAcks(), kgo.NoAck(), kgo.LeaderAck()}[c.cfg.Options.Acks+1]),
	}
	return append(opts, c.producerOptions()...)
}

// Close implements harness.Client. Nothing is sent afterwards.
func (c *Client) Close() error {
	c.closed.Do(func() {
		c.retire(errors.New("it was closed"))
		c.link.gate.shut()
		c.link.Close()
	})
	return nil
}

func (c *Client) retire(why error) {
	if c.retired == nil {
		c.retired = fmt.Errorf("%w: %w: %w", harness.ErrNotApplied, ErrRetired, why)
	}
}

// Invoke implements harness.Client.
func (c *Client) Invoke(ctx context.Context, op histories.Op) (histories.Op, error) {
	if c.retired != nil {
		return op, c.retired
	}
	switch op.F {
	case histories.Send:
		ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
		defer cancel()
		op, err := c.send(ctx, op)
		if err != nil && !errors.Is(err, harness.ErrNotApplied) && !errors.Is(err, harness.ErrWeak) {
			c.retire(err)
		}
		return op, err
	case histories.Poll:
		ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
		defer cancel()
		return c.poll(ctx, op)
	case histories.Final, histories.Scan:
		return c.readToEnd(ctx, op)
	}
	return op, notApplied("this client cannot do %q", op.F)
}

// notApplied makes an error of class fail. The arguments may wrap others.
func notApplied(format string, args ...any) error {
	return fmt.Errorf("%w: %w", harness.ErrNotApplied, fmt.Errorf(format, args...))
}

// brokerID is the inverse of NodeName.
func brokerID(node string) (int32, error) {
	digits, ok := strings.CutPrefix(node, "n")
	id, err := strconv.ParseInt(digits, 10, 32)
	if !ok || err != nil || id < 1 {
		return 0, notApplied("%q is no node", node)
	}
	return int32(id), nil
}

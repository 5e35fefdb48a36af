package node

import (
	"errors"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/assay-project/assay/broker/kafka"
	"github.com/assay-project/assay/broker/replication/masterslave"
)

var (
	_ masterslave.Observer = (*metrics)(nil)
	_ prometheus.Collector = (*statusCollector)(nil)
)

// metrics are the node's own, in a registry of their own.
type metrics struct {
	registry     *prometheus.Registry
	produce      *prometheus.CounterVec
	produceBytes prometheus.Counter
	fetch        prometheus.Counter
	fetchBytes   prometheus.Counter
	appends      prometheus.Histogram
	flushes      prometheus.Histogram
}

// newMetrics makes the metrics. status tells the node's status when they are collected, stats what its server has done.
func newMetrics(status func() masterslave.Status, stats func() kafka.Stats) *metrics {
	buckets := prometheus.ExponentialBuckets(50e-6, 2, 18) // 50 us to 6.5 s
	m := &metrics{
		registry:     prometheus.NewRegistry(),
		produce:      prometheus.NewCounterVec(prometheus.CounterOpts{Name: "assay_produce_batches_total", Help: "Record batches that clients sent, by what the append came to."}, []string{"result"}),
		produceBytes: prometheus.NewCounter(prometheus.CounterOpts{Name: "assay_produce_bytes_total", Help: "Bytes of record batches that were appended."}),
		fetch:        prometheus.NewCounter(prometheus.CounterOpts{Name: "assay_fetch_partitions_total", Help: "Reads of partitions for clients."}),
		fetchBytes:   prometheus.NewCounter(prometheus.CounterOpts{Name: "assay_fetch_bytes_total", Help: "Bytes of record batches that were read for clients."}),
		appends:      prometheus.NewHistogram(prometheus.HistogramOpts{Name: "assay_append_seconds", Help: "From a batch's append to its acknowledgement, for acks=all.", Buckets: buckets}),
		flushes:      prometheus.NewHistogram(prometheus.HistogramOpts{Name: "assay_flush_seconds", Help: "Duration of a flush of the log.", Buckets: buckets}),
	}
	m.registry.MustRegister(m.produce, m.produceBytes, m.fetch, m.fetchBytes, m.appends, m.flushes, newStatusCollector(status))
	m.registry.MustRegister(serverCollectors(stats)...)
	return m
}

// serverCollectors tell what the protocol server counts.
func serverCollectors(stats func() kafka.Stats) []prometheus.Collector {
	counter := func(name, help string, value func(kafka.Stats) int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(value(stats())) })
	}
	return []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "assay_connections", Help: "Connections of clients that are open."},
			func() float64 { return float64(stats().Connections) }),
		counter("assay_connections_refused_total", "Connections of clients that were closed because too many were open.", func(s kafka.Stats) int64 { return s.Refused }),
		counter("assay_connections_malformed_total", "Connections of clients that were closed because of what they sent.", func(s kafka.Stats) int64 { return s.Malformed }),
		counter("assay_requests_total", "Requests of clients.", func(s kafka.Stats) int64 { return s.Requests }),
		counter("assay_request_bytes_total", "Bytes of clients' requests.", func(s kafka.Stats) int64 { return s.BytesIn }),
		counter("assay_response_bytes_total", "Bytes of responses to clients.", func(s kafka.Stats) int64 { return s.BytesOut }),
	}
}

func (m *metrics) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	return mux
}

// Appended implements masterslave.Observer.
func (m *metrics) Appended(d time.Duration) { m.appends.Observe(d.Seconds()) }

// Flushed implements masterslave.Observer.
func (m *metrics) Flushed(d time.Duration) { m.flushes.Observe(d.Seconds()) }

func (m *metrics) produced(bytes int, err error) {
	if err == nil {
		m.produce.WithLabelValues("appended").Inc()
		m.produceBytes.Add(float64(bytes))
		return
	}
	result := "error"
	var ke *kerr.Error
	if errors.As(err, &ke) {
		result = ke.Message
	}
	m.produce.WithLabelValues(result).Inc()
}

func (m *metrics) fetched(bytes int) {
	m.fetch.Inc()
	m.fetchBytes.Add(float64(bytes))
}

// statusCollector turns the status into gauges when it is asked.
type statusCollector struct {
	status   func() masterslave.Status
	epoch    *prometheus.Desc
	role     *prometheus.Desc
	position *prometheus.Desc
	refused  *prometheus.Desc
	failed   *prometheus.Desc
	follower *prometheus.Desc
}

func newStatusCollector(status func() masterslave.Status) *statusCollector {
	return &statusCollector{
		status:   status,
		epoch:    prometheus.NewDesc("assay_epoch", "Highest epoch recorded.", nil, nil),
		role:     prometheus.NewDesc("assay_role", "1 for the node's role.", []string{"role"}, nil),
		position: prometheus.NewDesc("assay_log_position_bytes", "Positions in the log: end, flushed, committed.", []string{"position"}, nil),
		refused:  prometheus.NewDesc("assay_refused", "1 for a follower's log that its leader refuses: this node's own, or as a leader another's.", []string{"node", "reason"}, nil),
		failed:   prometheus.NewDesc("assay_disk_failed", "1 when the disk has failed and the node takes no writes.", nil, nil),
		follower: prometheus.NewDesc("assay_follower_position_bytes", "As a leader: how far a follower's log is appended and flushed.", []string{"node", "position"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *statusCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.epoch, c.role, c.position, c.refused, c.failed, c.follower} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *statusCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.status()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(c.epoch, float64(s.Epoch))
	gauge(c.role, 1, string(s.Role))
	gauge(c.position, float64(s.End), "end")
	gauge(c.position, float64(s.Flushed), "flushed")
	gauge(c.position, float64(s.Committed), "committed")
	failed := 0.0
	if s.Failed != "" {
		failed = 1
	}
	gauge(c.failed, failed)
	if s.Refused != "" {
		gauge(c.refused, 1, id(s.Node), reason(s.Refused))
	}
	for _, f := range s.Followers {
		gauge(c.follower, float64(f.Appended), id(f.Node), "appended")
		gauge(c.follower, float64(f.Flushed), id(f.Node), "flushed")
		if f.Refused != "" {
			gauge(c.refused, 1, id(f.Node), reason(f.Refused))
		}
	}
}

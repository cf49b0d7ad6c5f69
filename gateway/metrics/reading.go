package metrics

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"cordon/gateway/timing"
)

// maxSeries bounds the series of one family: a configuration may name any number of device classes.
const maxSeries = 2000

// Reading is what there is to be seen at one moment.
type Reading struct {
	families map[*Family]map[string]*series
	leftOut  int
}

// series is one value of a family.
type series struct {
	labels []string
	value  float64
	timing timing.Snapshot // of a histogram
}

// Add adds to the value of a counter or gauge, with the values of its labels in their order. What was
// not added to is not shown, nor is what has other labels than f.
func (r *Reading) Add(f *Family, value float64, labels ...string) {
	if s := r.series(f, labels); s != nil {
		s.value += value
	}
}

// Mark is Add for what is 1 or 0.
func (r *Reading) Mark(f *Family, is bool, labels ...string) {
	value := 0.0
	if is {
		value = 1
	}
	r.Add(f, value, labels...)
}

// Time is Add for a time; the zero time is 0.
func (r *Reading) Time(f *Family, at time.Time, labels ...string) {
	value := 0.0
	if !at.IsZero() {
		value = float64(at.UnixMilli()) / 1000
	}
	r.Add(f, value, labels...)
}

// Timing is the value of a histogram.
func (r *Reading) Timing(f *Family, t timing.Snapshot) {
	if s := r.series(f, nil); s != nil {
		s.timing = t
	}
}

// series is that of f with these labels; nil if f has too many, or other labels.
func (r *Reading) series(f *Family, labels []string) *series {
	if len(labels) != len(f.Labels) { // no reason to stop a gateway
		r.leftOut++
		return nil
	}
	if r.families == nil {
		r.families = map[*Family]map[string]*series{}
	}
	all := r.families[f]
	if all == nil {
		all = map[string]*series{}
		r.families[f] = all
	}
	key := strings.Join(labels, "\x00")
	s := all[key]
	if s == nil {
		if len(all) >= maxSeries {
			r.leftOut++
			return nil
		}
		s = &series{labels: append([]string(nil), labels...)}
		all[key] = s
	}
	return s
}

// collector takes a reading whenever Prometheus asks.
type collector struct {
	read  func(*Reading)
	descs map[*Family]*prometheus.Desc
}

// newRegistry shows what read fills in, and what Go and the kernel know of the process.
func newRegistry(read func(*Reading)) *prometheus.Registry {
	c := &collector{read, map[*Family]*prometheus.Desc{}}
	for _, f := range Families() {
		c.descs[f] = prometheus.NewDesc(f.Name, f.Help, f.Labels, nil)
	}
	r := prometheus.NewRegistry()
	r.MustRegister(c, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Describe is part of prometheus.Collector.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		to <- d
	}
}

// Collect is part of prometheus.Collector.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	var r Reading
	c.read(&r)
	r.Add(LeftOut, float64(r.leftOut))
	for f, all := range r.families {
		for _, s := range all {
			to <- c.metric(f, s)
		}
	}
}

// metric is one series in the client library's form.
func (c *collector) metric(f *Family, s *series) prometheus.Metric {
	var m prometheus.Metric
	var err error
	switch f.Kind {
	case Histogram:
		m, err = prometheus.NewConstHistogram(c.descs[f], s.timing.Count, s.timing.Sum, s.timing.Buckets, s.labels...)
	case Counter:
		m, err = prometheus.NewConstMetric(c.descs[f], prometheus.CounterValue, s.value, s.labels...)
	default:
		m, err = prometheus.NewConstMetric(c.descs[f], prometheus.GaugeValue, s.value, s.labels...)
	}
	if err != nil { // a label that is not UTF-8: the others are shown
		return prometheus.NewInvalidMetric(c.descs[f], err)
	}
	return m
}

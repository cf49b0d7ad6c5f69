package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
)

// Network is how net.Listen names where the metrics are shown: unix and a path, or tcp and an address;
// "" if they are not shown.
func (m *Metrics) Network() (network, address string) {
	if path, ok := strings.CutPrefix(m.Listen, "unix://"); ok {
		return "unix", path
	}
	if m.Listen == "" {
		return "", ""
	}
	return "tcp", m.Listen
}

func (d *decoder) metrics(n *node) Metrics {
	var m Metrics
	d.object(n, fields{"listen": func(n *node) { m.Listen = d.metricsListen(n) }}, "listen")
	return m
}

// maxSocketPath is what fits into a socket's address, unix(7).
const maxSocketPath = 107

// metricsListen accepts what only this machine reaches: whoever reaches it may read it.
func (d *decoder) metricsListen(n *node) string {
	const local = "127.0.0.1:9464, or unix:///run/cordon/metrics.sock"
	s := d.text(n, 255)
	if path, ok := strings.CutPrefix(s, "unix://"); ok {
		if !filepath.IsAbs(path) || filepath.Clean(path) != path || len(path) > maxSocketPath {
			d.bad(n, fmt.Sprintf("%s is %q, expected the absolute path of a socket, of at most %d bytes", n.path, s, maxSocketPath), "write "+local)
		}
		return s
	}
	l, err := parsed(d, n, ParseListen, local)
	if err == nil && !l.Addr.IsLoopback() {
		d.bad(n, fmt.Sprintf("%s is %q, which others than this machine reach: whoever reaches it may read it", n.path, s), "write "+local+", and have an agent on this machine pass it on")
	}
	return s
}

// checkMetrics finds services that listen where the metrics are shown.
func (s *source) checkMetrics(c *Config) {
	at, err := netip.ParseAddrPort(c.Metrics.Listen)
	if err != nil {
		return // a file, or none
	}
	devices := c.root.get("devices")
	for i := range c.Devices {
		d := &c.Devices[i]
		for j := range d.Services {
			l := d.Services[j].Listen
			if l.Port == at.Port() && l.overlaps(Listen{at.Addr(), at.Port()}) {
				n := devices.get(d.ID).get("services").get(d.Services[j].Name).get("listen")
				s.note(n, "config.listener.conflict", fmt.Sprintf("device %q listens on %s, where the metrics are shown", d.ID, l),
					fmt.Sprintf("metrics.listen is at line %d", c.root.get("metrics").get("listen").line), "choose another port for one of them")
			}
		}
	}
}

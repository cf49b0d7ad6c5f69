package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/exit"
	"cordon/gateway/metrics"
	"cordon/policy/rego"
)

// tellMetrics looks at a gateway as a monitoring system does: at what it does, at what goes wrong, and
// while one process of it takes the place of another.
func tellMetrics(t *testing.T, cordon string) {
	t.Run("what is done", func(t *testing.T) { countsAreSeen(t, cordon) })
	t.Run("what fails", func(t *testing.T) { failuresAreSeen(t, cordon) })
	t.Run("a bad bundle", func(t *testing.T) { badBundleIsSeen(t, cordon) })
	t.Run("hand-over", func(t *testing.T) { scrapesGoOn(t, cordon) })
	t.Run("a socket", func(t *testing.T) { socketScraped(t, cordon) })
}

// monitor is where a site's metrics are.
type monitor struct {
	http.Client
	url string
}

// monitored adds a listener for metrics to the site's configuration.
func (s *site) monitored(t *testing.T) *monitor {
	t.Helper()
	address := freeAddress(t)
	s.extend(t, fmt.Sprintf("\nmetrics: { listen: %q }\n", address))
	return &monitor{http.Client{Timeout: patience}, "http://" + address}
}

// get returns a page and its status.
func (m *monitor) get(path string) (int, string, error) {
	a, err := m.Get(m.url + path)
	if err != nil {
		return 0, "", err
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	return a.StatusCode, string(text), err
}

// scrape returns the values by series, as they are written.
func (m *monitor) scrape(t *testing.T) map[string]float64 {
	t.Helper()
	status, text, err := m.get("/metrics")
	if err != nil || status != http.StatusOK {
		t.Fatalf("scrape: %d, %v: %s", status, err, text)
	}
	values := map[string]float64{}
	for line := range strings.Lines(text) {
		if i := strings.LastIndexByte(line, ' '); line[0] != '#' {
			if values[line[:i]], err = strconv.ParseFloat(strings.TrimSpace(line[i:]), 64); err != nil {
				t.Errorf("%q: %v", line, err)
			}
		}
	}
	return values
}

// shows waits until series have values.
func (m *monitor) shows(t *testing.T, want map[string]float64) {
	t.Helper()
	var got map[string]float64
	if !eventually(func() bool {
		got = m.scrape(t)
		for series, v := range want {
			if is, there := got[series]; !there || is != v {
				return false
			}
		}
		return true
	}) {
		for series, v := range want {
			if is, there := got[series]; !there || is != v {
				t.Errorf("%s is %v (there: %v), want %v", series, is, there, v)
			}
		}
	}
}

// decisions is the name of the series of a monitor's decisions.
func decisions(verdict, cause, class string) string {
	return fmt.Sprintf(`cordon_decisions_total{cause=%q,criticality="high",device_class="monitor/bedside",operation_class=%q,protocol="hl7",verdict=%q}`, cause, class, verdict)
}

func countsAreSeen(t *testing.T, cordon string) {
	s := newSite(t, cordon, "--criticality", "high")
	s.issueStaff(t)
	m := s.monitored(t)
	d := s.serve(t)
	before := m.scrape(t)
	engine, nurse := s.dial(t, "engine"), s.dial(t, "nurse")
	send(t, engine, framed(message("ORU^R01", "M1", "2.5.1")))
	for i := range 20 { // whatever is asked for, there is a series for its class
		send(t, nurse, framed(message(fmt.Sprintf("ORU^R%02d", i+1), "M2", "2.5.1")))
	}
	if stranger, err := net.Dial("tcp", s.listen); err == nil {
		io.WriteString(stranger, "GET / HTTP/1.0\r\n\r\n")
		io.Copy(io.Discard, stranger)
		stranger.Close()
	}
	m.shows(t, map[string]float64{
		`cordon_sessions{protocol="hl7"}`: 2, decisions("allow", "policy", "connect"): 2, decisions("allow", "policy", "write"): 1,
		`cordon_handshakes_refused_total{reason="not_tls"}`: 1, "cordon_audit_writable": 1, `cordon_plugin_up{protocol="hl7"}`: 1, `cordon_devices{state="active"}`: 1,
		`cordon_ready{check="policy"}`: 1, `cordon_ready{check="audit"}`: 1, "cordon_metrics_series_left_out": 0, `cordon_reload_last_successful{source="folder"}`: 1,
	})
	after := m.scrape(t)
	asked := 0.0
	for series, n := range after {
		if strings.HasPrefix(series, "cordon_decisions_total{") && !strings.Contains(series, `"connect"`) {
			asked += n
		}
		if _, there := before[series]; !there {
			t.Errorf("a series that clients have made: %s", series)
		}
	}
	if asked != 21 || after["cordon_decision_duration_seconds_count"] < 21 || after["cordon_record_duration_seconds_count"] < 23 {
		t.Errorf("%v operations are counted, %v decisions and %v records timed", asked, after["cordon_decision_duration_seconds_count"], after["cordon_record_duration_seconds_count"])
	}
	families := map[string]bool{}
	for series := range after {
		name, _, _ := strings.Cut(series, "{")
		for _, part := range []string{"_bucket", "_sum", "_count"} {
			families[strings.TrimSuffix(name, part)] = true
		}
		families[name] = true
	}
	optional := map[*metrics.Family]bool{metrics.PolicyRollout: true, metrics.BundleRevision: true, metrics.BundleMade: true, metrics.SegmentUp: true, metrics.AlarmsWaiting: true, metrics.AlarmsDeliveries: true}
	for _, f := range metrics.Families() {
		if !families[f.Name] && !optional[f] {
			t.Errorf("%s is not shown", f.Name)
		}
	}

	// Nobody's name, no device's, no address, no patient, no code.
	_, page, err := m.get("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"mon-7", "nurse.ito", "oie", "127.0.0.1", "DEMO", "100123", "ORU"} {
		if strings.Contains(page, secret) {
			t.Errorf("the metrics tell of %q", secret)
		}
	}
	promtool := exec.CommandContext(t.Context(), peer(t, "promtool", "prometheus"), "check", "metrics")
	promtool.Stdin = strings.NewReader(page)
	if out, err := promtool.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v: %s", err, out)
	}
	engine.Close()
	nurse.Close()
	m.shows(t, map[string]float64{`cordon_sessions{protocol="hl7"}`: 0, `cordon_session_ends_total{protocol="hl7",reason="closed"}`: 2})
	d.stop(t)
}

// failuresAreSeen makes a reload fail in each way but by a bundle, kills a plugin and takes the log its disk:
// each is an exit code, an entry and a metric, and what was in force stays.
func failuresAreSeen(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.issueStaff(t)
	authority, err := os.ReadFile(s.path("ca.pem")) // any will do
	if err != nil {
		t.Fatal(err)
	}
	hospital := s.write(t, "hospital.pem", string(authority))
	s.configure(t, "    leaf_ttl:", fmt.Sprintf("    trust_file: %q\n    leaf_ttl:", hospital))
	m := s.monitored(t)
	d := s.serve(t)
	revision := func() (in string) {
		for series := range m.scrape(t) {
			if strings.HasPrefix(series, "cordon_policy_info{") {
				in += series
			}
		}
		return in
	}
	before := revision()
	works := func() {
		t.Helper()
		if answer := send(t, s.dial(t, "engine"), framed(message("ORU^R01", "F1", "2.5.1"))); !strings.Contains(answer, "MSA|AA|F1") {
			t.Errorf("what was in force does not stay: %q", answer)
		}
	}
	for _, c := range []struct{ source, file, bad, entry string }{
		{"folder", s.path("gw/policy/cordon.rego"), "package cordon\n\nallow if {", "refused: "},
		{"configuration", s.path("gw/cordon.yaml"), "version: 1\nlisten: everywhere\n", "refused: "},
		{"trust", hospital, "no certificate", "trust: refused, what was known before stays in use: read trusted authorities"},
	} {
		good, err := os.ReadFile(c.file)
		if err != nil {
			t.Fatal(err)
		}
		entries := s.mentioned(t, c.entry)
		if err := os.WriteFile(c.file, []byte(c.bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if out := s.reloads(t); out.code != exit.Findings {
			t.Errorf("%s: the reload exits with %d: %s%s", c.source, out.code, out.stdout, out.stderr)
		}
		ok, failed := fmt.Sprintf("cordon_reload_last_successful{source=%q}", c.source), fmt.Sprintf("cordon_reloads_total{result=\"failure\",source=%q}", c.source)
		m.shows(t, map[string]float64{ok: 0, failed: 1})
		works()
		if err := os.WriteFile(c.file, good, 0o600); err != nil {
			t.Fatal(err)
		}
		if !eventually(func() bool { return s.mentioned(t, c.entry) == entries+1 }) {
			t.Errorf("%s: no entry %q", c.source, c.entry)
		}
		if out := s.run(t, "status", "--dir", s.gw()); c.source != "trust" && (out.code != exit.Findings || !strings.Contains(out.stderr, "reload from "+c.source)) {
			t.Errorf("%s: status exits with %d: %s", c.source, out.code, out.stderr)
		}
		if out := s.reloads(t); out.code != exit.Done {
			t.Errorf("%s: made good, the reload exits with %d: %s%s", c.source, out.code, out.stdout, out.stderr)
		}
		m.shows(t, map[string]float64{ok: 1, failed: 1})
	}
	if is := revision(); is != before {
		t.Errorf("the policy in force is %s, was %s", is, before)
	}
	s.must(t, "status", "--dir", s.gw())

	// A plugin that ends is started again, and told of.
	for _, pid := range children(t, d.leader()) {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	m.shows(t, map[string]float64{`cordon_plugin_ends_total{protocol="hl7"}`: 1, `cordon_alarms_raised_total{name="plugin-ended"}`: 1, `cordon_plugin_up{protocol="hl7"}`: 1})
	if !eventually(func() bool { return s.mentioned(t, "plugin hl7 ended, time 1 since") == 1 }) {
		t.Error("the end of a plugin has no entry")
	}
	works()
	if status, text, err := m.get("/readyz"); status != http.StatusOK || err != nil {
		t.Errorf("/readyz: %d %s %v", status, text, err)
	}
	// One that ends again and again is held off, which the log tells once.
	for range 5 {
		m.shows(t, map[string]float64{`cordon_plugin_up{protocol="hl7"}`: 1})
		pids, ends := children(t, d.leader()), m.scrape(t)[`cordon_plugin_ends_total{protocol="hl7"}`]
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		if !eventually(func() bool { return m.scrape(t)[`cordon_plugin_ends_total{protocol="hl7"}`] > ends }) {
			t.Fatal("the plugin does not end")
		}
		if m.scrape(t)[`cordon_alarms_raised_total{name="plugin-held"}`] > 0 {
			break
		}
	}
	m.shows(t, map[string]float64{`cordon_alarms_raised_total{name="plugin-held"}`: 1, `cordon_alarms_raised_total{name="plugin-ended"}`: 1, `cordon_ready{check="plugins"}`: 0})
	if status, text, _ := m.get("/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(text, "plugins: hl7 does not run\n") || !strings.Contains(text, "audit: ok\n") {
		t.Errorf("/readyz: %d %s", status, text)
	}
	if status, text, _ := m.get("/healthz"); status != http.StatusOK {
		t.Errorf("/healthz, where a restart would not help: %d %s", status, text)
	}
	var said daemon.Status
	out := s.run(t, "status", "--json", "--dir", s.gw())
	if err := json.Unmarshal([]byte(out.stdout), &said); err != nil || out.code != exit.Findings || said.Ready || said.Schema != "cordon.status/v1" || len(said.Plugins) != 1 || said.Plugins[0].Running {
		t.Errorf("status exits with %d, %v: %s", out.code, err, out.stdout)
	}
	d.stop(t)
	if out := s.run(t, "status", "--dir", s.gw()); out.code != exit.Unreachable {
		t.Errorf("without a gateway, status exits with %d: %s", out.code, out.stderr)
	}
}

// reloads runs "cordon reload", also where the configuration is faulty.
func (s *site) reloads(t *testing.T) outcome { return s.run(t, "reload", "--dir", s.gw()) }

// badBundleIsSeen offers a bundle that nobody has signed: exit code, entry and metric, and the old one stays.
func badBundleIsSeen(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.issueStaff(t)
	p := newPublisher(t)
	s.useBundles(t, p, "bundles", "24h")
	good := p.publish(t, s.policyFiles(t), 3)
	s.offer(t, good)
	m := s.monitored(t)
	d := s.serve(t)
	m.shows(t, map[string]float64{"cordon_bundle_revision": 3, `cordon_reloads_total{result="success",source="bundle"}`: 1}) // it has looked once
	made := m.scrape(t)["cordon_bundle_made_timestamp_seconds"]
	fails := func(what string, code int, d rego.Delivery, n float64) {
		t.Helper()
		s.offer(t, d)
		since := m.scrape(t)[`cordon_reload_last_success_timestamp_seconds{source="bundle"}`]
		out := s.reloads(t)
		if out.code != code || !strings.Contains(out.stderr, "bundle revision 3 stays in force") {
			t.Errorf("%s: the reload exits with %d, want %d: %s", what, out.code, code, out.stderr)
		}
		m.shows(t, map[string]float64{`cordon_reload_last_successful{source="bundle"}`: 0, `cordon_reloads_total{result="failure",source="bundle"}`: n, "cordon_bundle_revision": 3,
			"cordon_bundle_made_timestamp_seconds": made, `cordon_reload_last_success_timestamp_seconds{source="bundle"}`: since})
		if answer := send(t, s.dial(t, "engine"), framed(message("ORU^R01", "B1", "2.5.1"))); !strings.Contains(answer, "MSA|AA|B1") {
			t.Errorf("%s: what was in force does not stay: %q", what, answer)
		}
	}
	unsigned := p.publish(t, s.policyFiles(t), 4)
	unsigned.Signature = newPublisher(t).detach(unsigned.Bundle, 4, nil)
	fails("signed by somebody else", exit.Findings, unsigned, 1)
	fails("none at all", exit.NotFound, rego.Delivery{}, 2)
	if n := s.mentioned(t, "refused: bundle"); n != 2 {
		t.Errorf("%d entries say that a bundle was refused or not found, want 2", n)
	}
	s.offer(t, p.publish(t, s.policyFiles(t), 5))
	s.must(t, "reload", "--dir", s.gw())
	m.shows(t, map[string]float64{`cordon_reload_last_successful{source="bundle"}`: 1, `cordon_reloads_total{result="failure",source="bundle"}`: 2, "cordon_bundle_revision": 5})
	d.stop(t)
}

// scrapesGoOn scrapes as fast as it can while processes take over, four times: none is refused or cut.
func scrapesGoOn(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.issueStaff(t)
	m := s.monitored(t)
	d := s.serve(t)
	stays := s.dial(t, "engine")
	send(t, stays, framed(message("ORU^R01", "S1", "2.5.1")))
	stop, ended := context.WithCancel(t.Context())
	scraped := make(chan int, 2)
	defer ended()
	for _, path := range []string{"/metrics", "/readyz"} {
		go func() {
			n := 0
			for ; stop.Err() == nil; n++ {
				if status, text, err := m.get(path); err != nil || status != http.StatusOK && path == "/metrics" {
					t.Errorf("scrape %d of %s: %d %v %.200s", n, path, status, err, text)
				}
			}
			scraped <- n
		}()
	}
	for range 4 {
		s.handOver(t, "--handover")
		m.shows(t, map[string]float64{"cordon_sessions_staying": 1, `cordon_sessions{protocol="hl7"}`: 0})
	}
	ended()
	for range 2 {
		if n := <-scraped; n < 10 {
			t.Errorf("%d scrapes", n)
		} else {
			t.Logf("%d scrapes while four processes took over", n)
		}
	}
	entries := m.scrape(t)["cordon_audit_entries_total"]
	if want := float64(len(s.entries(t))); entries != want {
		t.Errorf("the log has %v entries, and the metrics say %v", want, entries)
	}
	// Elsewhere, from the next process on.
	other := freeAddress(t)
	s.configure(t, strings.TrimPrefix(m.url, "http://"), other)
	s.handOver(t)
	if _, _, err := m.get("/metrics"); err == nil {
		t.Error("the metrics are still shown where they were")
	}
	m.url = "http://" + other
	m.shows(t, map[string]float64{"cordon_sessions_staying": 1})
	stays.Close()
	m.shows(t, map[string]float64{"cordon_sessions_staying": 0})
	d.stop(t)
}

// socketScraped shows the metrics on a socket, which only the gateway's user and group reach.
func socketScraped(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	dir, err := os.MkdirTemp("", "cordon-m-") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := dir + "/metrics.sock"
	s.extend(t, fmt.Sprintf("\nmetrics: { listen: \"unix://%s\" }\n", path))
	m := &monitor{http.Client{Timeout: patience, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}}, "http://gateway"}
	s.write(t, "file", "somebody's")
	if err := os.Symlink(s.path("file"), path); err != nil {
		t.Fatal(err)
	}
	if out := s.run(t, "run", "--dir", s.gw()); out.code != exit.Conflict || !strings.Contains(out.stderr, "no socket") {
		t.Errorf("in the place of a file, run exits with %d: %s", out.code, out.stderr)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	d := s.serve(t)
	m.shows(t, map[string]float64{"cordon_audit_writable": 1})
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("the socket has mode %v, %v", info.Mode(), err)
	}
	d.kill()
	d = s.serve(t) // with what the killed one has left
	m.shows(t, map[string]float64{"cordon_audit_writable": 1})
	s.handOver(t, "--handover")
	m.shows(t, map[string]float64{"cordon_audit_writable": 1})
	d.stop(t)
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

package metrics

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"cordon/gateway/timing"
)

// patience bounds every wait. None takes nearly as long.
const patience = 30 * time.Second

// TestFamilies holds the names to Prometheus' conventions.
func TestFamilies(t *testing.T) {
	name, label := regexp.MustCompile(`^cordon_[a-z]+(_[a-z]+)*$`), regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
	seen := map[string]bool{}
	for _, f := range Families() {
		if seen[f.Name] || !name.MatchString(f.Name) || !strings.HasSuffix(f.Help, ".") || strings.Contains(f.Help, "\n") {
			t.Errorf("%s: a name twice or in another form, or a help that is no sentence: %q", f.Name, f.Help)
		}
		seen[f.Name] = true
		if strings.HasSuffix(f.Name, "_total") != (f.Kind == Counter) {
			t.Errorf("%s is a %s", f.Name, f.Kind)
		}
		if f.Kind == Histogram && !strings.HasSuffix(f.Name, "_duration_seconds") {
			t.Errorf("%s has no unit", f.Name)
		}
		for _, l := range f.Labels {
			if !label.MatchString(l) || slices.Contains([]string{"subject", "client", "device", "operation", "code", "le", "quantile", "instance", "job"}, l) {
				t.Errorf("%s has the label %s", f.Name, l)
			}
		}
	}
	file, err := parser.ParseFile(token.NewFileSet(), "families.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := 0
	ast.Inspect(file, func(n ast.Node) bool {
		if c, ok := n.(*ast.CompositeLit); ok {
			if name, ok := c.Type.(*ast.Ident); ok && name.Name == "Family" {
				declared++
			}
		}
		return true
	})
	if declared != len(Families()) {
		t.Errorf("%d families are declared, %d are listed", declared, len(Families()))
	}
}

// served serves s and returns how to ask.
func served(t *testing.T, s Source) (*Server, func(method, path string) (int, string)) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := Serve(l, s, slog.New(slog.DiscardHandler))
	t.Cleanup(server.Close)
	return server, func(method, path string) (int, string) {
		t.Helper()
		q, err := http.NewRequestWithContext(t.Context(), method, "http://"+l.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		a, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		text, err := io.ReadAll(a.Body)
		if err != nil {
			t.Fatal(err)
		}
		return a.StatusCode, string(text)
	}
}

func TestScrape(t *testing.T) {
	var h timing.Histogram
	h.Observe(3 * time.Millisecond)
	_, ask := served(t, Source{Read: func(r *Reading) {
		r.Add(Sessions, 2, "hl7")
		r.Add(Sessions, 3, "hl7") // of another route
		r.Add(Sessions, 1, "di\"com\n")
		r.Add(Sessions, 1) // a mistake
		r.Mark(AuditWritable, true)
		r.Time(TrialEnds, time.Time{})
		r.Time(PolicySince, time.UnixMilli(1500))
		r.Timing(RecordDuration, h.Snapshot())
	}})
	status, text := ask("GET", "/metrics")
	if status != http.StatusOK {
		t.Errorf("status %d: %s", status, text)
	}
	for _, want := range []string{`cordon_sessions{protocol="hl7"} 5`, `cordon_sessions{protocol="di\"com\n"} 1`, "cordon_audit_writable 1", "# TYPE cordon_record_duration_seconds histogram",
		"cordon_configuration_trial_end_timestamp_seconds 0", "cordon_policy_in_force_timestamp_seconds 1.5",
		`cordon_record_duration_seconds_bucket{le="0.0025"} 0`, `cordon_record_duration_seconds_bucket{le="0.005"} 1`, `cordon_record_duration_seconds_bucket{le="+Inf"} 1`,
		"cordon_metrics_series_left_out 1", "process_open_fds ", "go_goroutines "} {
		if !strings.Contains(text, want+"\n") && !(strings.HasSuffix(want, " ") && strings.Contains(text, want)) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// However many device classes a configuration names, a scrape has a bound.
func TestSeriesBound(t *testing.T) {
	var r Reading
	for i := range maxSeries + 10 {
		r.Add(Sessions, 1, fmt.Sprint(i))
		r.Add(Sessions, 1, "0")
	}
	if n := len(r.families[Sessions]); n != maxSeries || r.leftOut != 10 || r.families[Sessions]["0"].value != maxSeries+11 {
		t.Errorf("%d series, %d left out", n, r.leftOut)
	}
}

func TestChecks(t *testing.T) {
	broken := errors.New("the log cannot be written")
	_, ask := served(t, Source{Read: func(*Reading) {},
		Lives: func(context.Context) []Check { return []Check{{"loops", nil}} },
		Ready: func(context.Context) []Check { return []Check{{"policy", nil}, {"log", broken}} },
	})
	for _, c := range []struct {
		method, path string
		status       int
		text         string
	}{
		{"GET", "/healthz", http.StatusOK, "loops: ok\n"}, {"GET", "/readyz", http.StatusServiceUnavailable, "policy: ok\nlog: the log cannot be written\n"},
		{"HEAD", "/readyz", http.StatusServiceUnavailable, ""}, {"POST", "/readyz", http.StatusMethodNotAllowed, "Method Not Allowed\n"}, {"GET", "/debug/pprof/", http.StatusNotFound, "404 page not found\n"},
		{"GET", "/", http.StatusNotFound, "404 page not found\n"}, {"DELETE", "/metrics", http.StatusMethodNotAllowed, "Method Not Allowed\n"},
	} {
		if status, text := ask(c.method, c.path); status != c.status || text != c.text {
			t.Errorf("%s %s: %d %q, want %d %q", c.method, c.path, status, text, c.status, c.text)
		}
	}
}

// Who opens connections and says nothing does not get more of them than there are places.
func TestConnectionsBounded(t *testing.T) {
	server, _ := served(t, Source{Read: func(*Reading) {}, Lives: func(context.Context) []Check { return nil }})
	var open []net.Conn
	for range connections + 5 {
		c, err := net.Dial("tcp", server.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		open = append(open, c)
	}
	last := open[len(open)-1]
	fmt.Fprintf(last, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	last.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if _, err := last.Read(make([]byte, 1)); err == nil {
		t.Error("one connection too many is served")
	}
	for _, c := range open[:10] {
		c.Close()
	}
	last.SetReadDeadline(time.Now().Add(patience))
	if line, err := bufio.NewReader(last).ReadString('\n'); err != nil || !strings.Contains(line, "200") {
		t.Errorf("with places free again: %q, %v", line, err)
	}
}

// Close answers those who have connected, also who asks afterwards, and no request is answered on a connection of before.
func TestClose(t *testing.T) {
	asked, go1 := make(chan bool), make(chan bool)
	server, _ := served(t, Source{Read: func(*Reading) {}, Lives: func(context.Context) []Check {
		asked <- true
		<-go1
		return []Check{{"loops", nil}}
	}})
	c, err := net.Dial("tcp", server.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	<-asked
	late, err := net.Dial("tcp", server.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	for len(server.listener.places) < 2 { // until it is accepted
		time.Sleep(time.Millisecond)
	}
	closed := make(chan bool)
	go func() { server.Close(); close(closed) }()
	<-server.served
	fmt.Fprintf(late, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	<-asked
	close(go1)
	for i, c := range []net.Conn{c, late} {
		c.SetReadDeadline(time.Now().Add(patience))
		answer, err := io.ReadAll(c)
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200") || !strings.Contains(string(answer), "Connection: close") {
			t.Errorf("connection %d: %q, %v", i, answer, err)
		}
	}
	<-closed
}

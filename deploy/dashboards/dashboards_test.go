package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"cordon/gateway/metrics"
)

func TestDashboard(t *testing.T) {
	want, err := dashboard()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("cordon.json")
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("cordon.json is not what panels.go says (%v): go run ./deploy/dashboards > deploy/dashboards/cordon.json", err)
	}
	var model struct {
		Panels []struct {
			ID      int
			Type    string
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(want, &model); err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	seen := map[int]bool{}
	for _, p := range model.Panels {
		if seen[p.ID] || p.GridPos.X+p.GridPos.W > 24 || p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q: an id twice, too wide or empty", p.Title)
		}
		seen[p.ID] = true
		for _, q := range p.Targets {
			for _, name := range fits(t, p.Title, q.Expr) {
				shown[name] = true
			}
		}
	}
	for _, f := range metrics.Families() {
		if !shown[f.Name] {
			t.Errorf("%s is in no panel", f.Name)
		}
	}
}

// Words of PromQL that stand where a metric could.
var words = map[string]bool{"sum": true, "by": true, "rate": true, "increase": true, "min": true, "max": true, "count": true, "time": true, "absent": true, "and": true, "or": true, "offset": true, "histogram_quantile": true}

var (
	quoted   = regexp.MustCompile(`"[^"]*"`)
	matchers = regexp.MustCompile(`([a-z_]+)\{([^}]*)\}`)
	grouped  = regexp.MustCompile(`by \(([^)]*)\)`)
	name     = regexp.MustCompile(`\b[a-z][a-z_]+\b`)
)

// fits holds a query to the metrics there are, and returns the families that it asks for.
func fits(t *testing.T, where, query string) (asked []string) {
	t.Helper()
	labels := map[string]bool{"instance": true, "le": true}
	plain := quoted.ReplaceAllString(query, `""`)
	for _, m := range matchers.FindAllStringSubmatch(plain, -1) {
		f := family(m[1])
		for _, l := range regexp.MustCompile(`[a-z_]+`).FindAllString(m[2], -1) {
			if l != "instance" && (f == nil || !slices.Contains(f.Labels, l)) {
				t.Errorf("%s: %s has no label %s", where, m[1], l)
			}
		}
	}
	bare := grouped.ReplaceAllString(regexp.MustCompile(`\{[^}]*\}|\[[^\]]*\]`).ReplaceAllString(plain, ""), "")
	for _, n := range name.FindAllString(bare, -1) {
		switch f := family(n); {
		case words[n], strings.HasPrefix(n, "process_"):
		case f == nil:
			t.Errorf("%s: there is no metric %s", where, n)
		default:
			asked = append(asked, f.Name)
			for _, l := range f.Labels {
				labels[l] = true
			}
		}
	}
	for _, g := range grouped.FindAllStringSubmatch(plain, -1) {
		for _, l := range strings.Split(g[1], ",") {
			if !labels[strings.TrimSpace(l)] {
				t.Errorf("%s: grouped by %s, which none of its metrics has: %s", where, l, query)
			}
		}
	}
	return asked
}

// family is that of a series' name.
func family(series string) *metrics.Family {
	for _, f := range metrics.Families() {
		if f.Name == series && f.Kind != metrics.Histogram || f.Kind == metrics.Histogram && slices.Contains([]string{f.Name + "_bucket", f.Name + "_sum", f.Name + "_count"}, series) {
			return f
		}
	}
	return nil
}

func TestAlerts(t *testing.T) {
	text, err := os.ReadFile("alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr         string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(text, &rules); err != nil {
		t.Fatal(err)
	}
	tried, err := os.ReadFile("alerts_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules.Groups[0].Rules {
		fits(t, r.Alert, r.Expr)
		if !slices.Contains([]string{"page", "ticket", "note"}, r.Labels["severity"]) || r.Annotations["summary"] == "" || r.Annotations["action"] == "" {
			t.Errorf("%s says %v %v", r.Alert, r.Labels, r.Annotations)
		}
		if n := strings.Count(string(tried), r.Alert); n != 2 {
			t.Errorf("%s is tried %d times, want once quiet and once firing", r.Alert, n)
		}
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CORDON_PEERS") == "required" {
			t.Fatal("a peer is missing: promtool: apt-get install prometheus")
		}
		t.Skip("a peer is missing: promtool: apt-get install prometheus")
	}
	for _, args := range [][]string{{"check", "rules", "alerts.yaml"}, {"test", "rules", "alerts_test.yaml"}} {
		if out, err := exec.CommandContext(t.Context(), promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

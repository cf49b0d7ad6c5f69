package guest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// allowed is the exposure that systemd may find with each unit, of 10. What is behind each
// point is in the unit.
var allowed = map[string]float64{"cordon.service": 1.9, "cordon-guard.service": 1.4, "cordon-segment.service": 4.7}

// TestExposure rates the units as they are in the checkout.
func TestExposure(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		noPeer(t, "systemd-analyze (Debian: systemd)")
	}
	units, err := filepath.Glob("../systemd/*.service")
	if err != nil || len(units) != len(allowed) {
		t.Errorf("%d units, %d of them are rated, %v", len(units), len(allowed), err)
	}
	for _, unit := range units {
		out, err := exec.CommandContext(t.Context(), "systemd-analyze", "security", "--offline=yes", "--no-pager", unit).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", unit, err, out)
		}
		rated(t, filepath.Base(unit), string(out))
	}
}

// TestSegmentSocket keeps members of the gateway's group, who may read metrics, from the helper: it gives connections to devices
// past every policy.
func TestSegmentSocket(t *testing.T) {
	unit, err := os.ReadFile("../systemd/cordon-segment.socket")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"SocketUser=cordon", "SocketMode=0600"} {
		if !strings.Contains(string(unit), "\n"+line+"\n") {
			t.Errorf("the unit does not say %s", line)
		}
	}
}

// rated holds what systemd-analyze says of a unit to what is allowed.
func rated(t *testing.T, unit, text string) {
	t.Helper()
	m := regexp.MustCompile(`Overall exposure level for .*: ([0-9.]+) `).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("systemd-analyze security %s says:\n%s", unit, text)
	}
	score, err := strconv.ParseFloat(m[1], 64)
	t.Logf("%s: exposure %.1f", unit, score)
	if most, known := allowed[unit]; err != nil || !known || score > most {
		t.Errorf("%s: exposure %.1f, want %.1f at most:\n%s", unit, score, most, bad(text))
	}
}

// bad are the lines that count.
func bad(text string) (list string) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "✗") {
			list += line
		}
	}
	return list
}

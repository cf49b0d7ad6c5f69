package plugins

import (
	"errors"
	"testing"
)

func TestMapped(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want bool
	}{
		"the machine's own":       {"         0          0 4294967295\n", true},
		"a single user":           {"         0       1000          1\n", false},
		"a container's range":     {"         0     100000      65536\n", true},
		"one short":               {"         0     100000      65534\n", false},
		"in the second line":      {"0 1000 1\n1 100000 65536\n", true},
		"beginning behind nobody": {"65535 100000 10\n", false},
		"none":                    {"", false},
		"no numbers":              {"a b c\n", false},
	} {
		if got := mapped(c.text, nobody); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestNeverStarted tells a process that there never was, perhaps because namespaces are
// forbidden, from one that ended: only for the first it is tried without them.
func TestNeverStarted(t *testing.T) {
	for _, c := range []struct {
		program string
		want    bool
	}{{"/bin/false", false}, {"/nonexistent/plugin", true}} {
		_, err := launch(t.Context(), Config{Protocol: "lines", Command: []string{c.program}, RuntimeDir: t.TempDir()}.withDefaults())
		if err == nil || errors.Is(err, errNoStart) != c.want {
			t.Errorf("%s: %v", c.program, err)
		}
	}
}

package ansible

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// play is how a run of the role ended.
type play struct {
	ok      bool
	changed int
	said    string
}

var recap = regexp.MustCompile(`(?m)^localhost +: ok=\d+ +changed=(\d+) +unreachable=0 +failed=(\d+) `)

// plays runs the role on the machine, with variables, as somebody at its keyboard would.
func (m *machine) plays(t *testing.T, variables map[string]any, flags ...string) play {
	t.Helper()
	text, err := json.Marshal(variables)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := m.command(ctx, append([]string{"ansible-playbook", "-i", "localhost,", "-c", "local", "-e", "at=localhost", "-e", string(text), "gateways.yml"}, flags...)...).CombinedOutput()
	found := recap.FindSubmatch(out)
	if found == nil {
		t.Fatalf("ansible-playbook: %v\n%s", err, out)
	}
	if ctx.Err() != nil {
		t.Fatalf("the role takes longer than %v:\n%s", patience, out)
	}
	changed, _ := strconv.Atoi(string(found[1]))
	return play{ok: err == nil && string(found[2]) == "0", changed: changed, said: string(out)}
}

// TestRole tells what the role does to one machine. Each part stands on those before it.
func TestRole(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: a package is built and a machine started")
	}
	given := t.TempDir()
	for _, run := range [][]string{
		{"cp", "-r", "roles", "gateways.yml", given},
		{"sh", "-c", `cd ../deb && go run . -o "$0/old.deb" && go run . -version 0.1.1 -o "$0/new.deb"`, given},
	} {
		if out, err := exec.CommandContext(t.Context(), run[0], run[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", run, err, out)
		}
	}
	m := newMachine(t, given)
	device := func(listen string) map[string]any {
		return map[string]any{"address": "127.0.0.1", "class": "monitor/bedside", "services": map[string]any{"hl7": map[string]any{"proto": "hl7", "port": 2575, "listen": listen}}}
	}
	devices := map[string]any{"mon-7": device("127.0.0.1:12575")}
	site := map[string]any{"cordon_deb": "/given/old.deb", "cordon_name": "ward-4", "cordon_trust_domain": "hospital.example",
		"cordon_addresses": []string{"127.0.0.1"}, "cordon_devices": devices}
	want := func(p play, ok bool, changed bool, says ...string) {
		t.Helper()
		if p.ok != ok || (p.changed > 0) != changed {
			t.Fatalf("the role went well: %v, it changed %d things; want %v and a change: %v\n%s", p.ok, p.changed, ok, changed, p.said)
		}
		for _, s := range says {
			if !strings.Contains(p.said, s) {
				t.Fatalf("the role does not say %q:\n%s", s, p.said)
			}
		}
	}
	main := func() string { return strings.TrimSpace(m.sh(t, "systemctl show -P MainPID cordon.service")) }

	want(m.plays(t, site, "--check"), true, true)
	m.sh(t, "test ! -e /usr/bin/cordon; test ! -e /etc/cordon; test ! -e /var/cache/cordon.deb")

	want(m.plays(t, site), true, true)
	m.sh(t, `test "$(systemctl is-active cordon cordon-guard cordon-segment.socket | grep -cx active)" = 3
		test "$(systemctl is-enabled cordon cordon-guard cordon-segment.socket | grep -cx enabled)" = 3
		runuser -u cordon -- cordon check -c /etc/cordon/cordon.yaml
		ss -ltn | grep -q 127.0.0.1:12575`)
	// The gateway's user has no file of anybody else's given to it.
	m.sh(t, "mkdir /srv/others; touch /srv/others/file; runuser -u cordon -- ln -s /srv/others /srv/others/file -t /var/lib/cordon")
	m.plays(t, site)
	if owners := m.sh(t, "stat -c %U /srv/others /srv/others/file | sort -u; rm /var/lib/cordon/others /var/lib/cordon/file"); owners != "root\n" {
		t.Errorf("by symbolic links, the role gives the gateway's user what was root's: now of %s", owners)
	}
	want(m.plays(t, site, "--diff"), true, false)
	if open := m.sh(t, "journalctl -u cordon.service -o cat | grep 'not fully confined' | grep -v own-user || true"); open != "" {
		t.Errorf("under its unit, the gateway cannot confine plugins fully: %s", open)
	}

	// A device more: another process, by hand-over, and the service manager has started nothing anew.
	first := main()
	devices["mon-8"] = device("127.0.0.1:12576")
	want(m.plays(t, site, "--check", "--diff"), true, true, "+  mon-8:")
	if main() != first {
		t.Fatal("check mode changed something")
	}
	want(m.plays(t, site), true, true)
	if main() == first || m.sh(t, "systemctl show -P NRestarts cordon.service") != "0\n" {
		t.Errorf("the gateway was process %s and is %s, restarted %s times", first, main(), m.sh(t, "systemctl show -P NRestarts cordon.service"))
	}
	m.sh(t, "ss -ltn | grep -q 127.0.0.1:12576; grep -q mon-8 /etc/cordon/cordon.yaml; ! cordon confirm -c /etc/cordon/cordon.yaml")

	// What is wrong with a configuration is said, and nothing has changed.
	for why, listen := range map[string]string{"devices.mon-9.services.hl7.listen": "nonsense", "192.0.2.1:12577": "192.0.2.1:12577"} {
		before := m.sh(t, "cat /etc/cordon/cordon.yaml; systemctl show -P MainPID cordon.service")
		devices["mon-9"] = device(listen)
		p := m.plays(t, site)
		if p.ok || !strings.Contains(p.said, why) {
			t.Fatalf("a device at %s: %v\n%s", listen, p.ok, p.said)
		}
		if after := m.sh(t, "cat /etc/cordon/cordon.yaml; systemctl show -P MainPID cordon.service"); after != before {
			t.Errorf("a device at %s: before\n%safter\n%s", listen, before, after)
		}
		m.sh(t, "cordon health -c /etc/cordon/cordon.yaml; test ! -e /etc/cordon/cordon.yaml.proposed")
		delete(devices, "mon-9")
	}

	// A revocation list that nobody has fetched yet is said, and keeps no device waiting.
	m.sh(t, "openssl req -x509 -newkey rsa:2048 -nodes -keyout /dev/null -out /etc/cordon/hospital.pem -days 1 -subj /CN=hospital 2>&1")
	site["cordon_options"] = map[string]any{"identity": map[string]any{"ca": map[string]any{"trust_file": "hospital.pem", "crl_file": "hospital.crl"}}}
	devices["mon-9"] = device("127.0.0.1:12577")
	want(m.plays(t, site), true, true, "check.lists")
	m.sh(t, "ss -ltn | grep -q 127.0.0.1:12577")
	delete(site, "cordon_options")
	delete(devices, "mon-9")
	want(m.plays(t, site), true, true)

	second := main()
	site["cordon_deb"] = "/given/new.deb"
	want(m.plays(t, site), true, true)
	if main() == second || m.sh(t, "dpkg-query -W -f '${Version}' cordon") != "0.1.1" || m.sh(t, "systemctl show -P NRestarts cordon.service") != "0\n" {
		t.Errorf("after the upgrade the gateway is still process %s", second)
	}

	site["cordon_state"] = "absent"
	want(m.plays(t, site), true, true)
	m.sh(t, "test ! -e /usr/bin/cordon; test -d /var/lib/cordon/audit; test -f /etc/cordon/cordon.yaml; ! pgrep -x cordon; ! ls /etc/systemd/system/*.wants/cordon.service")
	want(m.plays(t, site), true, false)
}

// What the role's variables are called is the same in its defaults, their specification and
// what uses them.
func TestRoleVariables(t *testing.T) {
	read := func(names ...string) (all string) {
		for _, pattern := range names {
			files, err := filepath.Glob(filepath.Join("roles/cordon", pattern))
			if err != nil || len(files) == 0 {
				t.Fatalf("no files %s, %v", pattern, err)
			}
			for _, file := range files {
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				all += string(text)
			}
		}
		return all
	}
	defaults, specified, used := read("defaults/*"), read("meta/argument_specs.yml"), read("vars/*", "tasks/*")
	names := regexp.MustCompile(`(?m)^(cordon_\w+):`).FindAllStringSubmatch(defaults, -1)
	if len(names) < 10 {
		t.Fatalf("%d variables", len(names))
	}
	for _, m := range names {
		if !strings.Contains(specified, fmt.Sprintf("\n      %s:\n", m[1])) {
			t.Errorf("%s is not specified", m[1])
		}
		if !strings.Contains(used, m[1]) {
			t.Errorf("%s is not used", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^      (cordon_\w+):$`).FindAllStringSubmatch(specified, -1) {
		if !strings.Contains(defaults, "\n"+m[1]+":") {
			t.Errorf("%s has no default", m[1])
		}
	}
}

package guest

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// network is what a careless installation leaves: whatever looks like a card is asked to
// configure itself, the devices' card too, and the machine is a router.
var network = map[string]string{
	"/etc/systemd/network/10-clients.network": "[Match]\nName=enp0s2\n[Network]\nAddress=10.1.0.1/24\nAddress=fd01::1/64\nIPv6AcceptRA=no\n",
	"/etc/systemd/network/20-peers.network":   "[Match]\nName=enp0s4 enp0s5\n[Link]\nUnmanaged=yes\n",
	"/etc/systemd/network/30-all.network":     "[Match]\nName=en*\n[Link]\nRequiredForOnline=no\n[Network]\nDHCP=yes\nIPv6AcceptRA=yes\nLLMNR=yes\n",
	"/etc/sysctl.d/router.conf":               "net.ipv4.ip_forward=1\nnet.ipv6.conf.all.forwarding=1\nnet.ipv4.conf.all.proxy_arp=1\nnet.ipv4.conf.all.rp_filter=0\nnet.ipv4.conf.*.rp_filter=0\n",
}

const ward = `segments:
  icu:
    interface: { kind: nic, name: enp0s3 }
    addresses: [10.9.0.1, "fd09::1"]
devices:
  mon-7:
    address: 10.9.0.7
    segment: icu
    mac: 02:00:00:00:09:07
    class: monitor/bedside
    services:
      hl7: { proto: hl7, port: 2575, listen: "10.1.0.1:12575" }
      raw: { proto: stream, port: 9100, listen: "10.1.0.1:19100", class: write }
`

// tellInstallation installs the package as its description says, and finds the gateway up with
// its segment, without having started anything by itself.
func tellInstallation(t *testing.T, g *machine) {
	for path, text := range network {
		g.write(t, path, text)
	}
	g.sh(t, "sysctl -q --system; systemctl restart systemd-networkd.service; until ip -br address show dev enp0s2 | grep -q 10.1.0.1; do sleep 0.2; done")
	g.open(t)
	out := g.sh(t, "dpkg -i /guest/old.deb 2>&1")
	t.Log(out)
	if o := g.run(t, "systemctl", "is-active", "cordon.service", "cordon-guard.service", "cordon-segment.socket"); strings.Contains("\n"+o.Stdout, "\nactive") {
		t.Errorf("the package started something: %s", o.Stdout)
	}
	g.sh(t, `cordon init -q /etc/cordon --state /var/lib/cordon --name ward-4 --trust-domain hospital.example
		chown -R cordon: /var/lib/cordon
		sed -i '/^devices: {}$/d; s/^limits:$/&\n  decision_timeout: 10s/' /etc/cordon/cordon.yaml # emulated, a decision takes long
		cat >>/etc/cordon/cordon.yaml <<'END'
`+ward+`END
		systemctl enable -q --now cordon-guard.service cordon-segment.socket cordon.service
		mkdir /root/badges; cd /root/badges
		cordon cert issue -q --dir /etc/cordon --service oie --role interface-engine --out engine
		cordon cert issue -q --dir /etc/cordon --user nurse.ito --role nurse --out nurse`)
	if o := g.run(t, "sh", "-c", "find /var/lib/cordon ! -user cordon"); o.Stdout != "" {
		t.Errorf("what root asked for is not the gateway's user's: %s", o.Stdout)
	}
	g.peers(t)
	g.working(t)
	if o := g.run(t, "systemctl", "is-active", "cordon-guard", "cordon-segment.socket", "cordon-segment", "cordon"); o.Stdout != strings.Repeat("active\n", 4) {
		t.Errorf("the units are %q", o.Stdout)
	}
	g.exposure(t)
}

// open finds that nothing is closed yet: else the sniffer would prove nothing later.
func (g *machine) open(t *testing.T) {
	t.Helper()
	s := g.sniff()
	time.Sleep(5 * time.Second) // in which the router that offers itself is believed
	s.until(func() bool { return s.crossed > 0 && s.said > 0 })
	s.end(t)
	// A segment takes no interface with an address.
	g.sh(t, "ip address flush dev enp0s3 scope global")
	if s.crossed == 0 || s.said == 0 {
		t.Error("without a guard nothing crosses, or nothing is said to the device")
	}
}

// peers makes the client and the device.
func (g *machine) peers(t *testing.T) {
	t.Helper()
	g.sh(t, `for n in client device; do ip netns add $n; ip -n $n link set lo up; done
		ip link set enp0s4 netns client; ip link set enp0s5 netns device
		ip -n client address add 10.1.0.2/24 dev enp0s4; ip -n client address add fd01::2/64 dev enp0s4 nodad
		ip -n device address add 10.9.0.7/24 dev enp0s5; ip -n device address add fd09::7/64 dev enp0s5 nodad
		ip -n client link set enp0s4 up; ip -n device link set enp0s5 up
		ip -n client route add default via 10.1.0.1; ip -n device route add default via 10.9.0.1
		systemd-run -q --unit device ip netns exec device /guest/inside device hl7=:2575 stream=:9100`)
}

// talk holds one conversation through the gateway.
func (g *machine) talk(t *testing.T, protocol, badge string, args ...string) Talk {
	t.Helper()
	port := map[string]string{"hl7": "12575", "stream": "19100"}[protocol]
	o := g.run(t, append([]string{"ip", "netns", "exec", "client", "/guest/inside", "client", "-to", "10.1.0.1:" + port,
		"-protocol", protocol, "-cert", "/root/badges/" + badge}, args...)...)
	var talk Talk
	if err := json.Unmarshal([]byte(o.Stdout), &talk); err != nil {
		t.Fatalf("a client says %q %q", o.Stdout, o.Stderr)
	}
	return talk
}

// working finds the gateway at work: it lets through what it should, and refuses the rest.
func (g *machine) working(t *testing.T) {
	t.Helper()
	g.ready(t)
	good := true
	if talk := g.talk(t, "hl7", "engine", "-n", "3"); talk.Done != 3 || talk.Wrong != "" {
		good = false
		t.Errorf("results through the gateway: %+v", talk)
	}
	if talk := g.talk(t, "hl7", "nurse", "-n", "2", "-control", Denied); talk.Refused != 2 || talk.Wrong != "" {
		good = false
		t.Errorf("results that are not permitted: %+v", talk)
	}
	if talk := g.talk(t, "stream", "engine", "-n", "300000"); talk.Done < 300000 || talk.Wrong != "" {
		good = false
		t.Errorf("bytes through the gateway: %+v", talk)
	}
	if !good {
		t.Log(g.sh(t, "cordon audit tail -n 9 -c /etc/cordon/cordon.yaml; journalctl -b -u 'cordon*' --no-pager -n 60; cordon segment findings -c /etc/cordon/cordon.yaml 2>&1 || true"))
	}
	g.honest(t)
}

// honest wants the device to have seen nothing that it should not.
func (g *machine) honest(t *testing.T) {
	t.Helper()
	for line := range strings.Lines(g.sh(t, "journalctl -b -u device -o cat --no-pager")) {
		var talk Talk
		if json.Unmarshal([]byte(line), &talk) == nil && talk.Wrong != "" {
			t.Errorf("the device says: %+v", talk)
		}
	}
}

// exposure asks the guest's systemd what it thinks of the units it has loaded.
func (g *machine) exposure(t *testing.T) {
	t.Helper()
	if o := g.run(t, "bash", "-c", "systemd-analyze verify cordon.service cordon-guard.service cordon-segment.service cordon-segment.socket 2>&1 | grep -i cordon"); o.Stdout != "" {
		t.Errorf("systemd-analyze verify says:\n%s", o.Stdout)
	}
	for unit := range allowed {
		rated(t, unit, g.sh(t, "systemd-analyze security --no-pager "+unit))
	}
}

// tellConfinement finds everything applied that confines a plugin, on this kernel and under
// this systemd: namespaces of its own, a filter for system calls, no capability, no files.
func tellConfinement(t *testing.T, g *machine) {
	for line := range strings.Lines(g.sh(t, "journalctl -b -u cordon.service -o cat --no-pager | grep 'not fully confined' || true")) {
		if !strings.Contains(line, `"measure":"own-user"`) { // the gateway is not root
			t.Errorf("the gateway says: %s", line)
		}
	}
	// As SECURITY.md says it, seen from outside.
	out := g.sh(t, `gateway=$(systemctl show -P MainPID cordon.service)
		grep -E '^(CapBnd|CapEff|NoNewPrivs|Seccomp):' /proc/$gateway/status
		for p in $(pgrep -P $gateway); do
			grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/$p/status
			for n in user pid net ipc uts mnt; do
				if [ $(readlink /proc/$p/ns/$n) = $(readlink /proc/$gateway/ns/$n) ]; then echo "same $n"; fi
			done
		done`)
	gateway, plugin := "NoNewPrivs:\t1\nSeccomp:\t2\n", "CapEff:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n"
	none := "0000000000000000\n"
	if want := "CapEff:\t" + none + "CapBnd:\t" + none + gateway + plugin + plugin; out != want {
		t.Errorf("the kernel says of the gateway and its two plugins:\n%swant\n%s", out, want)
	}
	g.landlocked(t)
	if !*all {
		return // it runs the policy's tests, too, and here those take half a minute
	}
	o := g.run(t, "setpriv", "--reuid=cordon", "--regid=cordon", "--init-groups", "cordon", "doctor", "--json", "-c", "/etc/cordon/cordon.yaml")
	var report struct {
		Findings []struct{ Severity, Subject, Evidence string }
	}
	if err := json.Unmarshal([]byte(o.Stdout), &report); err != nil {
		t.Fatalf("cordon doctor says %s%s", o.Stdout, o.Stderr)
	}
	for _, f := range report.Findings {
		known := f.Subject == "clock" || strings.HasPrefix(f.Evidence, "own-user not applied") || strings.HasPrefix(f.Evidence, "root.key lies")
		if !known {
			t.Errorf("cordon doctor finds %+v", f)
		}
	}
}

// landlocked finds the plugins restricted by this kernel's Landlock, and that it refuses what it
// says, to a process that has no filter for system calls.
func (g *machine) landlocked(t *testing.T) {
	t.Helper()
	var status struct {
		Plugins []struct {
			Protocol    string
			Confinement []struct {
				Name, Detail string
				Applied      bool
			}
		}
	}
	text := g.sh(t, "cordon status --json -c /etc/cordon/cordon.yaml")
	if err := json.Unmarshal([]byte(text), &status); err != nil || len(status.Plugins) != 2 {
		t.Fatalf("cordon status says %s: %v", text, err)
	}
	for _, p := range status.Plugins {
		found := false
		for _, m := range p.Confinement {
			if m.Name == "landlock" {
				found = m.Applied && strings.Contains(m.Detail, "refuses files")
				t.Logf("plugin %s: landlock: %s", p.Protocol, m.Detail)
			}
		}
		if !found {
			t.Errorf("plugin %s is not restricted by Landlock: %+v", p.Protocol, p.Confinement)
		}
	}
	begun := time.Now()
	if o := g.run(t, "/guest/serve.test", "-test.v", "-test.run", "TestLandlock|TestConfine"); o.Code != 0 || strings.Contains(o.Stdout, "SKIP") {
		t.Errorf("a process under Landlock is not refused what it should be:\n%s%s", o.Stdout, o.Stderr)
	} else {
		t.Logf("%.0f s:\n%s", time.Since(begun).Seconds(), o.Stdout)
	}
}

package guest

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// tellSegments runs the tests of segments on this kernel, which has 802.1Q.
func tellSegments(t *testing.T, g *machine) {
	which, least := "^(TestVLAN|TestGuardVLAN)$", 2
	if *all {
		which, least = ".", 30
	}
	o := g.do(t, Request{Run: []string{"env", "CORDON_PEERS=required", "PATH=/usr/sbin:/usr/bin", "/guest/segment.test", "-test.v", "-test.timeout=15m", "-test.run", which}, Seconds: 900}, nil)
	verdicts := regexp.MustCompile(`(?m)^--- (PASS|FAIL|SKIP): .*$`).FindAllString(o.Stdout, -1)
	t.Logf("%s", strings.Join(verdicts, "\n"))
	if o.Code != 0 || strings.Contains(o.Stdout, "--- SKIP") || len(verdicts) < least {
		t.Errorf("exit code %d:\n%s%s", o.Code, o.Stdout, o.Stderr)
	}
}

// trunk is a switch's port with a device in VLAN 20 behind it: one end of a veth, for cards are few.
const trunk = `ip netns add far
	ip link add tr0 type veth peer name tr1 address 02:00:00:00:08:08 netns far
	ip -n far link set tr1 up
	ip -n far link add link tr1 name v20 type vlan id 20
	ip -n far address add 10.8.0.8/24 dev v20; ip -n far link set v20 up; ip -n far route add default via 10.8.0.1
	systemd-run -q --unit far ip netns exec far /guest/inside device hl7=:2575
	cd /etc/cordon; cp -p cordon.yaml before.yaml
	sed -i '/^segments:$/a\  lab: { interface: { kind: vlan, name: lab20, parent: tr0, vlan: 20 }, addresses: [10.8.0.1] }' cordon.yaml
	sed -i '/^devices:$/a\  mon-8: { address: 10.8.0.8, segment: lab, mac: "02:00:00:00:08:08", class: monitor/bedside, services: { hl7: { proto: hl7, port: 2575, listen: "10.1.0.1:12576" } } }' cordon.yaml`

// tellTrunk adds a segment that is one VLAN of a trunk to the running gateway, has results sent
// there, and takes it away again.
func tellTrunk(t *testing.T, g *machine) {
	g.sh(t, trunk)
	g.reload(t)
	o := g.run(t, "ip", "netns", "exec", "client", "/guest/inside", "client", "-to", "10.1.0.1:12576", "-protocol", "hl7", "-cert", "/root/badges/engine", "-n", "3")
	var talk Talk
	if err := json.Unmarshal([]byte(o.Stdout), &talk); err != nil || talk.Done != 3 || talk.Wrong != "" {
		t.Errorf("results to a device in a VLAN: %+v, %v, %s\n%s", talk, err, o.Stderr, g.sh(t, "journalctl -b -u 'cordon*' --no-pager -n 40"))
	}
	if o := g.run(t, "cordon", "segment", "findings", "lab", "-c", "/etc/cordon/cordon.yaml"); o.Code != 0 {
		t.Errorf("segment findings exits with %d and says %s%s", o.Code, o.Stdout, o.Stderr)
	}
	if o := g.run(t, "ip", "netns", "exec", "client", "timeout", "2", "bash", "-c", "exec 3<>/dev/tcp/10.8.0.8/2575"); o.Code == 0 {
		t.Error("the client reaches the device directly")
	}
	g.sh(t, `cordon segment down lab --yes --release -q -c /etc/cordon/cordon.yaml
		mv /etc/cordon/before.yaml /etc/cordon/cordon.yaml`)
	g.reload(t)
	g.sh(t, "systemctl stop far; ip link del tr0; ip netns del far")
	g.working(t)
}

// reload has the gateway read its configuration again.
func (g *machine) reload(t *testing.T) {
	t.Helper()
	if o := g.run(t, "systemctl", "reload", "cordon.service"); o.Code != 0 {
		t.Fatalf("systemctl reload: %s%s\n%s", o.Stdout, o.Stderr, g.sh(t, "journalctl -b -u 'cordon*' --no-pager -n 40"))
	}
}

// tellBadNetwork loses, delays, doubles, reorders and damages packets on all four ends of the
// two wires. A conversation is held to its last byte, or ends with an error; nothing that
// arrives is another byte than was sent, and nothing arrives that is not permitted.
func tellBadNetwork(t *testing.T, g *machine) {
	weather := []string{"delay 5ms 3ms reorder 25% 50% duplicate 10% loss 5% corrupt 2%"}
	if *all {
		weather = append(weather, "loss 10%", "delay 20ms 15ms", "delay 10ms reorder 40% 50%", "duplicate 30%", "corrupt 5%", "loss 60%")
	}
	ends := []string{"ip netns exec client tc qdisc %s dev enp0s4 root netem %s", "tc qdisc %s dev enp0s2 root netem %s",
		"nsenter --net=/run/cordon/netns/icu tc qdisc %s dev enp0s3 root netem %s", "ip netns exec device tc qdisc %s dev enp0s5 root netem %s"}
	set := func(how, what string) {
		var all []string
		for _, e := range ends {
			all = append(all, strings.TrimSuffix(fmt.Sprintf(e, how, what), " netem "))
		}
		g.sh(t, strings.Join(all, "\n"))
	}
	whole := 0
	for _, w := range weather {
		set("replace", w)
		for _, c := range []struct {
			protocol, badge, control string
			n                        int
		}{{"hl7", "engine", "weather", 20}, {"hl7", "nurse", Denied, 3}, {"stream", "engine", "", 200_000}} {
			talk := g.talk(t, c.protocol, c.badge, "-n", fmt.Sprint(c.n), "-control", c.control, "-seconds", "60")
			t.Logf("%s: %s of %s: %+v", w, c.protocol, c.badge, talk)
			switch done := talk.Done >= c.n || c.control == Denied && talk.Refused == c.n; {
			case talk.Wrong != "" || c.control == Denied && talk.Done > 0:
				t.Errorf("%s: %s of %s: %+v", w, c.protocol, c.badge, talk)
			case done:
				whole++
			case talk.Error == "":
				t.Errorf("%s: %s of %s ends early and without an error: %+v", w, c.protocol, c.badge, talk)
			}
		}
		if seen := g.sh(t, "nsenter --net=/run/cordon/netns/icu tc -s qdisc show dev enp0s3"); !strings.Contains(seen, "netem") || strings.Contains(seen, "Sent 0 bytes") {
			t.Errorf("%s: nothing was disturbed: %s", w, seen)
		}
	}
	if whole == 0 {
		t.Error("no conversation was held to its end")
	}
	set("del", "")
	g.honest(t)
	t.Log(strings.TrimSpace(g.sh(t, "cordon audit verify -c /etc/cordon/cordon.yaml")))
	g.working(t)
}

package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// tellStrangers has two segments of three devices each, in which everybody calls, is called, is
// refused and tries what it may not. No device learns through the gateway that there is another.
func tellStrangers(t *testing.T, cordon string) {
	peer(t, "openssl", "openssl")
	w := newWard(t, cordon)
	w.ip(t, "link del seg0", "netns del device")
	own := w.path("peer")
	if out := runProgram(t, w.dir, nil, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
		"-subj", "/CN=peer", "-addext", "subjectAltName=DNS:peer.hospital.example", "-keyout", own+".key", "-out", own+".pem"); out.code != 0 {
		t.Fatal(out.stderr)
	}
	segments := []struct {
		name, nic, router string
		machines          []machine
	}{{name: "north", nic: "seg0", router: "10.9.0.1"}, {name: "south", nic: "seg1", router: "10.8.0.1"}}
	var file, devices strings.Builder
	file.WriteString("segments:\n")
	names := []string{"alder", "birch", "cedar", "daisy", "elder", "furze"}
	for i := range segments {
		s := &segments[i]
		net3 := strings.TrimSuffix(s.router, ".1")
		fmt.Fprintf(&file, "  %s: { interface: { kind: nic, name: %s }, addresses: [%s] }\n", s.name, s.nic, s.router)
		for j := range 3 {
			n := 3*i + j
			m := machine{names[n], fmt.Sprintf("%s.%d", net3, 71+n), net.HardwareAddr{2, 0xaa, 0xbb, 0xcc, 0xdd, byte(0x71 + n)}}
			s.machines = append(s.machines, m)
			fmt.Fprintf(&devices, `  %s:
    address: %s
    segment: %s
    mac: %s
    class: monitor/bedside
    call_out:
      results: { proto: hl7, catch: "%s.9:2575", to: "10.1.0.2:2576", server_name: peer.hospital.example }
    services:
      hl7: { proto: hl7, port: 2575, listen: "10.1.0.1:%d" }
`, m.name, m.address, s.name, m.mac, net3, 21000+n)
		}
		w.wire(t, s.nic, s.router, s.machines...)
	}
	w.edit(t, "cordon.yaml", "    # trust_file: hospital.pem # believe these roots too\n", "    trust_file: "+own+".pem\n")
	w.edit(t, "cordon.yaml", "devices: {}\n", file.String()+"devices:\n"+devices.String())
	w.issueStaff(t)
	certificate, err := tls.LoadX509KeyPair(own+".pem", own+".key")
	if err != nil {
		t.Fatal(err)
	}
	record(t, tls.NewListener(w.listenIn(t, "client", "10.1.0.2:2576"), &tls.Config{Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAnyClientCert}))
	sniffers, mac := map[string]*sniffer{}, map[string]net.HardwareAddr{}
	for _, s := range segments {
		i, err := net.InterfaceByName(s.nic) // before the segment takes it
		if err != nil {
			t.Fatal(err)
		}
		mac[s.name] = i.HardwareAddr
		for _, m := range s.machines {
			record(t, w.listenIn(t, m.name, m.address+":2575"))
			sniffers[m.name] = w.sniff(t, m.name, "eth0")
		}
	}
	d := w.serve(t)
	w.isolated(t, "north", "south")

	dial := func(address string, badge *tls.Config) func() (net.Conn, error) {
		return func() (net.Conn, error) {
			c, err := (&net.Dialer{Timeout: 2 * time.Second}).Dial("tcp4", address)
			if err == nil && badge != nil {
				c = tls.Client(c, badge)
			}
			return c, err
		}
	}
	say := func(who, namespace string, dial func() (net.Conn, error), trigger, want string) {
		t.Helper()
		if got, err := w.exchange(t, namespace, dial, framed(message(trigger, "R1", "2.5.1"))); !strings.Contains(got, want) {
			t.Errorf("%s from %s: %s is answered with %q, %v, want %q", who, namespace, trigger, got, err, want)
		}
	}
	engine, nurse := w.badge(t, "engine"), w.badge(t, "nurse")
	n := 0
	for i, s := range segments {
		other := segments[1-i]
		for j, m := range s.machines {
			listens := fmt.Sprintf("10.1.0.1:%d", 21000+n)
			n++
			say(m.name, "client", dial(listens, engine), "ORU^R01", "MSA|AA|R1")
			say(m.name, "client", dial(listens, nurse), "ORU^R01", "MSA|AR|R1")
			catch := strings.TrimSuffix(s.router, "1") + "9:2575"
			say(m.name, m.name, dial(catch, nil), "ORU^R01", "MSA|AA|R1")
			say(m.name, m.name, dial(catch, nil), "QBP^Q22", "MSA|AR|R1")
			// What it may not: the other segment's machines, by every way it knows, and their address here.
			w.reach(t, m.name, other.machines[j].address+":2575", other.router+":2575", strings.TrimSuffix(other.router, "1")+"9:2575",
				"10.1.0.2:2576", listens, catch[:len(catch)-1]+"6", s.router+":2575", s.router+":21000")
		}
	}
	d.kill() // resets, or none
	for _, s := range segments {
		for _, m := range s.machines {
			w.reach(t, m.name, strings.TrimSuffix(s.router, "1")+"9:2575", s.router+":2575")
		}
	}

	for _, s := range segments {
		for _, m := range s.machines {
			frames := sniffers[m.name].sent(mac[s.name])
			all := bytes.Join(frames, nil)
			if !bytes.Contains(all, []byte("ORU^R01")) || !bytes.Contains(all, []byte("MSA|AR")) || m.told(all) == "" {
				t.Errorf("%s has heard %d frames of the gateway, and not what it should", m.name, len(frames))
			}
			for _, f := range frames {
				mine := bytes.Equal(f[:6], m.mac) || f[0]&1 != 0 // a switch may flood what is another's
				for _, o := range segments {
					for _, x := range o.machines {
						if what := x.told(f); what != "" && x.name != m.name && (mine || o.name != s.name) {
							t.Errorf("%s hears of %s: its %s in %x", m.name, x.name, what, f)
						}
					}
				}
				if what := (machine{"10.1.0.", "10.1.0.2", net.HardwareAddr{0xff, 0xfe, 0xfd, 0, 0, 0}}).told(f); what != "" {
					t.Errorf("%s hears of the clients' network: %s in %x", m.name, what, f)
				}
			}
		}
	}
}

package main

import (
	"net"
	"slices"
	"strings"
	"testing"

	"cordon/cmd/cordon/exit"
)

// newBroker makes a gateway in front of mosquitto, with a tap before it, and returns the port
// of another tap before mosquitto itself.
func newBroker(t *testing.T, cordon string, settings ...string) (s *site, through, direct *tap) {
	t.Helper()
	s = emptySite(t, cordon)
	address := freeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	b := start(t, s.dir, peer(t, "/usr/sbin/mosquitto", "mosquitto"), "-c",
		s.write(t, "mosquitto.conf", "listener "+port+" 127.0.0.1\nallow_anonymous true\npersistence false\nsys_interval 1\n"))
	b.waitFor(t, "listening", func() bool { return listening(port) })
	through, direct = newTap(t, address), newTap(t, address)
	s.add(t, "rack-1", "pump/infusion", "mqtt", through.port(), settings...)
	s.example(t, "topics.rego")
	s.issue(t, "biomed", "--user", "tech.ray", "--role", "biomed")
	s.issue(t, "nurse", "--user", "nurse.ito", "--role", "nurse")
	return s, through, direct
}

// tellMosquitto publishes and subscribes with mosquitto's own clients, over their own TLS.
// What is allowed reaches the broker as they send it without a gateway.
func tellMosquitto(t *testing.T, cordon string) {
	programs := map[string]string{"pub": peer(t, "mosquitto_pub", "mosquitto-clients"), "sub": peer(t, "mosquitto_sub", "mosquitto-clients")}
	s, through, direct := newBroker(t, cordon, "--set", "refused_publish=disconnect")
	d := s.serve(t)
	_, port, _ := net.SplitHostPort(s.listen)
	const lost, no, denied = "Error: The connection was lost.\n", "All subscription requests were denied.\n", "Warning: Publish 1 failed: Not authorized.\n"
	for _, test := range []struct {
		what, badge, program, args string
		says                       [2]string // in MQTT 3.1.1 and in 5
		code                       [2]int
		refused                    string // the operation in the log
	}{
		{"QoS 0", "biomed", "pub", "-q 0 -t pump/1/set -m 12", [2]string{}, [2]int{}, ""},
		{"QoS 1", "biomed", "pub", "-q 1 -t pump/1/set -m 12", [2]string{}, [2]int{}, ""},
		{"QoS 2", "biomed", "pub", "-q 2 -t pump/1/set -m 12", [2]string{}, [2]int{}, ""},
		{"subscribe", "biomed", "sub", "-q 1 -t pump/+/log -t x -E", [2]string{}, [2]int{}, ""},
		{"QoS 0, another topic", "biomed", "pub", "-q 0 -t pump/1/log -m 12", [2]string{}, [2]int{}, "mqtt:PUBLISH"},
		{"QoS 1, another topic", "biomed", "pub", "-q 1 -t pump/1/log -m 12", [2]string{lost, denied}, [2]int{7, 0}, "mqtt:PUBLISH"},
		{"QoS 2, another topic", "biomed", "pub", "-q 2 -t pump/1/log -m 12", [2]string{lost, denied}, [2]int{7, 0}, "mqtt:PUBLISH"},
		{"retained", "biomed", "pub", "-q 1 -r -t pump/1/set -m 12", [2]string{lost, denied}, [2]int{7, 0}, "mqtt:PUBLISH"},
		{"will", "biomed", "pub", "-q 1 -t pump/1/set -m 12 --will-topic pump/1/set --will-payload 0",
			[2]string{"Connection error: Connection Refused: not authorised.\n", "Connection error: Not authorized\n"}, [2]int{5, 135}, "mqtt:CONNECT"},
		{"the broker's own topics", "biomed", "sub", "-t $SYS/# -W 5", [2]string{no, no}, [2]int{}, "mqtt:SUBSCRIBE"},
		{"a wrong person", "nurse", "pub", "-q 1 -t pump/1/set -m 12",
			[2]string{"Connection error: Connection Refused: not authorised.\n", "Connection error: Not authorized\n"}, [2]int{5, 135}, "mqtt:CONNECT"},
	} {
		for i, version := range []string{"mqttv311", "mqttv5"} {
			args := append([]string{"-V", version, "-i", "m1"}, strings.Fields(test.args)...)
			if test.refused == "" {
				runProgram(t, s.dir, nil, programs[test.program], append([]string{"-h", "127.0.0.1", "-p", direct.port()}, args...)...)
			}
			out := runProgram(t, s.dir, nil, programs[test.program], append([]string{"-h", "localhost", "-p", port,
				"--cafile", s.path("ca.pem"), "--cert", s.path(test.badge + ".pem"), "--key", s.path(test.badge + ".key")}, args...)...)
			if said := out.stdout + out.stderr; !strings.HasPrefix(said, test.says[i]) || test.says[i] == "" && said != "" || out.code != test.code[i] {
				t.Errorf("%s, %s: exit code %d, %q, want %d and %q", test.what, version, out.code, said, test.code[i], test.says[i])
			}
			want, got := direct.take(), through.take()
			if test.refused == "" && !eventually(func() bool { got += through.take(); return len(got) >= len(want) }) || test.refused == "" && got != want {
				t.Errorf("%s, %s: the broker received\n%q, want\n%q", test.what, version, got, want)
			}
			if test.refused != "" && (strings.Contains(got, "12") || strings.Contains(got, "$SYS")) {
				t.Errorf("%s, %s: the broker received %q", test.what, version, got)
			}
			if log := s.must(t, "audit", "tail", "-n", "3", "--dir", s.gw()); test.refused != "" && (!strings.Contains(log, test.refused) || !strings.Contains(log, " DENY ")) {
				t.Errorf("%s, %s: the log says %s", test.what, version, log)
			}
		}
	}
	// What a client with MQTT 5 shows of a refusal leads to the reason.
	out := runProgram(t, s.dir, nil, programs["pub"], "-h", "localhost", "-p", port, "--cafile", s.path("ca.pem"), "--cert", s.path("biomed.pem"),
		"--key", s.path("biomed.key"), "-V", "mqttv5", "-q", "1", "-t", "pump/1/log", "-m", "12")
	if why := s.must(t, "why", decisionCode.FindString(out.stdout+out.stderr), "--dir", s.gw()); !strings.Contains(why, "DENY mqtt:PUBLISH") {
		t.Errorf("why, from %q, says %s", out.stdout+out.stderr, why)
	}
	if code := d.stop(t); code != exit.Done {
		t.Errorf("the gateway exited with %d", code)
	}
}

// tellPaho keeps one connection of paho-mqtt for everything, and tellMQTTJS one of MQTT.js.
func tellPaho(t *testing.T, cordon string) {
	python := pythonWith(t, "paho.mqtt.client", "python3-paho-mqtt")
	tellMQTT(t, cordon, []string{python, peerScript(t, "mqtt_client.py")}, map[string][][]string{
		"4": {
			{"Connection Accepted.", "128", "1", "published", "pump/1/set 12", "disconnected: The connection was lost."},
			{"Connection Accepted.", "published", "disconnected: The connection was lost."},
			{"Connection Refused: not authorised."},
		},
		"5": {
			{"Success", "Not authorized", "Granted QoS 1", "published", "pump/1/set 12", "published"},
			{"Success", "published", "disconnected: Not authorized"},
			{"Not authorized"},
		},
	})
}

func tellMQTTJS(t *testing.T, cordon string) {
	node := peer(t, "node", "nodejs")
	modules := nodeModules(t, "mqtt")
	tellMQTT(t, cordon, []string{"env", "NODE_PATH=" + modules, node, peerScript(t, "mqtt_client.js")}, map[string][][]string{
		"4": {
			{"connected", "Subscribe error: Unspecified error", "granted 1", "done", "pump/1/set 12", "disconnected"},
			{"connected", "done", "disconnected"},
			{"Connection refused: Not authorized"},
		},
		"5": {
			{"connected", "Subscribe error: Not authorized", "granted 1", "done", "pump/1/set 12", "Publish error: Not authorized"},
			{"connected", "done", "disconnected: 135 not permitted, decision code "},
			{"Connection refused: Not authorized"},
		},
	})
}

func tellMQTT(t *testing.T, cordon string, client []string, says map[string][][]string) {
	s, through, _ := newBroker(t, cordon)
	d := s.serve(t)
	_, port, _ := net.SplitHostPort(s.listen)
	for version, want := range says {
		for i, test := range [...]struct {
			badge      string
			operations []string
		}{
			{"biomed", []string{"subscribe=1,$SYS/#", "subscribe=1,pump/+/set", "publish=2,pump/1/set,12", "receive", "publish=1,pump/1/log,13"}},
			{"biomed", []string{"publish=0,pump/1/log,13", "end"}},
			{"nurse", nil},
		} {
			args := append(slices.Clone(client[1:]), port, s.path(test.badge+".pem"), s.path(test.badge+".key"), s.path("ca.pem"), version)
			out := runProgram(t, s.dir, nil, client[0], append(args, test.operations...)...)
			got := strings.Split(strings.TrimSpace(out.stdout), "\n")
			same := func(a, b string) bool {
				return a == b || strings.HasSuffix(b, "code ") && strings.HasPrefix(a, b) && decisionCode.MatchString(a)
			}
			if !slices.EqualFunc(got, want[i], same) {
				t.Errorf("version %s: the client says\n%q, want\n%q\n%s", version, got, want[i], out.stderr)
			}
		}
	}
	if sent := through.take(); strings.Contains(sent, "$SYS") || strings.Contains(sent, "13") {
		t.Errorf("the broker received %q", sent)
	}
	if code := d.stop(t); code != exit.Done {
		t.Errorf("the gateway exited with %d", code)
	}
}

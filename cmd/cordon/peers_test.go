package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"cordon/cmd/cordon/exit"
)

// TestGateway drives the program a user gets, by its command line, with the programs its
// users have. deploy/test installs those; where one is missing, its story is skipped,
// or fails if CORDON_PEERS is "required".
func TestGateway(t *testing.T) {
	cordon := os.Getenv(programEnv)
	if cordon == "" {
		cordon = filepath.Join(t.TempDir(), "cordon")
		if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", cordon, ".").CombinedOutput(); err != nil {
			t.Fatalf("go build: %v\n%s", err, out)
		}
	}
	type story struct {
		name string
		tell func(t *testing.T, cordon string)
	}
	// These make networks of their own.
	for _, s := range []story{
		{"segment", tellSegment},
		{"segment helper", tellSegmentHelper},
		{"call-out", tellCallOut},
		{"guard", tellGuard},
		{"purge", tellPurge},
		{"inline", tellInline},
		{"IPv6", tellIPv6},
		{"IPv6 inline", tellIPv6Inline},
		{"unchanged devices", tellUnchanged},
		{"strangers", tellStrangers},
		{"storage commitment", tellCommitment},
		{"hand-over with a segment", tellSegmentHandover},
	} {
		t.Run(s.name, func(t *testing.T) { inTime(t); asRoot(t, cordon, s.tell) })
	}
	for _, s := range []story{
		{"hand-over", tellHandover}, // brings its own load
		{"apply", tellApply},
		{"service manager", tellServiceManager}, // sets the environment
	} {
		t.Run(s.name, func(t *testing.T) { inTime(t); s.tell(t, cordon) })
	}
	for _, s := range []story{
		{"mllp_send", tellMLLPSend},
		{"node-hl7-client", tellNodeClient},
		{"openssl", tellOpenSSL},
		{"dcmtk and Orthanc", tellDCMTK},
		{"batch of images", tellBatch},
		{"AE titles", tellTitles},
		{"dcmjs-dimse", tellNodeDICOM},
		{"direct and through", tellMatrix},
		{"hostile PDUs", tellHostile},
		{"large image", tellLargeImage},
		{"crowd of associations", tellCrowd},
		{"large message", tellLarge},
		{"endless message", tellEndless},
		{"drain", tellDrain},
		{"power failure", tellPowerFailure},
		{"investigation", tellInvestigation},
		{"tampering", tellTampering},
		{"exit codes", tellExitCodes},
		{"profile", tellProfile},
		{"virtual patches", tellPatches},
		{"monitor that calls home", tellContec},
		{"mbpoll", tellMbpoll},
		{"pymodbus", tellPymodbus},
		{"jsmodbus", tellJSModbus},
		{"libmodbus", tellLibmodbus},
		{"silent Modbus device", tellSilentDevice},
		{"ASTM analyser", tellASTM},
		{"stranger to an ASTM analyser", tellASTMStranger},
		{"POCT1-A analyser", tellAnalyser},
		{"POCT1-A manager", tellManager},
		{"serial commands", tellCommand},
		{"mosquitto", tellMosquitto},
		{"paho", tellPaho},
		{"MQTT.js", tellMQTTJS},
		{"curl", tellCurl},
		{"ambiguous HTTP", tellAmbiguous},
		{"browser", tellBrowser},
		{"pinned plugin", tellPinned},
		{"replay", tellReplay},
		{"repair", tellRepair},
		{"in force", tellInForce},
		{"reload", tellReload},
		{"half-edited policy", tellHalfEdited},
		{"access", tellAccess},
		{"learning", tellLearning},
		{"rollout", tellRollout},
		{"break-glass", tellBreakGlass},
		{"bundles", tellBundles},
		{"metrics", tellMetrics},
		{"container", tellContainer},
		{"successor", tellSuccessor},
		{"revocation lists", tellRevocationLists},
		{"kept policies", tellKeptPolicies},
		{"backup", tellBackup},
		{"restored", tellRestored},
		{"demo", tellDemo},
	} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel() // most of their time they wait
			inTime(t)
			s.tell(t, cordon)
		})
	}
}

// peer returns the path of a program the tests do not bring along.
func peer(t *testing.T, name, debianPackage string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		noPeer(t, name+": apt-get install "+debianPackage)
	}
	return path
}

// storyTime is more than any story takes.
const storyTime = 3 * time.Minute

// inTime skips a story for which too little time is left: all of them together take longer than the ten minutes that go
// test gives if it is not told otherwise, as deploy/test tells it.
func inTime(t *testing.T) {
	t.Helper()
	if end, ok := t.Deadline(); ok && time.Until(end) < storyTime {
		lacks(t, fmt.Sprintf("too little time is left, %v: go test -timeout 25m", time.Until(end).Round(time.Second)))
	}
}

func noPeer(t *testing.T, what string) {
	t.Helper()
	lacks(t, "a peer is missing: "+what)
}

// lacks is a skip where peers are not required.
func lacks(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CORDON_PEERS") == "required" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// message is an HL7 message as mllp_send leaves it, without the last segment's CR.
func message(trigger, control, version string) string {
	return `MSH|^~\&|LAB|WARD|MON|WARD|20261122120000||` + trigger + `|` + control + `|P|` + version + "\r" +
		"PID|1||100123^^^HOSP^MR||DEMO^PATIENT\r" +
		"OBX|1|NM|8480-6^Systolic^LN||121|mm[Hg]|||||F"
}

func framed(messages ...string) string {
	var b strings.Builder
	for _, m := range messages {
		b.WriteString("\v" + m + "\x1c\r")
	}
	return b.String()
}

// decisionCode finds the code a refused person reads out.
var decisionCode = regexp.MustCompile(`\b[0-9A-Z]{3}-[0-9A-Z]{2}\b`)

// tunnel opens a plain port that leads to the site by mutual TLS with a certificate of
// the site, and returns it. Each connection to it becomes one to the gateway.
func (s *site) tunnel(t *testing.T, badge string) string {
	t.Helper()
	cmd := exec.Command(peer(t, "socat", "socat"), "-d", "-d", "TCP-LISTEN:0,bind=127.0.0.1,fork",
		"OPENSSL:"+s.listen+",verify=1,openssl-min-proto-version=TLS1.3,cert="+s.path(badge+".pem")+",key="+s.path(badge+".key")+",cafile="+s.path("ca.pem"))
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	port := make(chan string, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		said := bufio.NewScanner(stderr)
		for said.Scan() {
			if _, address, ok := strings.Cut(said.Text(), "listening on AF=2 "); ok {
				_, p, _ := net.SplitHostPort(address)
				select {
				case port <- p:
				default: // it says so again after each connection
				}
			}
		}
		cmd.Wait()
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		stderr.Close() // its children may hold the other end
		<-ended
	})
	select {
	case p := <-port:
		return p
	case <-ended:
		t.Fatal("socat ended")
	case <-time.After(patience):
		t.Fatal("socat does not listen")
	}
	return ""
}

// tellMLLPSend sends with mllp_send of python3-hl7, which knows no TLS, by way of socat.
func tellMLLPSend(t *testing.T, cordon string) {
	mllpSend := peer(t, "mllp_send", "python3-hl7")
	s := newSite(t, cordon)
	s.issueStaff(t)
	s.issue(t, "rsa", "--service", "mirth", "--role", "interface-engine", "--key", "rsa")
	d := s.serve(t)
	send := func(badge string, messages ...string) []string {
		t.Helper()
		file := s.write(t, "messages.hl7", strings.Join(messages, "\r\n"))
		out := runProgram(t, s.dir, nil, mllpSend, "--loose", "--file", file, "-p", s.tunnel(t, badge), "127.0.0.1")
		answers := strings.Split(strings.Trim(out.stdout, "\v\x1c\r\n"), "\x1c\r\n\v")
		if len(answers) != len(messages) {
			t.Fatalf("%d answers to %d messages: %q", len(answers), len(messages), out.stdout+out.stderr)
		}
		return answers
	}

	result, alarm := message("ORU^R01", "R1", "2.5.1"), message("ORU^R40", "A1", "2.6")
	if got := send("engine", result)[0]; !strings.Contains(got, "\rMSA|AA|R1") {
		t.Errorf("the device's own answer is %q", got)
	}
	s.device.want(t, 1, framed(result))

	// A refusal in each form, and the connection goes on.
	early, modern := message("ORU^R01", "R2", "2.3"), message("ORU^R01", "R3", "2.5.1")
	answers := send("nurse", early, modern, alarm)
	for i, want := range []string{"\rMSA|AR|R2|", "\rMSA|AR|R3\r", "\rMSA|AA|A1"} {
		if !strings.Contains(answers[i], want) {
			t.Errorf("answer %d is %q, want %q in it", i+1, answers[i], want)
		}
	}
	for _, refusal := range answers[:2] {
		code := decisionCode.FindString(refusal[strings.Index(refusal, "MSA"):])
		if out := s.must(t, "why", code, "--dir", s.gw()); !strings.Contains(out, "DENY hl7:ORU^R01") || !strings.Contains(out, "user/nurse.ito") {
			t.Errorf("why %s, from %q, says %s", code, refusal, out)
		}
	}
	s.device.want(t, 2, framed(result, alarm))

	if got := send("rsa", result)[0]; !strings.Contains(got, "\rMSA|AA|R1") {
		t.Errorf("with an RSA key the answer is %q", got)
	}
	if code := d.stop(t); code != exit.Done {
		t.Errorf("the gateway exited with %d", code)
	}
	s.device.want(t, 3, framed(result, alarm, result))
}

// tellNodeClient sends with node-hl7-client, which brings its own TLS and tells its caller
// MSA-1.
func tellNodeClient(t *testing.T, cordon string) {
	node := peer(t, "node", "nodejs")
	modules := nodeModules(t, "node-hl7-client")
	s := newSite(t, cordon)
	s.issueStaff(t)
	d := s.serve(t)
	_, port, _ := net.SplitHostPort(s.listen)
	result, alarm := message("ORU^R01", "R1", "2.5.1"), message("ORU^R40", "A1", "2.6")
	files := []string{s.write(t, "result.hl7", result), s.write(t, "alarm.hl7", alarm)}
	script, err := filepath.Abs("../../deploy/peers/hl7_client.js")
	if err != nil {
		t.Fatal(err)
	}
	for _, who := range []struct {
		badge   string
		answers []string // MSA-1 to the result and to the alarm
	}{
		{"engine", []string{"AA", "AA"}},
		{"nurse", []string{"AR", "AA"}},
	} {
		args := append([]string{"NODE_PATH=" + modules, node, script, port, s.path(who.badge + ".pem"), s.path(who.badge + ".key"), s.path("ca.pem")}, files...)
		out := runProgram(t, s.dir, nil, "env", args...)
		if out.code != 0 {
			t.Errorf("%s: exit code %d: %s", who.badge, out.code, out.stderr)
		}
		answers := json.NewDecoder(strings.NewReader(out.stdout))
		for i, want := range who.answers {
			var got struct{ MSA1, Text string }
			if err := answers.Decode(&got); err != nil || got.MSA1 != want {
				t.Errorf("%s: answer %d is %q (%v), want MSA-1 %s", who.badge, i+1, got, err, want)
			}
			if want == "AR" && !decisionCode.MatchString(got.Text) {
				t.Errorf("%s: no decision code in %q", who.badge, got.Text)
			}
		}
		if answers.More() {
			t.Errorf("%s: more answers than messages: %s", who.badge, out.stdout)
		}
	}
	d.stop(t)
	s.device.want(t, 2, framed(result, alarm, alarm))
}

// nodeModules is where deploy/test installs the packages that deploy/peers names.
func nodeModules(t *testing.T, name string) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		noPeer(t, err.Error())
	}
	modules := filepath.Join(cache, "cordon-peers", "node_modules")
	if _, err := os.Stat(filepath.Join(modules, name)); err != nil {
		noPeer(t, err.Error()+": deploy/test installs it")
	}
	return modules
}

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/revision"
	"cordon/policy"
	"cordon/policy/rego"
)

// tellLearning has a monitor learn what its policy does not permit yet: first from what is
// refused, then in a window that ends under a live session; what was learned is read, put
// in force, and the same people work on without learning.
func tellLearning(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.issueStaff(t)
	for _, name := range []string{"lee", "fox"} {
		s.issue(t, name, "--user", "dr."+name, "--role", "physician")
	}
	for _, name := range []string{"acme", "apex"} {
		s.issue(t, name, "--vendor", name, "--role", "vendor")
	}
	s.serve(t)
	alarm, result, query, order := message("ORU^R40", "A1", "2.6"), message("ORU^R01", "R1", "2.5.1"), message("QRY^A19", "Q1", "2.3"), message("RGV^O15", "O1", "2.6")
	says := func(want, badge string, messages ...string) {
		t.Helper()
		c := s.dial(t, badge)
		defer c.Close()
		for _, m := range messages {
			if answer := send(t, c, framed(m)); !strings.Contains(answer, "\rMSA|"+want+"|") {
				t.Errorf("%s is answered %q, want MSA-1 %s", badge, answer, want)
			}
		}
	}
	learn := func(out string) (l learned) {
		t.Helper()
		text := s.must(t, "policy", "learn", "--json", "--device", "mon", "--since", "1h", "--odd-hours", "none", "--out", s.path(out), "--dir", s.gw())
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatal(err)
		}
		return l
	}
	kept := func(l learned, want ...string) {
		t.Helper()
		var got []string
		for _, g := range l.Groups {
			if g.Kept {
				got = append(got, g.Roles+" "+g.Operation)
			}
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("proposed: %q, want %q: %+v", got, want, l.Groups)
		}
	}
	question := func(l learned, operation, why string) {
		t.Helper()
		for _, g := range l.Groups {
			if !g.Kept && g.Operation == operation && strings.Contains(strings.Join(g.Why, "; "), why) {
				return
			}
		}
		t.Errorf("%s is no question because %s: %+v", operation, why, l.Groups)
	}

	// What is refused stays refused, and is learned from all the same.
	refused := func() {
		t.Helper()
		says("AR", "lee", alarm, alarm)
		says("AR", "fox", alarm)
		says("AR", "nurse", result)
		says("AR", "acme", query)
		says("AR", "apex", query)
	}
	refused()
	first := learn("first")
	kept(first, "physician hl7:ORU^R40", "vendor connect", "vendor hl7:QRY^A19")
	question(first, "hl7:ORU^R01", "it writes")
	if first.Proven.Kept != 7 || first.Apart != 1 || len(first.Besides) > 0 {
		t.Errorf("the proof is %+v", first.Proven)
	}
	refused()
	if got := s.device.received(); got != "" {
		t.Errorf("the device received %q", got)
	}
	if out := s.run(t, "policy", "learn", "--out", s.path("first"), "--dir", s.gw()); out.code != exit.Conflict || !strings.Contains(out.stderr, "learn.exists") {
		t.Errorf("into a folder that is not empty: exit code %d, %s", out.code, out.stderr)
	}

	// A window: what changes nothing but data passes, stands out, and ends with the window.
	s.must(t, "device", "learn", "mon", "--for", "1h", "--reason", "CHG-204", "--yes", "--dir", s.gw())
	if out := s.must(t, "device", "show", "mon-7", "--dir", s.gw()); !strings.Contains(out, "learning until ") || !strings.Contains(out, "CHG-204") {
		t.Errorf("device show says %s", out)
	}
	says("AA", "acme", query, query)
	says("AA", "apex", query)
	says("AA", "lee", alarm)
	says("AA", "nurse", result)
	says("AR", "nurse", order)
	live := s.dial(t, "acme")
	if answer := send(t, live, framed(query)); !strings.Contains(answer, "MSA|AA|Q1") {
		t.Fatalf("the answer is %q", answer)
	}
	out := s.must(t, "device", "learn", "mon-7", "--end", "--reason", "seen enough", "--yes", "--json", "--dir", s.gw())
	if !strings.Contains(out, `"ended":1`) {
		t.Errorf("the end of learning says %s", out)
	}
	ends(t, "the session that learning permitted", live)
	refused()

	// One that ends by itself.
	s.must(t, "device", "learn", "mon-7", "--for", "10s", "--reason", "CHG-204", "--yes", "--dir", s.gw())
	live = s.dial(t, "acme")
	if answer := send(t, live, framed(query)); !strings.Contains(answer, "MSA|AA|Q1") {
		t.Fatalf("the answer is %q", answer)
	}
	ends(t, "the session that learning permitted", live)
	refused()
	stood := 0
	for line := range strings.Lines(s.must(t, "audit", "tail", "--json", "-n", "1000", "--dir", s.gw())) {
		var e struct {
			Allow  bool
			Reason string
			Rule   string
			Input  policy.Request
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		ended := strings.HasPrefix(e.Reason, "learning: permitted until ") // its window, under a live session
		if e.Allow != (e.Rule == "learning" && !ended) && e.Input.Subject.Kind == policy.KindVendor {
			t.Errorf("an entry does not stand out: %s", line)
		}
		if e.Allow && e.Rule == "learning" {
			stood++
		}
	}
	if stood == 0 {
		t.Error("no entry says that learning permitted it")
	}

	// The proposal is read and put in force: the same people work without learning.
	second := learn("second")
	kept(second, "physician hl7:ORU^R40", "vendor connect", "vendor hl7:QRY^A19")
	question(second, "hl7:ORU^R01", "it writes")
	question(second, "hl7:RGV^O15", "it controls the device")
	s.must(t, "policy", "check", s.path("second"), "--dir", s.gw())
	var again replayed
	if err := json.Unmarshal([]byte(s.must(t, "policy", "replay", "--json", "--since", "1h", "--against", s.path("second"), "--dir", s.gw())), &again); err != nil {
		t.Fatal(err)
	}
	for _, g := range again.Groups {
		if (g.Change == "newly-denied") != (g.Roles == "nurse") {
			t.Errorf("the replay of the proposal says %+v", g)
		}
	}
	for _, file := range []string{"data.yaml", "cordon_test.rego", "learned_test.rego"} {
		text, err := os.ReadFile(filepath.Join(s.path("second"), file))
		if err != nil {
			t.Fatal(err)
		}
		s.write(t, filepath.Join("gw", "policy", file), string(text))
	}
	s.must(t, "reload", "--dir", s.gw())
	says("AA", "lee", alarm)
	says("AA", "fox", alarm)
	says("AA", "acme", query)
	says("AA", "apex", query)
	says("AR", "nurse", result)
	says("AR", "nurse", order)
	if third := learn("third"); slices.ContainsFunc(third.Groups, func(g rego.Seen) bool { return g.Kept }) {
		t.Errorf("there is more to learn: %+v", third.Groups)
	}
	s.must(t, "audit", "verify", "--dir", s.gw())
}

// BenchmarkLearn proposes from a log of CORDON_SOAK decisions (20,000 if it is not set) of 1,000
// people at 500 devices, as BenchmarkReplay has them: the log is read twice.
//
//	CORDON_SOAK=1000000 go test ./cmd/cordon -run '^$' -bench Learn -benchtime 1x -timeout 30m
func BenchmarkLearn(b *testing.B) {
	decisions := 20_000
	if soak := os.Getenv("CORDON_SOAK"); soak != "" {
		var err error
		if decisions, err = strconv.Atoi(soak); err != nil {
			b.Fatal(err)
		}
	}
	gw, c := newGateway(b)
	engine, err := revision.Load(c)
	if err != nil {
		b.Fatal(err)
	}
	if err := revision.KeptIn(c).Keep(engine); err != nil {
		b.Fatal(err)
	}
	writeDecisions(b, c.Audit.Dir, engine, decisions)
	var l learned
	run := 0
	for b.Loop() {
		run++
		l = learned{}
		out := filepath.Join(b.TempDir(), strconv.Itoa(run))
		if err := json.Unmarshal([]byte(inProcess(b, exit.Done, "policy", "learn", "--dir", gw, "--since", "24h", "--odd-hours", "none", "--out", out, "--json")), &l); err != nil {
			b.Fatal(err)
		}
	}
	if l.Recorded != int64(decisions) || l.Proven.Kept == 0 || l.Apart == 0 || len(l.Besides) > 0 {
		b.Errorf("learned from %d of %d: %+v", l.Recorded, decisions, l.Proven)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(decisions), "ns/decision")
	b.ReportMetric(float64(len(l.Groups)), "groups")
}

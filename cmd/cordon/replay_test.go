package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/revision"
	"cordon/gateway/audit"
	"cordon/policy"
	"cordon/policy/rego"
)

// BenchmarkReplay replays a log of CORDON_SOAK decisions (20,000 if it is not set) of 1,000
// people at 500 devices, written by the log's own writer, against a policy that takes
// something from the nurses: as the shipped tables do, by facts that many questions share,
// and with a rule that reads the clock, so that every question is evaluated. One run is one
// replay of the whole log:
//
//	CORDON_SOAK=1000000 go test ./cmd/cordon -run '^$' -bench Replay -benchtime 1x -timeout 30m
func BenchmarkReplay(b *testing.B) {
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
	start := time.Now()
	writeDecisions(b, c.Audit.Dir, engine, decisions)
	wrote := time.Since(start)
	edit(b, c, "data.yaml", "monitor/*: [read, query, notify]", "monitor/*: [query, notify]")

	b.Logf("wrote %d decisions in %v", decisions, wrote.Round(time.Second))
	b.Run("tables", func(b *testing.B) { replayAll(b, gw, decisions) })
	clock := filepath.Join(c.Policy.Dir, "clock.rego")
	if err := os.WriteFile(clock, []byte("package cordon\n\nallow if input.now_ns < 0\n"), 0o644); err != nil {
		b.Fatal(err)
	}
	b.Run("clock", func(b *testing.B) { replayAll(b, gw, decisions) })
}

// replayAll replays a gateway's whole log.
func replayAll(b *testing.B, gw string, decisions int) {
	var r replayed
	for b.Loop() {
		r = replayed{}
		if err := json.Unmarshal([]byte(inProcess(b, exit.Done, "policy", "replay", "--dir", gw, "--since", "24h", "--json")), &r); err != nil {
			b.Fatal(err)
		}
	}
	if r.Recorded != int64(decisions) || r.Count(rego.NewlyDenied, false) == 0 || r.Count(rego.NewlyAllowed, false) > 0 {
		b.Errorf("replayed %d of %d: %d newly denied, %d newly allowed", r.Recorded, decisions, r.Count(rego.NewlyDenied, false), r.Count(rego.NewlyAllowed, false))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(decisions), "ns/decision")
	b.ReportMetric(float64(r.Evaluated), "evaluated")
}

// writeDecisions makes a log of n decisions of engine.
func writeDecisions(tb testing.TB, dir string, engine *rego.Engine, n int) {
	tb.Helper()
	log, err := audit.Open(audit.Config{Dir: dir, Origin: "cordon.test/bench", Gateway: "bench", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		tb.Fatal(err)
	}
	var next atomic.Int64
	var writers sync.WaitGroup
	for range 128 {
		writers.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				q := question(i)
				d := engine.Decide(context.Background(), q)
				if _, err := log.Append(context.Background(), audit.Entry{Kind: audit.KindDecision, Input: q.AppendJSON(nil), Decision: d}); err != nil {
					tb.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	if err := log.Close(); err != nil {
		tb.Fatal(err)
	}
}

// question is the i-th of many: 1,000 people in 4 roles at 500 devices of 3 classes.
func question(i int) *policy.Request {
	user, device := i*7919%1000, i*104729%500
	role := []string{"nurse", "nurse", "physician", "biomed"}[user%4]
	class := []string{"monitor/bedside", "analyser/blood-gas", "imaging/ct"}[device%3]
	q := &policy.Request{
		Phase:   policy.PhaseOperation,
		Subject: policy.Subject{ID: fmt.Sprintf("person.%d", user), Kind: policy.KindUser, Roles: []string{role}, Groups: []string{fmt.Sprintf("ward-%d", user%20)}, MFA: true},
		Device: policy.Device{ID: fmt.Sprintf("dev-%d", device), Class: class, Segment: "clinical", State: policy.StateActive,
			Labels: map[string]string{"ward": strconv.Itoa(device % 20), "owner": "biomed"}},
		Service: policy.Service{Name: "results", Protocol: "hl7"},
		Session: policy.Session{ID: fmt.Sprintf("4f1a9c-%d", i/40), Direction: policy.Inbound, Client: fmt.Sprintf("10.1.%d.%d", user/250, user%250), TLS: "1.3"},
		NowNs:   time.Now().UnixNano(),
	}
	switch i % 8 {
	case 0:
		q.Phase, q.Operation.Attributes = policy.PhaseConnect, nil
		return q
	case 1:
		q.Operation.Name, q.Operation.Class = "hl7:ORU^R01", policy.ClassWrite
	case 2, 3:
		q.Operation.Name, q.Operation.Class = "hl7:ORU^R40", policy.ClassNotify
	case 4, 5, 6:
		q.Operation.Name, q.Operation.Class = "hl7:QBP^Q11", policy.ClassQuery
	case 7:
		q.Operation.Name, q.Operation.Class = "hl7:QRY^A19", policy.ClassRead
	}
	q.Operation.Attributes.Set("control_id", fmt.Sprintf("MSG%08d", i))
	q.Operation.Attributes.Set("processing_id", "P")
	q.Operation.Attributes.Set("sending_application", "LAB")
	q.Operation.Attributes.Set("size", int64(400+i%100))
	q.Operation.Attributes.Set("version", "2.5.1")
	return q
}

// inProcess runs a command that has to exit with want, and returns what it writes.
func inProcess(tb testing.TB, want int, args ...string) string {
	tb.Helper()
	var stdout, stderr strings.Builder
	if code := run(tb.Context(), args, strings.NewReader(""), &stdout, &stderr); code != want {
		tb.Fatalf("cordon %s exits with %d: %s%s", strings.Join(args, " "), code, stdout.String(), stderr.String())
	}
	return stdout.String()
}

// newGateway makes a gateway's directory and returns its configuration.
func newGateway(tb testing.TB) (dir string, c *config.Config) {
	tb.Helper()
	dir = filepath.Join(tb.TempDir(), "gw")
	inProcess(tb, exit.Done, "init", dir)
	c, err := config.Load(filepath.Join(dir, config.FileName))
	if err != nil {
		tb.Fatal(err)
	}
	return dir, c
}

// edit replaces a text in a file of the policy.
func edit(tb testing.TB, c *config.Config, name, old, new string) {
	tb.Helper()
	file := filepath.Join(c.Policy.Dir, name)
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), old) {
		tb.Fatalf("%s does not contain %q (%v)", file, old, err)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), old, new, 1)), 0o644); err != nil {
		tb.Fatal(err)
	}
}

// TestReplayKinds replays a log that holds more than decisions.
func TestReplayKinds(t *testing.T) {
	gw, c := newGateway(t)
	log, err := audit.Open(audit.Config{Dir: c.Audit.Dir, Origin: "cordon.test/kinds", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	asked := question(2).AppendJSON(nil)
	engine, err := revision.Load(c)
	if err != nil {
		t.Fatal(err)
	}
	other := policy.Decision{Allow: true, Cause: policy.CausePolicy, Revision: "sha256:x", Data: engine.Data()}
	var before time.Time
	for _, e := range []audit.Entry{
		{Kind: audit.KindStart},
		{Kind: audit.KindHandshake, Decision: policy.Decision{Reason: "no certificate", Cause: policy.CausePolicy}},
		{Kind: audit.KindGap, Note: "unwritable"},
		{Kind: "break-glass", Input: asked, Decision: other},
		{Kind: audit.KindDecision, Input: asked, Decision: other},
		{Kind: audit.KindStop},
	} {
		if e.Kind == audit.KindDecision {
			time.Sleep(2 * time.Millisecond)
			before = time.Now()
		}
		if _, err := log.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	var r replayed
	if err := json.Unmarshal([]byte(inProcess(t, exit.Done, "policy", "replay", "--dir", gw, "--json")), &r); err != nil {
		t.Fatal(err)
	}
	if r.Recorded != 3 || r.Gaps != 1 || r.Count(rego.NotReplayed, false) != 2 || r.Allowed+r.Denied+r.Count(rego.NewlyDenied, false) != 1 {
		t.Errorf("%+v", r)
	}
	for flag, want := range map[string]int64{"--since": 1, "--until": 2} {
		var part replayed
		if err := json.Unmarshal([]byte(inProcess(t, exit.Done, "policy", "replay", "--dir", gw, "--json", flag, before.Format(time.RFC3339Nano))), &part); err != nil {
			t.Fatal(err)
		}
		if part.Recorded != want {
			t.Errorf("%s the decision: %+v", flag, part)
		}
	}
}

// TestOpenPolicy names policies by folder and by digest.
func TestOpenPolicy(t *testing.T) {
	_, c := newGateway(t)
	var engines []*rego.Engine
	for _, limit := range []string{"[read, query]", "[read]"} {
		if limit == "[read]" {
			edit(t, c, "data.yaml", `"*": [read, query]`, `"*": [read]`)
		}
		e, err := revision.Load(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := revision.KeptIn(c).Keep(e); err != nil {
			t.Fatal(err)
		}
		engines = append(engines, e)
	}
	first, second := engines[0], engines[1]
	for _, x := range []struct {
		name string
		want *rego.Engine // nil: refused with code
		code string
	}{
		{"", second, ""},
		{c.Policy.Dir, second, ""},
		{first.Revision() + "+" + first.Data(), first, ""},
		{first.Revision()[len("sha256:"):20] + "+" + second.Data()[:20], second, ""},
		{"+" + first.Data(), first, ""},
		{first.Revision(), nil, "policy.ambiguous"},
		{"0000+0000", nil, "policy.missing"},
		{filepath.Join(c.Policy.Dir, "data.yaml"), nil, "policy.missing"},
	} {
		e, err := openPolicy(c, x.name)
		f, _ := errors.AsType[exit.Error](err)
		if x.want == nil && f.Code != x.code || x.want != nil && (err != nil || e.Revision() != x.want.Revision() || e.Data() != x.want.Data()) {
			t.Errorf("%q: %v", x.name, err)
		}
	}
}

// TestShare cuts spans without losing an entry or having one twice.
func TestShare(t *testing.T) {
	for _, spans := range [][]audit.Span{nil, {{From: 0, To: 1}}, {{From: 5, To: 107}}, {{From: 0, To: 10}, {From: 10, To: 13}, {From: 13, To: 90}}} {
		for n := range 9 {
			shared := share(spans, n)
			for i, s := range shared {
				if s.From >= s.To || i > 0 && shared[i-1].To != s.From {
					t.Errorf("%v in %d: %v", spans, n, shared)
				}
			}
			if k := len(spans); k > 0 && (shared[0].From != spans[0].From || shared[len(shared)-1].To != spans[k-1].To) {
				t.Errorf("%v in %d: %v", spans, n, shared)
			}
		}
	}
}

func TestMoment(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.Local)
	for text, want := range map[string]time.Time{
		"90m": now.Add(-90 * time.Minute), "0s": now, "7d": now.Add(-7 * 24 * time.Hour),
		"2026-11-21": time.Date(2026, 11, 21, 0, 0, 0, 0, time.Local), "2026-11-21 08:30": time.Date(2026, 11, 21, 8, 30, 0, 0, time.Local),
		"2026-11-21T08:30:00Z": time.Date(2026, 11, 21, 8, 30, 0, 0, time.UTC),
	} {
		if got, err := moment("since", text, now); err != nil || !got.Equal(want) {
			t.Errorf("%s is %v, %v; want %v", text, got, err, want)
		}
	}
	for _, bad := range []string{"", "d", "-5m", "99999d", "soon", "2026-13-01"} {
		if got, err := moment("since", bad, now); err == nil {
			t.Errorf("%q is %v", bad, got)
		}
	}
}

// tellReplay records decisions of a real site, edits the policy, and asks what that would have
// changed; then somebody changes the log.
func tellReplay(t *testing.T, cordon string) {
	s := newSite(t, cordon, "--criticality", "high")
	s.issueStaff(t)
	d := s.serve(t)
	engine, nurse := s.dial(t, "engine"), s.dial(t, "nurse")
	for _, control := range []string{"R1", "R2", "R3"} {
		send(t, engine, framed(message("ORU^R01", control, "2.5.1")))
	}
	refused := send(t, nurse, framed(message("ORU^R01", "N1", "2.5.1")))
	send(t, nurse, framed(message("ORU^R40", "N2", "2.5.1")))
	send(t, nurse, framed(message("ZZZ^Z01", "N3", "2.5.1")))  // refused whatever the policy says
	send(t, engine, framed(message("ORU^R01", "É4", "2.5.1"))) // a header must be ASCII
	s.replaysSame(t)                                           // while the gateway goes on
	d.stop(t)
	code := decisionCode.FindString(refused[strings.Index(refused, "ERR|"):])
	var entry struct{ Policy string }
	s.decode(t, &entry, "audit", "show", code, "--json", "--dir", s.gw())

	s.replaysSame(t)
	s.must(t, "policy", "check", "--dir", s.gw())
	s.inTables(t, "monitor/*: [read, query, write, notify]", "monitor/*: [read, query, notify]")
	s.inTables(t, "monitor/*: [read, query, notify]\n  interface", "monitor/*: [read, query, write, notify]\n  interface")
	s.replaysEdit(t, code)
	s.replaysElsewhere(t, entry.Policy, code)
	s.replaysDamage(t, entry.Policy)
}

// inTables replaces a text in the site's policy data.
func (s *site) inTables(t *testing.T, old, new string) {
	t.Helper()
	file := filepath.Join(s.gw(), "policy", "data.yaml")
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), old) {
		t.Fatalf("%s does not contain %q (%v)", file, old, err)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), old, new, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// replaysSame replays against the policy that decided: nothing changes, and what was not its
// to decide is not called the same.
func (s *site) replaysSame(t *testing.T, more ...string) {
	t.Helper()
	var r replayed
	s.decode(t, &r, append([]string{"policy", "replay", "--since", "1h", "--json", "--dir", s.gw(),
		"--fail-on", "newly-denied", "--fail-on", "newly-allowed"}, more...)...)
	if r.Schema != "cordon.replay/v1" || r.Count(rego.NotReplayed, false) != 2 || len(r.Groups) != 2 || r.Recorded != r.Allowed+r.Denied+2 || r.Denied != 1 {
		t.Errorf("against the policy that decided: %+v", r)
	}
	why := ""
	for _, g := range r.Groups {
		why += g.Reason + "; "
	}
	if !strings.Contains(why, "before any policy") || !strings.Contains(why, "inspector") {
		t.Errorf("not replayed because %s", why)
	}
}

// replaysEdit replays against the edited folder, where engines lost write to nurses.
func (s *site) replaysEdit(t *testing.T, code string) {
	t.Helper()
	var r replayed
	s.decode(t, &r, "policy", "replay", "--since", "1h", "--json", "--dir", s.gw())
	if len(r.Groups) != 4 || r.Count(rego.NewlyDenied, true) != 3 || r.Count(rego.NewlyAllowed, false) != 1 || r.Count(rego.NotReplayed, false) != 2 {
		t.Fatalf("against the edited policy: %+v", r)
	}
	denied, allowed := r.Groups[0], r.Groups[1]
	if denied.Change != rego.NewlyDenied || denied.Operation != "hl7:ORU^R01" || denied.Roles != "interface-engine" || denied.Class != "monitor/bedside" ||
		denied.People != 1 || denied.After != "deny" || len(denied.Examples) != 1 || denied.Last.Before(denied.First) {
		t.Errorf("newly denied: %+v", denied)
	}
	if allowed.Change != rego.NewlyAllowed || allowed.Roles != "nurse" || len(allowed.Examples) != 1 || allowed.Examples[0] != code {
		t.Errorf("newly allowed: %+v", allowed)
	}
	s.must(t, "why", denied.Examples[0], "--dir", s.gw())

	text := s.must(t, "policy", "replay", "--dir", s.gw())
	first, then := strings.Index(text, "newly-denied (critical)\tallow → deny\t3\t1\tmonitor/bedside\thl7:ORU^R01\tinterface-engine\t"), strings.Index(text, "newly-allowed (critical)\t")
	if first < 0 || then < first || !strings.Contains(text, "2  could not be replayed\n") || !strings.Contains(text, denied.Examples[0]) {
		t.Errorf("a person is told\n%s", text)
	}
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"--fail-on newly-denied:critical", exit.Findings, "3 decisions would be newly denied on critical devices"},
		{"--fail-on newly-denied", exit.Findings, "replay.newly_denied"},
		{"--fail-on newly-denied --since 0s", exit.Usage, "is not before"},
		{"--fail-on newly-denied --since 2h --until 1h", exit.Done, ""},
		{"--fail-on anything", exit.Usage, "newly-denied:critical"},
		{"--since yesterday", exit.Usage, "usage.time"},
		{"--against nowhere", exit.NotFound, "policy.missing"},
	} {
		out := s.run(t, append([]string{"policy", "replay", "--dir", s.gw()}, strings.Fields(c.args)...)...)
		if out.code != c.code || !strings.Contains(out.stderr, c.says) || (c.code == exit.Findings) != strings.Contains(out.stdout, "newly-denied") {
			t.Errorf("replay %s exits with %d, want %d, and says %s%s", c.args, out.code, c.code, out.stdout, out.stderr)
		}
	}
}

// replaysElsewhere replays, evaluates and compares by the digest of the policy that decided.
func (s *site) replaysElsewhere(t *testing.T, revision, code string) {
	t.Helper()
	s.replaysSame(t, "--against", revision)
	s.replaysSame(t, "--against", revision[:14])
	diff := s.must(t, "policy", "diff", revision, "--dir", s.gw())
	for _, want := range []string{"role interface-engine may no longer write on monitor/*", "role nurse may write on monitor/*"} {
		if !strings.Contains(diff, want) {
			t.Errorf("diff does not say %q:\n%s", want, diff)
		}
	}
	var now, then struct {
		Allow       bool
		Recorded    *bool `json:"recorded_allow"`
		Explanation []rego.Ruling
		Input       json.RawMessage
	}
	s.decode(t, &now, "policy", "eval", code, "--json", "--dir", s.gw())
	s.decode(t, &then, "policy", "eval", code, "--against", revision, "--json", "--dir", s.gw())
	if !now.Allow || now.Recorded == nil || *now.Recorded || then.Allow || len(now.Explanation) == 0 {
		t.Errorf("evaluated now %+v, then %+v", now, then)
	}
	s.write(t, "question.json", string(now.Input))
	if text := s.must(t, "policy", "eval", "question.json", "--dir", s.gw()); !strings.Contains(text, "ALLOW hl7:ORU^R01") || !strings.Contains(text, "cordon.rego:") {
		t.Errorf("eval of a file says\n%s", text)
	}
	for _, c := range []struct{ question, says string }{
		{`{"phase":"operation","sbject":{}}`, `unknown field "sbject"`},
		{"{\"phase\":\n x}", "question.json:2:2"},
		{`{}`, `phase is ""`},
	} {
		s.write(t, "question.json", c.question)
		if out := s.run(t, "policy", "eval", "question.json", "--dir", s.gw()); out.code != exit.Usage || !strings.Contains(out.stderr, c.says) {
			t.Errorf("eval of %s exits with %d and says %s", c.question, out.code, out.stderr)
		}
	}

	// The edit breaks tests of the tables, which say so with their place.
	for _, verb := range []string{"test", "check"} {
		out := s.run(t, "policy", verb, "--dir", s.gw())
		if out.code != exit.Checks || !strings.Contains(out.stdout+out.stderr, "cordon_test.rego:") {
			t.Errorf("policy %s exits with %d and says %s%s", verb, out.code, out.stdout, out.stderr)
		}
	}
	s.write(t, "gw/policy/extra.rego", "package cordon\nextra   if input.subject.mfa\n")
	if out := s.run(t, "policy", "fmt", "--dir", s.gw()); out.code != exit.Findings || !strings.Contains(out.stdout, "extra.rego\n") {
		t.Errorf("policy fmt exits with %d and says %s", out.code, out.stdout)
	}
	s.must(t, "policy", "fmt", "-w", "--dir", s.gw())
	if text, err := os.ReadFile(s.path("gw/policy/extra.rego")); err != nil || string(text) != "package cordon\n\nextra if input.subject.mfa\n" {
		t.Errorf("formatted: %q, %v", text, err)
	}
	s.must(t, "policy", "fmt", "--dir", s.gw())
	if err := os.Remove(s.path("gw/policy/extra.rego")); err != nil {
		t.Fatal(err)
	}
}

// replaysDamage changes the log. None of it is passed over in silence.
func (s *site) replaysDamage(t *testing.T, revision string) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(s.gw(), "state/audit/*.log"))
	if err != nil || len(logs) != 1 {
		t.Fatalf("the log is in %q (%v)", logs, err)
	}
	whole, err := os.ReadFile(logs[0])
	if err != nil {
		t.Fatal(err)
	}
	used := len(strings.TrimRight(string(whole), "\x00"))
	put := func(text []byte) {
		if err := os.WriteFile(logs[0], text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(append(slices.Clone(whole[:used]), "1234abcd {\"index\":\x00"...))
	if out := s.run(t, "policy", "replay", "--dir", s.gw()); out.code != exit.Done || !strings.Contains(out.stderr, "18 bytes that are no entry") {
		t.Errorf("a torn log: exit %d, %s", out.code, out.stderr)
	}
	for _, at := range []int{used / 3, used / 2, used - 10} {
		changed := slices.Clone(whole)
		changed[at] ^= 1
		put(changed)
		if out := s.run(t, "policy", "replay", "--json", "--dir", s.gw()); out.code != exit.Checks || !strings.Contains(out.stderr, "audit.damaged") || out.stdout != "" {
			t.Errorf("byte %d of %d changed: exit %d, %s%s", at, used, out.code, out.stdout, out.stderr)
		}
	}
	// Somebody who knows the format makes a refusal an approval.
	lines := strings.SplitAfter(string(whole[:used]), "\n")
	forged := false
	for i, line := range lines {
		if _, content, ok := strings.Cut(line, " "); ok && !forged && strings.Contains(line, `"allow":false,"reason":"write on`) {
			content = strings.TrimSuffix(strings.Replace(content, `"allow":false`, `"allow":true`, 1), "\n")
			lines[i] = fmt.Sprintf("%08x %s\n", crc32.Checksum([]byte(content), crc32.MakeTable(crc32.Castagnoli)), content)
			forged = true
		}
	}
	put([]byte(strings.Join(lines, "")))
	if out := s.run(t, "policy", "replay", "--against", revision, "--dir", s.gw()); !forged || out.code != exit.Findings || !strings.Contains(out.stderr, "replay.contradicted") || !strings.Contains(out.stdout, "contradicted (critical)\tallow → deny\t1") {
		t.Errorf("a forged entry (%v): exit %d, %s%s", forged, out.code, out.stdout, out.stderr)
	}
	put(whole)
	s.replaysSame(t, "--against", revision)
}

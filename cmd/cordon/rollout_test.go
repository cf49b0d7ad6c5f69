package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cordon/cmd/cordon/control"
	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/revision"
	"cordon/policy/rollout"
)

// hospital is a site where policies take two people, with three devices and sessions on them.
type hospital struct {
	*site
	listen map[string]string // by device
	daemon *running
	count  int // of messages
}

// tellRollout changes a nurse's right as a hospital would: one person writes it, another one
// approves it, and it comes into force by stages, and back.
func tellRollout(t *testing.T, cordon string) {
	s := &hospital{site: emptySite(t, cordon), listen: map[string]string{}}
	s.device = newRecorder(t)
	_, port, _ := net.SplitHostPort(s.device.address())
	for id, class := range map[string]string{"mon-7": "monitor/bedside", "mon-8": "monitor/bedside", "pump-1": "pump/infusion"} {
		s.site.listen = freeAddress(t)
		s.listen[id] = s.site.listen
		s.add(t, id, class, "hl7", port)
	}
	s.configure(t, "policy:\n", "policy:\n  approval: { authors: [security], approvers: [security-lead] }\n")
	s.issueStaff(t)
	s.issue(t, "kim", "--user", "kim", "--role", "security", "--role", "security-lead")
	s.issue(t, "ada", "--user", "ada", "--role", "security-lead")
	s.issue(t, "leaving", "--user", "leaving", "--role", "security-lead")
	s.daemon = s.serve(t)

	s.submitted(t)
	s.refusedSteps(t)
	s.narrowed(t)
	s.byStages(t)
	s.rolledBack(t)
	s.killedBetween(t)
	s.toldByTheLog(t)
	if code := s.daemon.stop(t); code != exit.Done {
		t.Errorf("the gateway exited with %d", code)
	}
	s.withoutGateway(t)
}

// to opens a session to a device.
func (s *hospital) to(t *testing.T, device, badge string) *tls.Conn {
	t.Helper()
	s.site.listen = s.listen[device]
	return s.dial(t, badge)
}

// writes fails unless a result that is sent over c is answered with this acknowledgement.
func (s *hospital) writes(t *testing.T, c *tls.Conn, want string) {
	t.Helper()
	s.count++
	control := fmt.Sprint("W", s.count)
	if answer := send(t, c, framed(message("ORU^R01", control, "2.5.1"))); !strings.Contains(answer, "MSA|"+want+"|"+control) {
		t.Errorf("the answer is %q, want %s", answer, want)
	}
}

// policy runs a command about policy that must work, and reads what is in force.
func (s *hospital) policy(t *testing.T, args ...string) (done revision.StepDone) {
	t.Helper()
	s.decode(t, &done, append(append([]string{"policy"}, args...), "--json", "--dir", s.gw())...)
	return done
}

// refuses runs a command about policy that must not work.
func (s *hospital) refuses(t *testing.T, exit int, code string, args ...string) {
	t.Helper()
	out := s.run(t, append(append([]string{"policy"}, args...), "--dir", s.gw())...)
	if out.code != exit || !strings.Contains(out.stderr, "code: "+code+"\n") {
		t.Errorf("policy %s exits with %d and says %s; want %d and %s", strings.Join(args, " "), out.code, out.stderr, exit, code)
	}
}

// submitted edits the folder, which changes nothing by itself, and hands it in.
func (s *hospital) submitted(t *testing.T) {
	nurse := s.to(t, "mon-7", "nurse")
	s.writes(t, nurse, "AR")
	s.inTables(t, "monitor/*: [read, query, notify]", "monitor/*: [read, query, notify, write]\n    pump/*: [read]")
	out := s.run(t, "policy", "submit", "--cert", "kim.pem", "-m", "CR-1120", "--dir", s.gw())
	if out.code != exit.Checks || !strings.Contains(out.stderr, "policy tests fail") {
		t.Errorf("with failing tests, submit exits with %d and says %s", out.code, out.stderr)
	}
	s.edit(t, "policy/cordon_test.rego", `"nurse monitor/bedside": {"session", "read", "query", "notify"}`,
		`"nurse pump/infusion": {"session", "read"},
	"nurse monitor/bedside": {"session", "read", "query", "notify", "write"}`)
	if out := s.run(t, "reload", "--dir", s.gw()); out.code != exit.Done || !strings.Contains(out.stderr, "differs from revision 1, which is in force, and is not taken") {
		t.Errorf("reload exits with %d and says %s%s", out.code, out.stdout, out.stderr)
	}
	if out := s.run(t, "check", "--dir", s.gw()); out.code != exit.Done || !strings.Contains(out.stderr, "differs from revision 1") {
		t.Errorf("check exits with %d and says %s%s", out.code, out.stdout, out.stderr)
	}
	s.writes(t, nurse, "AR")

	out = s.run(t, "policy", "submit", "--cert", "kim.pem", "-m", "nurses enter results, CR-1120", "--dir", s.gw())
	if out.code != exit.Done || !strings.Contains(out.stderr, "no tests are known of the policy that it is compared with") {
		t.Fatalf("submit exits with %d and says %s", out.code, out.stderr)
	}
	text := out.stdout
	for _, want := range []string{"role nurse may write on monitor/*", "newly-allowed", "submission 2:", "revision 1 stays in force"} {
		if !strings.Contains(text, want) {
			t.Errorf("submit does not say %q: %s", want, text)
		}
	}
	s.writes(t, nurse, "AR")
	var list struct{ Submissions []submissionJSON }
	s.decode(t, &list, "policy", "submissions", "--json", "--dir", s.gw())
	if len(list.Submissions) != 1 || list.Submissions[0].Author != "user/kim" || list.Submissions[0].Status != "open" || list.Submissions[0].Replay.NewlyAllowed != 2 {
		t.Errorf("submissions: %+v", list)
	}
}

// refusedSteps tries what must not bring a policy into force.
func (s *hospital) refusedSteps(t *testing.T) {
	s.refuses(t, exit.Denied, "approval.own", "approve", "2", "--cert", "kim.pem", "--yes")
	s.refuses(t, exit.Denied, "approval.role", "approve", "2", "--cert", "nurse.pem", "--yes")
	s.refuses(t, exit.Denied, "approval.kind", "approve", "2", "--cert", "engine.pem", "--yes")
	s.refuses(t, exit.Usage, "approval.unconfirmed", "approve", "2", "--cert", "ada.pem")
	s.refuses(t, exit.Usage, "cert.unusable", "approve", "2", "--cert", "ada.pem", "--key", "kim.key", "--yes")
	s.refuses(t, exit.NotFound, "submission.unknown", "approve", "9", "--cert", "ada.pem", "--yes")
	s.refuses(t, exit.Denied, "approval.role", "submit", "--cert", "nurse.pem", "-m", "why not")
	s.refuses(t, exit.Conflict, "rollout.never", "rollback", "--to", "2")

	file := filepath.Join(s.gw(), "state", revision.SubmissionDir, "2.tar")
	archive, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	wider := []byte(strings.Replace(string(archive), "default allow := false", "default allow := true ", 1))
	if err := os.WriteFile(file, wider, 0o600); err != nil {
		t.Fatal(err)
	}
	s.refuses(t, exit.Checks, "submission.changed", "approve", "2", "--cert", "ada.pem", "--yes")
	s.refuses(t, exit.Checks, "submission.changed", "rollout", "2", "--stage", "all")
	if err := os.WriteFile(file, archive, 0o600); err != nil {
		t.Fatal(err)
	}

	// An approval by a certificate that is taken back afterwards, or was before.
	s.policy(t, "approve", "2", "--cert", "leaving.pem", "--yes")
	var certificates struct {
		Certificates []struct{ Serial, ID string }
	}
	s.decode(t, &certificates, "cert", "list", "--json", "--dir", s.gw())
	for _, c := range certificates.Certificates {
		if c.ID == "leaving" {
			s.must(t, "cert", "revoke", "--yes", "--dir", s.gw(), c.Serial)
		}
	}
	if !eventually(func() bool { // the gateway looks at revocations four times a second
		out := s.run(t, "policy", "approve", "2", "--cert", "leaving.pem", "--yes", "--dir", s.gw())
		return out.code == exit.Denied && strings.Contains(out.stderr, "code: statement.refused\n")
	}) {
		t.Error("a revoked certificate approves")
	}
	s.refuses(t, exit.Denied, "approval.invalid", "rollout", "2", "--stage", "shadow")
	if done := s.policy(t, "rollout", "status"); done.Current.Number != 1 {
		t.Errorf("in force is revision %d", done.Current.Number)
	}
	// Whoever is not the gateway's user has no control socket; whoever is may send anything.
	c, err := net.Dial("unix", filepath.Join(s.gw(), "state", control.Name))
	if err != nil { // a path may be too long
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	io.WriteString(c, strings.Repeat("x", 1<<20))
	if got, _ := io.ReadAll(c); len(got) > 0 {
		t.Errorf("nonsense is answered with %q", got)
	}
}

// narrowed rolls out what nobody has approved: in force for all, it allows nothing new and
// says so, but takes away what it takes away.
func (s *hospital) narrowed(t *testing.T) {
	s.must(t, "policy", "reject", "2", "--cert", "kim.pem", "-m", "once more, for somebody else", "--dir", s.gw())
	s.refuses(t, exit.Conflict, "submission.rejected", "rollout", "2", "--stage", "all")
	s.must(t, "policy", "submit", "--cert", "kim.pem", "-m", "nurses enter results, CR-1120", "--dir", s.gw()) // 3
	nurse := s.to(t, "mon-7", "nurse")
	out := s.run(t, "policy", "rollout", "3", "--stage", "all", "--yes", "--dir", s.gw())
	if out.code != exit.Done || !strings.Contains(out.stdout, "only narrows") || !strings.Contains(out.stderr, "what it would newly allow stays refused") {
		t.Errorf("an unapproved rollout exits with %d and says %s%s", out.code, out.stdout, out.stderr)
	}
	s.writes(t, nurse, "AR")
	if done := s.policy(t, "rollback"); done.Candidate != nil || done.Ended != 0 {
		t.Errorf("withdrawn, it is %+v", done)
	}

	// On a night shift: the interface engine is to write to mon-7 no more.
	next := s.path("next")
	if err := os.CopyFS(next, os.DirFS(filepath.Join(s.gw(), "policy"))); err != nil {
		t.Fatal(err)
	}
	s.edit(t, "../next/data.yaml", "  interface-engine:\n    monitor/*: [read, query, write, notify]\n", "  interface-engine:\n")
	s.edit(t, "../next/cordon_test.rego", `	"interface-engine monitor/bedside": {"session", "read", "query", "write", "notify"},`+"\n", "")
	s.dropTests(t, filepath.Join(next, "cordon_test.rego"))
	s.must(t, "policy", "submit", next, "--cert", "kim.pem", "-m", "the engine floods mon-7", "--dir", s.gw()) // 4
	engine, spared := s.to(t, "mon-7", "engine"), s.to(t, "mon-8", "engine")
	s.writes(t, engine, "AA")
	s.writes(t, spared, "AA")
	// What it will end is shown, and not done before somebody says so.
	would := s.policy(t, "rollout", "4", "--stage", "canary", "--devices", "mon-7", "--dry-run").Would
	if would == nil || would.Ends != 1 || would.Live < 2 || len(would.Classes) != 1 || would.Classes[0].Class != "monitor/bedside" || !slices.Equal(would.Classes[0].Devices, []string{"mon-7"}) ||
		len(would.Such) != 1 || would.Such[0].Subject != "service/oie" || would.Such[0].Reason == "" {
		t.Errorf("the canary would %+v", would)
	}
	out = s.run(t, "policy", "rollout", "4", "--stage", "canary", "--devices", "mon-7", "--dir", s.gw())
	if out.code != exit.Usage || !strings.Contains(out.stderr, "1 on monitor/bedside: mon-7") || !strings.Contains(out.stderr, "service/oie with mon-7") || !strings.Contains(out.stderr, "nothing was done") {
		t.Errorf("without a word it exits with %d and says %s", out.code, out.stderr)
	}
	if is := s.policy(t, "rollout", "status"); is.Candidate != nil {
		t.Errorf("without a word it is %+v", is)
	}
	s.writes(t, engine, "AA")
	if done := s.policy(t, "rollout", "4", "--stage", "canary", "--devices", "mon-7", "--yes"); done.Ended != 1 || done.Candidate == nil || !done.Running {
		t.Errorf("the canary is %+v", done)
	}
	if got, err := io.ReadAll(engine); err != nil || len(got) > 0 {
		t.Errorf("the session at mon-7 got %q, %v", got, err)
	}
	s.writes(t, s.to(t, "mon-7", "engine"), "AR")
	s.writes(t, s.to(t, "mon-7", "nurse"), "AR") // revision 4 would allow it
	s.writes(t, spared, "AA")
	s.policy(t, "rollback")
	s.writes(t, s.to(t, "mon-7", "engine"), "AA")
	s.writes(t, spared, "AA")
}

// dropTests leaves only the table's tests: the others have an engine's right in them.
func (s *hospital) dropTests(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text = []byte(strings.ReplaceAll(string(text), "\ntest_", "\ntodo_test_"))
	text = []byte(strings.Replace(string(text), "\ntodo_test_operations", "\ntest_operations", 1))
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// byStages takes the approved policy from shadow to all.
func (s *hospital) byStages(t *testing.T) {
	s.must(t, "policy", "approve", "3", "--cert", "ada.pem", "-m", "as agreed with the ward", "--yes", "--dir", s.gw())
	seven, eight := s.to(t, "mon-7", "nurse"), s.to(t, "mon-8", "nurse")

	if done := s.policy(t, "rollout", "3", "--stage", "shadow"); done.Ended != 0 {
		t.Errorf("in shadow it is %+v", done)
	}
	for range 3 {
		s.writes(t, seven, "AR")
	}
	want := rollout.Difference{Class: "monitor/bedside", Operation: "hl7:ORU^R01", Roles: "nurse", Before: "deny", After: "allow"}
	if !eventually(func() bool {
		r := s.policy(t, "rollout", "status").Comparison
		return r != nil && slices.ContainsFunc(r.Groups, func(g rollout.Group) bool { return g.Difference == want && g.Count == 3 })
	}) {
		t.Errorf("the comparison is %+v", s.policy(t, "rollout", "status").Comparison)
	}
	if text := s.must(t, "policy", "rollout", "status", "--dir", s.gw()); !strings.Contains(text, "deny → allow\t3\tmonitor/bedside\thl7:ORU^R01\tnurse\tmon-7\t") {
		t.Errorf("status says %s", text)
	}
	shadows := slices.DeleteFunc(s.entriesOf(t, daemon.KindShadow), func(e entryJSON) bool { return !strings.Contains(e.Note, "role nurse") })
	if len(shadows) != 1 || !strings.Contains(shadows[0].Note, "not in force: the candidate answers allow, what counted was deny") {
		t.Fatalf("the log has of the shadow %+v", shadows)
	}
	s.explained(t, shadows[0].Code, "ALLOW hl7:ORU^R01", "not in force", "held")
	s.must(t, "policy", "replay", "--since", "1h", "--fail-on", "newly-denied", "--dir", s.gw()) // which the entry is no part of

	if done := s.policy(t, "rollout", "3", "--stage", "canary", "--devices", "mon-7", "--yes"); done.Ended != 0 || !slices.Equal(done.Candidate.Devices, []string{"mon-7"}) {
		t.Errorf("the canary is %+v", done)
	}
	s.writes(t, seven, "AA")
	s.writes(t, eight, "AR")
	// What is granted for a time comes on top of both, and the comparison goes on.
	s.must(t, "access", "grant", "user/nurse.ito", "--device", "mon-8", "--class", "write", "--for", "1h", "--reason", "CR-1120", "--yes", "--dir", s.gw())
	s.writes(t, eight, "AA")
	if r := s.policy(t, "rollout", "status").Comparison; r == nil || !slices.ContainsFunc(r.Groups, func(g rollout.Group) bool { return g.Difference == want && g.Count >= 3 }) {
		t.Errorf("after a grant the comparison is %+v", r)
	}
	var granted []factJSON
	s.decode(t, &granted, "access", "list", "--json", "--dir", s.gw())
	if len(granted) != 1 {
		t.Fatalf("granted is %+v", granted)
	}
	s.must(t, "access", "end", granted[0].ID, "--reason", "enough", "--yes", "--dir", s.gw())
	s.writes(t, eight, "AR")
	// A restart goes on at the same stage, and so does the end of the machine.
	s.daemon.stop(t)
	s.daemon = s.serve(t)
	s.writes(t, s.to(t, "mon-7", "nurse"), "AA")
	s.writes(t, s.to(t, "mon-8", "nurse"), "AR")
	s.daemon.kill()
	s.daemon = s.serve(t)
	seven, eight = s.to(t, "mon-7", "nurse"), s.to(t, "mon-8", "nurse")
	s.writes(t, seven, "AA")
	s.writes(t, eight, "AR")

	if done := s.policy(t, "rollout", "3", "--stage", "all", "--yes"); done.Current.Number != 3 || done.Current.Approver != "user/ada" || done.Candidate != nil {
		t.Errorf("at its end it is %+v", done)
	}
	s.writes(t, seven, "AA")
	s.writes(t, eight, "AA")
	if out := s.must(t, "reload", "--dir", s.gw()); !strings.HasPrefix(out, "nothing has changed") {
		t.Errorf("reload says %s", out)
	}
	// 4 leaves out tests that 3 came with, and whoever is to approve it is told.
	if out := s.must(t, "policy", "submissions", "show", "4", "--dir", s.gw()); !strings.Contains(out, "\ntest\tremoved\tcordon_test.rego:") || !strings.Contains(out, "\tdata.cordon_test.todo_test_") {
		t.Errorf("of submission 4 it is not shown that tests are gone: %s", out)
	}
}

// rolledBack takes it back in one step, under sessions.
func (s *hospital) rolledBack(t *testing.T) {
	monitor, pump := s.to(t, "mon-7", "nurse"), s.to(t, "pump-1", "nurse")
	s.writes(t, monitor, "AA")
	s.writes(t, pump, "AR") // read, no more
	began := time.Now()
	done := s.policy(t, "rollback")
	if done.Current.Number != 1 || done.Ended != 1 {
		t.Errorf("rolled back, it is %+v", done)
	}
	if got, err := io.ReadAll(pump); err != nil || len(got) > 0 {
		t.Errorf("the session that is not permitted any more got %q, %v", got, err)
	}
	t.Logf("the session ended %v after the rollback began", time.Since(began))
	s.writes(t, monitor, "AR")
	s.policy(t, "rollback", "--to", "3") // it was in force before
	s.writes(t, monitor, "AA")
}

// killedBetween ends the gateway in the middle of steps. It starts again before or behind the
// step, never in between, and its log is whole.
func (s *hospital) killedBetween(t *testing.T) {
	before, after := 0, 0
	for i := range 8 {
		step := []string{"rollback"}
		was := s.policy(t, "rollout", "status")
		if was.Current.Number == 1 {
			step = []string{"rollback", "--to", "3"}
		}
		cmd := exec.Command(s.cordon, append(append([]string{"policy"}, step...), "--dir", s.gw())...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rand.IntN(60)+i*5) * time.Millisecond)
		s.daemon.kill()
		cmd.Wait() // it may have been answered, or have done the step itself
		s.daemon = s.serve(t)
		is := s.policy(t, "rollout", "status")
		want := "AA"
		switch {
		case is.Current == was.Current:
			before++
		case is.Current.Number == 4-was.Current.Number:
			after++
		default:
			t.Fatalf("from %+v it came to %+v", was.State, is.State)
		}
		if is.Current.Number == 1 {
			want = "AR"
		}
		s.writes(t, s.to(t, "mon-7", "nurse"), want)
	}
	t.Logf("%d steps were not made, %d were", before, after)
	s.must(t, "audit", "verify", "--dir", s.gw())
	if s.policy(t, "rollout", "status").Current.Number == 1 {
		s.policy(t, "rollback", "--to", "3")
	}
}

// toldByTheLog asks who did what, and which revision decided.
func (s *hospital) toldByTheLog(t *testing.T) {
	var h struct{ Steps []revision.HistoryStep }
	s.decode(t, &h, "policy", "history", "--json", "--dir", s.gw())
	var told []string
	for _, x := range h.Steps {
		told = append(told, fmt.Sprintf("%s %d %s %v: %s", x.Step, x.Number, x.By, x.Done, x.Text))
	}
	all := strings.Join(told, "\n")
	for _, want := range []string{
		"submit 2 user/kim true: nurses enter results, CR-1120",
		"approve 2  false: submission 2 is user/kim's own: another person approves it",
		"approve 2 user/leaving true: no reason given; submitted by user/kim",
		"reject 2 user/kim true: once more, for somebody else; submitted by user/kim",
		"true: canary on mon-7; submitted by user/kim, approved by nobody, so it only narrows",
		"approve 3 user/ada true: as agreed with the ward; submitted by user/kim",
		"true: shadow; submitted by user/kim, approved by user/ada",
		"true: all; submitted by user/kim, approved by user/ada",
		"true: in force again, instead of revision 3",
		"start 0  true: revision 1 decides; revision 3 is at stage canary on mon-7",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("the history does not tell %q:\n%s", want, all)
		}
	}
	var entry entryJSON
	status := s.policy(t, "rollout", "status")
	refused := s.to(t, "pump-1", "nurse")
	s.writes(t, refused, "AR")
	s.decode(t, &entry, "audit", "show", s.lastRefusal(t), "--json", "--dir", s.gw())
	if entry.Policy != status.Current.Policy || entry.Data != status.Current.Data {
		t.Errorf("revision %+v is in force, and the entry names %s, %s", status.Current, entry.Policy, entry.Data)
	}
}

// withoutGateway makes steps while nothing runs, and damages what says which policy is in
// force.
func (s *hospital) withoutGateway(t *testing.T) {
	log := s.holdLog(t)
	time.AfterFunc(300*time.Millisecond, func() { log.Close() }) // it waits for that
	if done := s.policy(t, "rollback"); done.Running || done.Current.Number != 1 {
		t.Errorf("without a gateway it is %+v", done)
	}
	s.daemon = s.serve(t)
	s.writes(t, s.to(t, "mon-7", "nurse"), "AR")
	s.daemon.stop(t)
	file := filepath.Join(s.gw(), "state", revision.RolloutFile)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{string(text[:len(text)/2]), strings.Replace(string(text), `"current":{"number":1`, `"current":{"number":3`, 1)} {
		if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if out := s.run(t, "run", "-c", filepath.Join(s.gw(), "cordon.yaml")); out.code != exit.Checks || !strings.Contains(out.stderr, "rollout.damaged") {
			t.Errorf("with a damaged state the gateway exits with %d and says %s", out.code, out.stderr)
		}
	}
}

// entriesOf returns the log's entries of a kind.
func (s *hospital) entriesOf(t *testing.T, kind any) (out []entryJSON) {
	t.Helper()
	for line := range strings.Lines(s.must(t, "audit", "tail", "--json", "-n", "100000", "--dir", s.gw())) {
		var e entryJSON
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if e.Kind == kind {
			out = append(out, e)
		}
	}
	return out
}

package revision

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"cordon/certs"
	"cordon/certs/ca"
	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/home"
	"cordon/cmd/cordon/signed"
	"cordon/gateway/audit"
	"cordon/policy/rego"
	"cordon/policy/rollout"
)

// office is a gateway's files, its authority and its log, where policies take two people;
// no gateway runs.
type office struct {
	c      *config.Config
	ca     *ca.Authority
	source *ca.Source
	book   *audit.Log
	people map[string]tls.Certificate
	serial map[string]string
}

func newOffice(t *testing.T) *office {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "gw")
	_, file, err := home.Init(dir, "cordon", "cordon.internal", "state")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("policy:\n"), []byte("policy:\n  approval: { authors: [security, lead], approvers: [lead] }\n"), 1)
	text = bytes.Replace(text, []byte("devices: {}"), []byte("devices:\n  mon-7: { address: 127.0.0.1, class: monitor/bedside, services: { hl7: { proto: hl7, port: 1, listen: \"127.0.0.1:2\" } } }"), 1)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	o := &office{people: map[string]tls.Certificate{}, serial: map[string]string{}}
	if o.c, err = config.Load(file); err != nil {
		t.Fatal(err)
	}
	if o.ca, err = home.OpenAuthority(o.c); err == nil {
		o.source, err = o.ca.Source(t.Context(), ca.SourceConfig{Names: []string{"localhost"}, Log: slog.New(slog.DiscardHandler)})
	}
	if err != nil {
		t.Fatal(err)
	}
	if o.book, err = home.OpenLog(o.c, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.book.Close() })
	for name, roles := range map[string][]string{"kim": {"security"}, "ada": {"lead"}, "bob": {"lead", "security"}, "ito": {"nurse"}} {
		o.issue(t, name, ca.Request{Kind: "user", ID: name, Roles: roles})
	}
	o.issue(t, "bob again", ca.Request{Kind: "user", ID: "bob", Roles: []string{"lead"}})
	o.issue(t, "Bob", ca.Request{Kind: "user", ID: "Bob", Roles: []string{"lead"}})
	o.issue(t, "robot", ca.Request{Kind: "service", ID: "robot", Roles: []string{"lead", "security"}})
	return o
}

func (o *office) issue(t *testing.T, name string, r ca.Request) {
	t.Helper()
	issued, err := o.ca.Issue(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if o.people[name], err = tls.X509KeyPair(issued.Chain, issued.Key); err != nil {
		t.Fatal(err)
	}
	o.serial[name] = issued.Identity.Serial
}

// open is the workflow as a process finds it that has just started.
func (o *office) open(t *testing.T) *Workflow {
	t.Helper()
	f, err := Open(o.c)
	if err == nil {
		err = f.Keep(o.c, "test", o.record)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &Workflow{Config: o.c, Verifier: certs.NewVerifier(o.source, o.c.Identity.TrustDomain), Source: f, By: "local/test", Record: o.record}
}

func (o *office) record(e audit.Entry) error {
	_, err := o.book.Append(context.Background(), e) // no test outlives its time
	return err
}

// edition is a policy with a test, another one for every name.
func (o *office) edition(t *testing.T, name string) *rego.Engine {
	t.Helper()
	dir := t.TempDir()
	for file, text := range map[string]string{
		"a.rego":      "package cordon\n\ndefault allow := false\n\nallow if data.name == input.subject.id\n",
		"a_test.rego": "package cordon_test\n\nimport data.cordon\n\ntest_name if cordon.allow with input as {\"subject\": {\"id\": \"" + name + "\"}}\n",
		"data.json":   `{"name": "` + name + `"}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e, err := rego.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// submission is a step as "policy submit" makes it, with one change to what is signed.
func (o *office) submission(t *testing.T, w *Workflow, who, name string, change func(*Proposal)) *Step {
	t.Helper()
	e := o.edition(t, name)
	archive := e.ArchiveWithTests()
	p := Proposal{Gateway: o.c.ID(), Digests: DigestsOf(e), Archive: signed.Digest(archive), InForce: DigestsOf(w.Source.Current), Why: "because", Tests: 1}
	if change != nil {
		change(&p)
	}
	words, err := signed.Sign(o.people[who], PurposeSubmit, p)
	if err != nil {
		t.Fatal(err)
	}
	return &Step{Do: "submit", Signed: &words, Archive: archive}
}

// opinion is a step as "policy approve" makes it, or "policy reject".
func (o *office) opinion(t *testing.T, w *Workflow, who, do string, number int, change func(*Opinion)) *Step {
	t.Helper()
	sub, err := ReadSubmission(o.c, number)
	if err != nil {
		t.Fatal(err)
	}
	said := Opinion{Gateway: o.c.ID(), Number: number, Proposal: signed.Digest(sub.Submitted.Words), InForce: DigestsOf(w.Source.Current), Why: "well"}
	if change != nil {
		change(&said)
	}
	words, err := signed.Sign(o.people[who], map[string]string{"approve": PurposeApprove, "reject": PurposeReject}[do], said)
	if err != nil {
		t.Fatal(err)
	}
	return &Step{Do: do, Number: number, Signed: &words}
}

// make makes a step and returns its error's code, "" if there is none.
func (o *office) make(t *testing.T, w *Workflow, s *Step) (StepDone, string) {
	t.Helper()
	s.Prove(t.Context(), o.c)
	done, err := w.Do(s)
	if err != nil {
		return done, exit.Errors(err)[0].Code
	}
	return done, ""
}

func (o *office) must(t *testing.T, w *Workflow, s *Step) StepDone {
	t.Helper()
	done, code := o.make(t, w, s)
	if code != "" {
		t.Fatalf("%s is refused: %s", s.Do, code)
	}
	return done
}

func (o *office) revoke(t *testing.T, name string) {
	t.Helper()
	if err := o.ca.Revoke(t.Context(), o.serial[name]); err != nil {
		t.Fatal(err)
	}
	chain := []*x509.Certificate{o.people[name].Leaf}
	seen := func() bool { return o.source.CheckRevocation(chain) != nil }
	for end := time.Now().Add(time.Minute); !seen(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the revocation is not seen")
		}
	}
}

// entries returns the notes of the log's entries of a kind.
func (o *office) entries(t *testing.T, kind audit.Kind) (notes []string) {
	t.Helper()
	r, err := audit.OpenReader(o.c.Audit.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range r.Entries(0, 1<<40) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == kind {
			notes = append(notes, e.Note)
		}
	}
	return notes
}

func (o *office) spoil(t *testing.T, number int, ext string, change func([]byte) []byte) (restore func()) {
	t.Helper()
	path := submissionPath(o.c, number, ext)
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, change(bytes.Clone(text)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() { os.WriteFile(path, text, 0o600) }
}

// TestTwoPeople takes one policy into force as it should be, and at every point tries what
// must not be.
func TestTwoPeople(t *testing.T) {
	o := newOffice(t)
	w := o.open(t)
	refused := 0
	refuse := func(name string, s *Step, code string) {
		t.Helper()
		before := *w.Source.State
		if _, got := o.make(t, w, s); got != code {
			t.Errorf("%s: refused with %q, want %q", name, got, code)
		}
		if before.Last = w.Source.State.Last; !reflect.DeepEqual(before, *w.Source.State) {
			t.Errorf("%s: changed what is in force", name)
		}
		refused++
	}
	roll := func(n int, stage rollout.Stage, devices ...string) *Step {
		return &Step{Do: "rollout", Number: n, Stage: stage, Devices: devices}
	}

	refuse("a nurse submits", o.submission(t, w, "ito", "a", nil), "approval.role")
	refuse("a program submits", o.submission(t, w, "robot", "a", nil), "approval.kind")
	refuse("for another gateway", o.submission(t, w, "kim", "a", func(p *Proposal) { p.Gateway = "ward.example/other" }), "submission.gateway")
	refuse("compared with another policy", o.submission(t, w, "kim", "a", func(p *Proposal) { p.InForce.Data = p.Data }), "submission.stale")
	refuse("without a reason", o.submission(t, w, "kim", "a", func(p *Proposal) { p.Why = " " }), "usage.reason")
	refuse("a reason of two lines", o.submission(t, w, "kim", "a", func(p *Proposal) { p.Why = "a\nrevision 9 by user/x: b" }), "usage.reason")
	refuse("other digests", o.submission(t, w, "kim", "a", func(p *Proposal) { p.Policy = p.InForce.Policy }), "submission.changed")
	refuse("another number of tests", o.submission(t, w, "kim", "a", func(p *Proposal) { p.Tests = 2 }), "failed")
	tampered := o.submission(t, w, "kim", "a", nil)
	tampered.Archive = o.edition(t, "b").ArchiveWithTests()
	refuse("other files", tampered, "submission.changed")
	granted, err := o.edition(t, "a").With([]byte(`{"grants":{}}`))
	if err != nil {
		t.Fatal(err)
	}
	bringing := func(p *Proposal) {
		p.Digests, p.Archive = DigestsOf(granted), signed.Digest(granted.ArchiveWithTests())
	}
	tampered = o.submission(t, w, "kim", "a", bringing)
	tampered.Archive = granted.ArchiveWithTests()
	refuse("with grants of its own", tampered, "policy.data.access")
	tampered = o.submission(t, w, "kim", "a", nil)
	tampered.Signed.Words = bytes.Replace(tampered.Signed.Words, []byte(`"because"`), []byte(`"other"`), 1)
	refuse("other words", tampered, "statement.refused")
	refuse("nothing signed", &Step{Do: "submit"}, "failed")
	refuse("an unproven one", &Step{Do: "nothing"}, "failed")

	first := o.submission(t, w, "kim", "a", nil)
	if done := o.must(t, w, first); done.Number != 2 || done.Current.Number != 1 {
		t.Fatalf("submitted as %+v", done)
	}
	refuse("once more", first, "submission.twice")

	refuse("approved by its author", o.opinion(t, w, "kim", "approve", 2, nil), "approval.role")
	refuse("approved by a nurse", o.opinion(t, w, "ito", "approve", 2, nil), "approval.role")
	refuse("approved by a program", o.opinion(t, w, "robot", "approve", 2, nil), "approval.kind")
	refuse("another submission", o.opinion(t, w, "ada", "approve", 2, func(s *Opinion) { s.Proposal = strings.Repeat("0", 64) }), "approval.other")
	refuse("another number", o.opinion(t, w, "ada", "approve", 2, func(s *Opinion) { s.Number = 3 }), "approval.other")
	refuse("another gateway", o.opinion(t, w, "ada", "approve", 2, func(s *Opinion) { s.Gateway = "" }), "approval.other")
	refuse("to replace another", o.opinion(t, w, "ada", "approve", 2, func(s *Opinion) { s.InForce.Policy = "" }), "approval.stale")
	rejection := o.opinion(t, w, "ada", "reject", 2, nil)
	rejection.Do = "approve"
	refuse("a rejection as an approval", rejection, "statement.refused")
	refuse("no such submission", &Step{Do: "approve", Number: 7}, "submission.unknown")
	refuse("nothing signed", &Step{Do: "approve", Number: 2}, "failed")
	restore := o.spoil(t, 2, ".tar", func(b []byte) []byte { b[600] ^= 1; return b })
	refuse("approved, the files changed", o.opinion(t, w, "ada", "approve", 2, nil), "submission.changed")
	refuse("rolled out, the files changed", roll(2, rollout.Shadow), "submission.changed")
	restore()
	restore = o.spoil(t, 2, ".json", func(b []byte) []byte { return bytes.Replace(b, []byte("because"), []byte("becausa"), 1) })
	refuse("rolled out, the words changed", roll(2, rollout.Shadow), "statement.refused")
	restore()
	restore = o.spoil(t, 2, ".json", func(b []byte) []byte { return bytes.Replace(b, []byte(`"number":2`), []byte(`"number":3`), 1) })
	refuse("rolled out under another number", roll(2, rollout.Shadow), "submission.changed")
	restore()
	restore = o.spoil(t, 2, ".json", func(b []byte) []byte { return bytes.Replace(b, []byte(`"why":`), []byte(`"by":"ada","why":`), 1) })
	refuse("a word more", roll(2, rollout.Shadow), "submission.changed")
	restore()

	// Nobody has approved it: it only narrows, and what is in force stays the current one.
	if done := o.must(t, w, roll(2, rollout.All)); done.Candidate == nil || !done.Candidate.Narrows() || done.Current.Number != 1 {
		t.Errorf("unapproved, it is %+v", done.State)
	}
	refuse("rejected while it is rolled out", o.opinion(t, w, "ada", "reject", 2, nil), "rollout.other")
	refuse("no such device", roll(2, rollout.Canary, "mon-9"), "device.unknown")
	refuse("no device", roll(2, rollout.Canary), "rollout.step")
	refuse("no such stage", roll(2, "most"), "rollout.step")

	o.must(t, w, o.opinion(t, w, "ada", "approve", 2, nil))
	// The author's own hand under somebody's name is not an approval, whatever the file says.
	restore = o.spoil(t, 2, ".json", func(b []byte) []byte { return forged(t, o, w, b, "bob again", "ada") })
	if done := o.must(t, w, roll(2, rollout.Canary, "mon-7")); done.Candidate.Approver != "user/bob" {
		t.Errorf("the approver is %q, as the file says, not as was signed", done.Candidate.Approver)
	}
	restore()
	if done := o.must(t, w, roll(2, rollout.Canary, "mon-7")); done.Candidate.Approver != "user/ada" || done.Current.Number != 1 {
		t.Errorf("approved, it is %+v", done.State)
	}
	if done := o.must(t, w, roll(2, rollout.All)); done.Current.Number != 2 || done.Candidate != nil {
		t.Errorf("at its end, it is %+v", done.State)
	}
	refuse("once more in force", roll(2, rollout.All), "approval.stale")

	// An author with both roles does not approve, with none of the certificates.
	o.must(t, w, o.submission(t, w, "bob", "b", nil))
	refuse("both roles", o.opinion(t, w, "bob", "approve", 3, nil), "approval.own")
	refuse("both roles, another certificate", o.opinion(t, w, "bob again", "approve", 3, nil), "approval.own")
	refuse("both roles, the name in upper case", o.opinion(t, w, "Bob", "approve", 3, nil), "approval.own")
	restore = o.spoil(t, 3, ".json", func(b []byte) []byte { return forged(t, o, w, b, "Bob", "ada") })
	refuse("in upper case, forged into the file", roll(3, rollout.Shadow), "approval.own")
	restore()
	restore = o.spoil(t, 3, ".json", func(b []byte) []byte { return forged(t, o, w, b, "bob again", "ada") })
	refuse("forged into the file", roll(3, rollout.Shadow), "approval.own")
	restore()
	restore = o.spoil(t, 3, ".json", func(b []byte) []byte { return forged(t, o, w, b, "ito", "ada") })
	refuse("a nurse's, forged into the file", roll(3, rollout.Shadow), "approval.role")
	restore()

	// An approval is for the revision it was given to replace.
	o.must(t, w, o.opinion(t, w, "ada", "approve", 3, nil))
	o.must(t, w, &Step{Do: "rollback"})
	refuse("approved to replace another", roll(3, rollout.All), "approval.stale")
	o.must(t, w, &Step{Do: "rollback", Number: 2})
	if done := o.must(t, w, roll(3, rollout.All)); done.Current.Number != 3 {
		t.Errorf("back and forth, it is %+v", done.State)
	}
	refuse("back to what is in force", &Step{Do: "rollback", Number: 3}, "rollout.current")
	refuse("back to what never was", &Step{Do: "rollback", Number: 9}, "rollout.never")

	// A revoked certificate approves nothing, and has approved nothing.
	o.must(t, w, o.submission(t, w, "kim", "c", nil))
	o.must(t, w, o.opinion(t, w, "ada", "approve", 4, nil))
	o.revoke(t, "ada")
	refuse("approved, then revoked", roll(4, rollout.All), "approval.invalid")
	refuse("approved when revoked", o.opinion(t, w, "ada", "approve", 4, nil), "statement.refused")
	o.must(t, w, o.opinion(t, w, "bob", "approve", 4, nil))
	o.must(t, w, roll(4, rollout.Shadow))
	o.must(t, w, o.submission(t, w, "kim", "d", nil))
	refuse("two at a time", roll(5, rollout.Shadow), "rollout.other")
	o.must(t, w, &Step{Do: "rollback"})
	o.must(t, w, o.opinion(t, w, "kim", "reject", 4, nil))
	refuse("rejected", roll(4, rollout.Shadow), "submission.rejected")
	refuse("approved once it was rejected", o.opinion(t, w, "bob", "approve", 4, nil), "submission.rejected")
	refuse("the same as is in force", o.submission(t, w, "kim", "b", nil), "submission.same")
	o.revoke(t, "kim")
	refuse("rolled out, its author revoked", roll(5, rollout.Shadow), "statement.refused")
	refuse("submitted when revoked", o.submission(t, w, "kim", "e", nil), "statement.refused")

	// The log has every step, and every one that was refused.
	n := 0
	for _, kind := range []audit.Kind{kindSubmit, kindApprove, kindReject, kindRollout, kindRollback} {
		for _, note := range o.entries(t, kind) {
			e := audit.Entry{Kind: kind, Note: note}
			if s, ok := ReadHistory(&e); !ok || s.Done != (s.By != "") || s.Done && s.Number == 0 {
				t.Errorf("history reads %q as %+v", note, s)
			} else if !s.Done {
				n++
			}
		}
	}
	for kind, who := range map[audit.Kind]string{kindSubmit: "kim", kindApprove: "ada"} {
		if notes := o.entries(t, kind); !slices.ContainsFunc(notes, func(s string) bool { return strings.HasSuffix(s, "; certificate "+o.serial[who]) }) {
			t.Errorf("no entry names the certificate of %s: %q", who, notes)
		}
	}
	if n != refused-1 { // one was no step
		t.Errorf("%d refused steps are recorded, %d were made", n, refused)
	}
	if again := o.open(t); !reflect.DeepEqual(*again.Source.State, *w.Source.State) {
		t.Errorf("a restart finds %+v", again.Source.State)
	}
}

// forged is a submission's record with an approval that one signed and the file says another
// did.
func forged(t *testing.T, o *office, w *Workflow, text []byte, signer, says string) []byte {
	t.Helper()
	var s Submission
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	s.Approved = o.opinion(t, w, signer, "approve", s.Number, nil).Signed
	s.Approved.By = "user/" + says
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

var errPower = errors.New("power failure")

// TestStopAnywhere ends the process between any two things a step does. What the next one
// finds is as before the step or as after it, and the way goes on from there.
func TestStopAnywhere(t *testing.T) {
	o := newOffice(t)
	w := o.open(t)
	o.must(t, w, o.submission(t, w, "kim", "a", nil))
	o.must(t, w, o.opinion(t, w, "ada", "approve", 2, nil))
	o.must(t, w, &Step{Do: "rollout", Number: 2, Stage: rollout.All})
	o.must(t, w, o.submission(t, w, "kim", "b", nil))

	steps := []func(w *Workflow) *Step{
		func(w *Workflow) *Step { return o.submission(t, w, "kim", "c", nil) },
		func(w *Workflow) *Step { return o.opinion(t, w, "ada", "approve", 3, nil) },
		func(*Workflow) *Step { return &Step{Do: "rollout", Number: 3, Stage: rollout.Shadow} },
		func(*Workflow) *Step {
			return &Step{Do: "rollout", Number: 3, Stage: rollout.Canary, Devices: []string{"mon-7"}}
		},
		func(*Workflow) *Step { return &Step{Do: "rollback"} },
		func(*Workflow) *Step { return &Step{Do: "rollout", Number: 3, Stage: rollout.All} },
		func(*Workflow) *Step { return &Step{Do: "rollback"} },
		func(w *Workflow) *Step {
			numbers, _ := Submissions(o.c)
			return o.opinion(t, w, "bob", "reject", slices.Max(numbers), nil)
		},
	}
	// The points, in the order in which a step passes them; the last is not passed by all.
	points := map[string]func(*Workflow){
		"before the log": func(w *Workflow) { w.Record = func(audit.Entry) error { panic(errPower) } },
		"behind the log": func(w *Workflow) { w.Record = func(e audit.Entry) error { o.record(e); panic(errPower) } },
		"behind the files": func(w *Workflow) {
			w.Ready = func(*Source) (func() int, error) { return func() int { panic(errPower) }, nil }
		},
		"the log is unwritable": func(w *Workflow) { w.Record = func(audit.Entry) error { return audit.ErrUnwritable } },
	}
	for i, next := range steps {
		for name, stop := range points {
			w := o.open(t)
			before := *w.Source.State
			s := next(w)
			stop(w)
			died := interrupted(func() { o.make(t, w, s) })
			after := *o.open(t).Source.State
			before.Last = after.Last // a number may be lost, never given twice
			if !died && name != "the log is unwritable" && s.Do != "approve" && s.Do != "submit" && s.Do != "reject" {
				t.Errorf("step %d, %s: it went on", i, name)
			}
			if name != "behind the files" && !reflect.DeepEqual(before, after) {
				t.Errorf("step %d, %s: %s has become %s", i, name, short(before), short(after))
			}
			if name == "behind the files" && (s.Do == "rollout" || s.Do == "rollback") {
				if reflect.DeepEqual(before, after) {
					t.Errorf("step %d, %s: it is not made", i, name)
				}
				if err := rollout.Write(filepath.Join(o.c.Gateway.State, RolloutFile), before); err != nil { // to make it again
					t.Fatal(err)
				}
			}
			if name == "behind the files" && (s.Do == "submit" || s.Do == "approve" || s.Do == "reject") {
				forget(t, o, s)
			}
		}
		w := o.open(t)
		o.must(t, w, next(w))
	}
	if got := short(*o.open(t).Source.State); got != "2, past [1], undone [3]" {
		t.Errorf("in the end it is %s", got)
	}
	if numbers, err := Submissions(o.c); err != nil || len(numbers) < 3 {
		t.Errorf("submissions %v, %v", numbers, err)
	}
}

// forget undoes a step about a submission, which passes no point behind the files.
func forget(t *testing.T, o *office, s *Step) {
	t.Helper()
	n := s.Number
	if s.Do == "submit" {
		numbers, err := Submissions(o.c)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(submissionPath(o.c, slices.Max(numbers), ".json")); err != nil {
			t.Fatal(err)
		}
		return
	}
	sub, err := ReadSubmission(o.c, n)
	if err != nil {
		t.Fatal(err)
	}
	if s.Do == "approve" {
		sub.Approved = nil
	} else {
		sub.Rejected = nil
	}
	if err := (&Workflow{Config: o.c}).write(sub); err != nil {
		t.Fatal(err)
	}
}

func interrupted(f func()) (died bool) {
	defer func() {
		if x := recover(); x != nil {
			if x != errPower {
				panic(x)
			}
			died = true
		}
	}()
	f()
	return false
}

func short(s rollout.State) string {
	numbers := func(list []rollout.Revision) []int {
		out := []int{}
		for _, r := range list {
			out = append(out, r.Number)
		}
		return out
	}
	text := fmt.Sprintf("%d, past %v, undone %v", s.Current.Number, numbers(s.Past), numbers(s.Undone))
	if s.Candidate != nil {
		text += ", " + describeCandidate(s.Candidate)
	}
	return text
}

// TestNothingToGuess takes away what says which policy is in force. Nothing starts then, and
// what is said leads on.
func TestNothingToGuess(t *testing.T) {
	o := newOffice(t)
	w := o.open(t)
	o.must(t, w, o.submission(t, w, "kim", "a", nil))
	state := filepath.Join(o.c.Gateway.State, RolloutFile)
	kept := KeptIn(o.c).listing(Digests{w.Source.State.Current.Policy, w.Source.State.Current.Data})
	other := rego.FormatListing(w.Source.Current.Sources()[1:])
	for name, c := range map[string]struct {
		path string
		text func([]byte) []byte // nil: removed
		code string
	}{
		"the state is cut short":      {state, func(b []byte) []byte { return b[:len(b)/2] }, "rollout.damaged"},
		"a number is another":         {state, func(b []byte) []byte { return bytes.Replace(b, []byte(`"last":2`), []byte(`"last":3`), 1) }, "rollout.damaged"},
		"the state is empty":          {state, func([]byte) []byte { return nil }, "rollout.damaged"},
		"the state is gone":           {state, nil, "rollout.missing"},
		"the revision is gone":        {kept, nil, "file.missing"},
		"the revision is cut short":   {kept, func(b []byte) []byte { return b[:len(b)/2] }, "failed"},
		"another policy in its place": {kept, func([]byte) []byte { return other }, "policy.kept_changed"},
	} {
		was, err := os.ReadFile(c.path)
		if err != nil {
			t.Fatal(err)
		}
		if c.text == nil {
			err = os.Remove(c.path)
		} else {
			err = os.WriteFile(c.path, c.text(bytes.Clone(was)), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(o.c); err == nil {
			t.Errorf("%s: it starts", name)
		} else if f := exit.Errors(err)[0]; f.Code != c.code {
			t.Errorf("%s: %s: %s, want %s", name, f.Code, f.Message, c.code)
		}
		if err := os.WriteFile(c.path, was, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(o.c); err != nil {
		t.Error(err)
	}
}

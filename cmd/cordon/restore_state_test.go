package main

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cordon/cmd/cordon/envelope"
	"cordon/cmd/cordon/exit"
	"cordon/policy/access"
)

// tellRestored has gateways come back that were in the middle of much, and shows what has not
// come back with them.
func tellRestored(t *testing.T, cordon string) {
	t.Run("with everything", func(t *testing.T) { restoredWithEverything(t, cordon) })
	t.Run("what came since", func(t *testing.T) { takenAwaySince(t, cordon) })
	t.Run("bundles", func(t *testing.T) { restoredBundles(t, cordon) })
	t.Run("revocation lists", func(t *testing.T) { restoredLists(t, cordon) })
	t.Run("issued since", func(t *testing.T) { revokedUnknown(t, cordon) })
	t.Run("cut short", func(t *testing.T) { restoresCutShort(t, cordon) })
	t.Run("places of its own", func(t *testing.T) { restoresCutShortApart(t, cordon) })
	t.Run("notes of others", func(t *testing.T) { notesOfOthers(t, cordon) })
	t.Run("disk full", func(t *testing.T) { restoresWithoutRoom(t, cordon) })
}

// seal makes codes for envelopes.
func (s *site) seal(t *testing.T) (codes []string) {
	t.Helper()
	var sealed struct{ Codes []string }
	if err := json.Unmarshal([]byte(s.must(t, "break-glass", "seal", "--codes", "6", "--yes", "--json", "--dir", s.gw())), &sealed); err != nil {
		t.Fatal(err)
	}
	return sealed.Codes
}

// standing are the facts that a gateway knows, by id, without what the clock has moved meanwhile.
func (s *site) standing(t *testing.T) map[string]factJSON {
	t.Helper()
	var facts []factJSON
	s.decode(t, &facts, "access", "list", "--all", "--json", "--dir", s.gw())
	all := map[string]factJSON{}
	for _, f := range facts {
		all[f.ID] = f
	}
	return all
}

// wardSite is a hospital with break-glass, alarms and a policy that takes two people.
func wardSite(t *testing.T, cordon string) (*hospital, *receivers) {
	t.Helper()
	s := &hospital{site: emptySite(t, cordon), listen: map[string]string{}}
	s.device = newRecorder(t)
	_, port, _ := net.SplitHostPort(s.device.address())
	for _, id := range []string{"mon-7", "mon-8", "mon-9", "mon-10"} {
		s.site.listen = freeAddress(t)
		s.listen[id] = s.site.listen
		s.add(t, id, "monitor/bedside", "hl7", port)
	}
	s.configure(t, "policy:\n", "policy:\n  keep: 48h\n  approval: { authors: [security], approvers: [security-lead] }\n")
	s.issueStaff(t)
	for name, roles := range map[string][]string{"kim": {"security"}, "ada": {"security-lead"}, "manager": {"nurse-manager"}, "reviewer": {"privacy", "nurse-manager"}} {
		who := []string{"--user", name}
		for _, role := range roles {
			who = append(who, "--role", role)
		}
		s.issue(t, name, who...)
	}
	s.keys(t)
	return s, newReceivers(t, s.site)
}

// allowNurses edits the folder: what the nurse may newly do, to be submitted.
func (s *hospital) allowNurses(t *testing.T) {
	t.Helper()
	s.inTables(t, "monitor/*: [read, query, notify]", "monitor/*: [read, query, notify, write]")
	s.edit(t, "policy/cordon_test.rego", `"nurse monitor/bedside": {"session", "read", "query", "notify"}`, `"nurse monitor/bedside": {"session", "read", "query", "notify", "write"}`)
}

func (s *hospital) submit(t *testing.T) {
	t.Helper()
	s.must(t, "policy", "submit", "--cert", "kim.pem", "-m", "CR-1120", "--dir", s.gw())
}

// restoredWithEverything: a gateway is lost in the middle of a rollout, a trial, emergencies, quarantines and alarms
// that nobody has heard, and goes on elsewhere as if it had only been down.
func restoredWithEverything(t *testing.T, cordon string) {
	s, told := wardSite(t, cordon)
	codes := s.seal(t)
	s.daemon = s.serve(t)
	s.writes(t, s.to(t, "mon-7", "nurse"), "AR")
	refused := s.lastRefusal(t)
	s.allowNurses(t)
	s.submit(t)
	s.policy(t, "approve", "2", "--cert", "ada.pem", "--yes")
	s.submit(t) // 3, which nobody has looked at yet
	s.submit(t)
	s.must(t, "policy", "reject", "4", "--cert", "ada.pem", "-m", "no", "--dir", s.gw())
	s.policy(t, "rollout", "2", "--stage", "canary", "--devices", "mon-8", "--yes")

	told.mu.Lock()
	told.down = true // what is raised from here on waits for the webhook
	told.mu.Unlock()
	quarantine := s.access(t, "device", "quarantine", "mon-9", "--until-released", "--reason", "INC-1").Facts[0].ID
	grant := s.access(t, "access", "grant", "vendor/bolt", "--device", "mon-7", "--for", "1h", "--reason", "WO-2").Facts[0].ID
	over := s.access(t, "access", "grant", "vendor/acme", "--device", "mon-7", "--for", "1h", "--reason", "WO-1").Facts[0].ID
	s.must(t, "access", "end", over, "--reason", "done", "--yes", "--dir", s.gw())
	planned := s.access(t, "device", "maintenance", "mon-10", "--for", "1h", "--from", time.Now().Add(2*time.Hour).Format(time.RFC3339), "--reason", "WO-3").Facts[0].ID
	learning := s.access(t, "device", "learn", "mon-10", "--for", "10h", "--reason", "CHG-2").Facts[0].ID
	closed := s.opens(t, "", "--cert", "manager.pem").Opened.ID
	s.must(t, "break-glass", "close", closed, "--dir", s.gw())
	sealed := s.opens(t, codes[0]+"\n"+codes[1]+"\n", "--codes", "--person", "n.abe", "--out", "abe").Opened.ID
	other := freeAddress(t)
	s.must(t, "apply", s.edited(t, s.listen["mon-7"], other), "--confirm", "1h", "--yes", "--dir", s.gw())
	was, before := s.standing(t), s.policy(t, "rollout", "status")
	done := s.backUp(t, "ward.backup")
	s.daemon.kill()
	if err := os.RemoveAll(s.gw()); err != nil {
		t.Fatal(err)
	}
	told.mu.Lock()
	told.down = false
	told.mu.Unlock()

	// Elsewhere. Of the codes nobody knows which were used since: they are void, unless somebody says so.
	for _, certain := range []bool{false, true} {
		if err := os.RemoveAll(s.gw()); err != nil {
			t.Fatal(err)
		}
		args, left := []string{"restore", "ward.backup", "--dir", s.gw(), "--identity", "ward.key"}, 0
		if certain {
			args, left = append(args, "--codes-unused"), 4
		}
		out := s.run(t, args...)
		if out.code != exit.Done || strings.Contains(out.stderr, "sealed codes are void") == certain {
			t.Errorf("the restore exits with %d and says %s", out.code, out.stderr)
		}
		for _, want := range []string{"cordon cert revoke", "cordon device quarantine", "revision 1 decides"} {
			if !strings.Contains(out.stderr, want) {
				t.Errorf("it does not say %q: %s", want, out.stderr)
			}
		}
		if set, err := envelope.Read(filepath.Join(s.gw(), "state")); err != nil || set.Unused() != left {
			t.Errorf("with %v there are codes left: %+v, %v", args, set, err)
		}
	}
	s.must(t, "check", "--dir", s.gw())
	s.daemon = s.serve(t)

	// It decides as before: by the canary's revision there, by the old one elsewhere.
	if is := s.policy(t, "rollout", "status"); is.Candidate == nil || is.Candidate.Number != 2 || is.Candidate.Approver != before.Candidate.Approver || is.Current != before.Current || is.Last != 4 {
		t.Errorf("the rollout is %+v, was %+v", is.State, before.State)
	}
	s.writes(t, s.to(t, "mon-8", "nurse"), "AA")
	s.writes(t, s.to(t, "mon-7", "nurse"), "AR") // also: what was on trial is not in force
	if s.reached(t, other) || s.mentioned(t, "rolled back: the gateway was started again") != 1 {
		t.Error("the trial has no end")
	}
	s.writes(t, s.to(t, "mon-9", "engine"), "AR")
	s.writes(t, s.to(t, "mon-10", "nurse"), "AA") // it learns
	s.explained(t, refused, "DENY hl7:ORU^R01", "nurse")
	var list struct{ Submissions []submissionJSON }
	s.decode(t, &list, "policy", "submissions", "--json", "--dir", s.gw())
	var status []string
	for _, x := range list.Submissions {
		status = append(status, x.Status+" "+x.Approver+x.Rejecter)
	}
	if !slices.Equal(status, []string{"approved user/ada", "open ", "rejected user/ada"}) {
		t.Errorf("submissions are %q", status)
	}
	s.refuses(t, exit.Conflict, "submission.rejected", "rollout", "4", "--stage", "all")

	is := s.standing(t)
	for _, id := range []string{quarantine, grant, over, planned, learning, closed, sealed} {
		a, b := was[id], is[id]
		if id == "" || a.Phase != b.Phase || !a.Until.Equal(b.Until) || !a.Ended.Equal(b.Ended) || a.Begun != b.Begun {
			t.Errorf("%s was %+v, is %+v", id, a, b)
		}
	}
	if len(is) != len(was) {
		t.Errorf("%d facts, were %d", len(is), len(was))
	}
	s.site.listen = s.listen["mon-7"]
	if _, got := s.answered(t, "abe", "QRY^A19", "E1"); got != "AA" {
		t.Errorf("in the emergency that goes on the answer is %s", got)
	}
	s.must(t, "break-glass", "review", closed, "--cert", "reviewer.pem", "--note", "needed", "--dir", s.gw())
	s.stays(t, codes[0]+"\n"+codes[1]+"\n", exit.Denied, "it takes 2", "--device", "mon-7", "--codes", "--person", "n.abe", "--out", "again")
	s.opens(t, codes[2]+"\n"+codes[3]+"\n", "--codes", "--person", "n.abe", "--out", "third")
	for _, id := range []string{closed, sealed} { // alarms that waited: the webhook had not heard of them
		if !eventually(func() bool { return told.count(t, "break-glass-opened", id)[1] >= 1 }) {
			t.Errorf("of %s nobody was told", id)
		}
	}

	// What was approved goes on to its end, and the log is one chain.
	if done := s.policy(t, "rollout", "2", "--stage", "all", "--yes"); done.Current.Number != 2 || done.Current.Approver != "user/ada" {
		t.Errorf("at its end it is %+v", done.State)
	}
	s.policy(t, "rollback")
	s.submit(t)
	if is := s.policy(t, "rollout", "status"); is.Last != 5 {
		t.Errorf("the next number is %d", is.Last)
	}
	s.daemon.stop(t)
	s.write(t, "then", done.Checkpoint)
	s.must(t, "audit", "verify", "--dir", s.gw(), "--checkpoint", "then")
}

// takenAwaySince: the gateway is still there, and what it has taken away since the backup stays so.
func takenAwaySince(t *testing.T, cordon string) {
	s, told := wardSite(t, cordon)
	codes := s.seal(t)
	s.daemon = s.serve(t)
	s.allowNurses(t)
	s.submit(t) // 2
	s.policy(t, "approve", "2", "--cert", "ada.pem", "--yes")
	goesOn := s.access(t, "device", "quarantine", "mon-10", "--until-released", "--reason", "INC-1").Facts[0].ID
	learning := s.access(t, "device", "learn", "mon-8", "--for", "10h", "--reason", "CHG-2").Facts[0].ID
	s.backUp(t, "ward.backup")

	s.must(t, "policy", "reject", "2", "--cert", "ada.pem", "-m", "on second thoughts", "--dir", s.gw())
	quarantine := s.access(t, "device", "quarantine", "mon-9", "--until-released", "--reason", "INC-2").Facts[0].ID
	s.access(t, "device", "release", "mon-10", "--reason", "reimaged")
	s.must(t, "access", "end", learning, "--reason", "seen enough", "--yes", "--dir", s.gw())
	told.mu.Lock()
	told.down = true
	told.mu.Unlock()
	emergency := s.opens(t, codes[0]+"\n"+codes[1]+"\n", "--codes", "--person", "n.abe", "--out", "abe").Opened.ID
	s.revoke(t, "oie")
	s.daemon.kill()
	told.mu.Lock()
	told.down = false
	told.mu.Unlock()
	s.edit(t, "cordon.yaml", "version: 1", "version: one") // so that it does not start, nor say whose it is

	var back restored
	out := s.run(t, "restore", "ward.backup", "--dir", s.gw(), "--identity", "ward.key", "--yes", "--json")
	if err := json.Unmarshal([]byte(out.stdout), &back); err != nil || !back.Loss.Same {
		t.Fatalf("the restore exits with %d and says %s%s", out.code, out.stdout, out.stderr)
	}
	for _, want := range []string{"1 certificates stay revoked", "3 quarantines and ends of access stay", "rejected stay revisions [2]", "2 sealed codes used since", "alarms are still to be told"} {
		if !slices.ContainsFunc(back.Stays, func(s string) bool { return strings.Contains(s, want) }) {
			t.Errorf("what stays is %q, want %q", back.Stays, want)
		}
	}
	s.daemon = s.serve(t)
	s.site.listen = s.listen["mon-7"]
	if !s.refused(t, "engine") {
		t.Error("a certificate revoked since is taken")
	}
	s.refuses(t, exit.Conflict, "submission.rejected", "rollout", "2", "--stage", "all")
	is := s.standing(t)
	for id, want := range map[string]string{quarantine: access.InForce, goesOn: access.InForce, learning: access.Over, emergency: access.Over} {
		if is[id].Phase != want {
			t.Errorf("%s is %+v, want %s", id, is[id], want)
		}
		if notes := s.noted(t, id); id != goesOn && !strings.Contains(strings.Join(notes, "\n"), "over a restore") {
			t.Errorf("of %s the log says %q", id, notes)
		}
	}
	if _, got := s.answered(t, "abe", "QRY^A19", "E1"); got != "AR" {
		t.Errorf("after the emergency the answer is %s", got)
	}
	if !eventually(func() bool { return told.count(t, "break-glass-opened", emergency)[1] == 1 }) {
		t.Error("of the emergency nobody was told")
	}
	if out := s.must(t, "break-glass", "list", "--dir", s.gw()); !strings.Contains(out, emergency) {
		t.Errorf("to be reviewed is %s, want %s", out, emergency)
	}
	s.stays(t, codes[0]+"\n"+codes[2]+"\n", exit.Denied, "it takes 2", "--device", "mon-7", "--codes", "--person", "n.abe", "--out", "again")
	s.opens(t, codes[2]+"\n"+codes[3]+"\n", "--codes", "--person", "n.abe", "--out", "third")
	s.daemon.stop(t)

	// Codes that were sealed since void those of the backup, whatever somebody says.
	s.seal(t)
	s.restore(t, "ward.backup", s.gw(), "--yes", "--codes-unused")
	if set, err := envelope.Read(filepath.Join(s.gw(), "state")); err != nil || set.Unused() != 0 {
		t.Errorf("codes left: %+v, %v", set, err)
	}

	// Another gateway that was there, though of the same name, says nothing about this one.
	s.must(t, "init", "other")
	s.must(t, "device", "add", "mon-7", "--dir", "other", "--class", "monitor/bedside", "--protocol", "hl7", "--address", "127.0.0.1", "--port", "9", "--listen", freeAddress(t))
	s.must(t, "device", "quarantine", "mon-7", "--until-released", "--reason", "INC-3", "--yes", "--dir", "other")
	over := s.restore(t, "ward.backup", "other", "--yes")
	if over.Loss.Same || len(over.Stays) != 1 || !strings.Contains(over.Stays[0], "void") {
		t.Errorf("over another it keeps %q, %+v", over.Stays, over.Loss)
	}
	var there []factJSON
	if s.decode(t, &there, "access", "list", "--json", "--dir", "other"); slices.ContainsFunc(there, func(f factJSON) bool { return f.Device == "mon-7" }) {
		t.Errorf("over another there is %+v", there)
	}
}

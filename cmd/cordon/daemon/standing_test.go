package daemon

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/revision"
	"cordon/gateway/audit"
	"cordon/policy"
	"cordon/policy/access"
)

// ledgerOf is what stands for a time where no gateway runs, with a log that fails while *broken.
func ledgerOf(t *testing.T) (s *standing, broken *bool, notes *[]string) {
	t.Helper()
	broken, notes = new(bool), &[]string{}
	c := &config.Config{Gateway: config.Gateway{State: t.TempDir()}}
	return openStanding(c, func(e audit.Entry) error {
		if *broken {
			return errors.New("no space left on device")
		}
		*notes = append(*notes, string(e.Kind)+" "+e.Note)
		return nil
	}, nil, slog.New(slog.DiscardHandler)), broken, notes
}

func grantRequest(now time.Time, from, until time.Duration) *AccessRequest {
	return &AccessRequest{Do: "make", Fact: access.Fact{Kind: access.Grant, Subject: "vendor/acme", Device: "ct-2", Classes: []policy.Class{policy.ClassRead},
		From: now.Add(from), Until: now.Add(until), Reason: "WO-881"}}
}

func quarantineRequest(now time.Time, until time.Duration) *AccessRequest {
	return &AccessRequest{Do: "make", Fact: access.Fact{Kind: access.Quarantine, Device: "ct-2", From: now, Until: now.Add(until), Reason: "INC-1"}}
}

// While the log cannot be written nothing is permitted, and everything can be taken away; the
// log is told later, once.
func TestUnrecordedOnlyNarrows(t *testing.T) {
	s, broken, notes := ledgerOf(t)
	now := time.Now()
	standing := func() access.Ledger {
		t.Helper()
		kept, err := access.Read(s.path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range kept.Facts {
			if f, known := s.ledger.Find(kept.Facts[i].ID); !known || f.Phase() != kept.Facts[i].Phase() {
				t.Errorf("%s is %s, and kept as %s", f.ID, f.Phase(), kept.Facts[i].Phase())
			}
		}
		return s.ledger
	}
	first, err := s.do(grantRequest(now, 0, time.Hour), "dana", now)
	if err != nil || standing().Document() == nil {
		t.Fatalf("%+v, %v", first, err)
	}
	if _, err := s.do(grantRequest(now, time.Minute, time.Hour), "dana", now); err != nil {
		t.Fatal(err)
	}

	*broken = true
	if _, err := s.do(grantRequest(now, 0, time.Hour), "dana", now); err == nil || exit.Errors(err)[0].Code != errUnrecorded.Code {
		t.Errorf("a grant without an entry: %v", err)
	}
	if n := len(standing().Facts); n != 2 {
		t.Errorf("there are %d facts, want the two that are recorded", n)
	}
	cut, err := s.do(quarantineRequest(now, 2*time.Minute), "dana", now)
	if err != nil || !cut.Unrecorded || standing().State("ct-2", policy.StateActive) != policy.StateQuarantined {
		t.Errorf("a quarantine without an entry: %+v, %v", cut, err)
	}
	if end, err := s.do(&AccessRequest{Do: "end", ID: first.Facts[0].ID, Reason: "done"}, "dana", now); err != nil || !end.Unrecorded || standing().Document() != nil {
		t.Errorf("the end of a grant without an entry: %+v, %v", end, err)
	}
	// The clock neither begins a grant nor ends a quarantine, however often it is looked at.
	for range 3 {
		if again := s.advance(now.Add(3 * time.Minute)); again != accessRetry {
			t.Errorf("looks again in %v", again)
		}
		if l := standing(); l.Document() != nil || l.State("ct-2", policy.StateActive) != policy.StateQuarantined {
			t.Error("the clock has permitted something without an entry")
		}
	}
	if len(*notes) != 2 {
		t.Fatalf("recorded %q", *notes)
	}

	*broken = false
	s.advance(now.Add(3 * time.Minute))
	if l := standing(); l.Document() == nil || l.State("ct-2", policy.StateActive) != policy.StateActive {
		t.Error("with the log back the clock does not go on")
	}
	for i, want := range []string{"grant G-", "grant G-", "quarantine Q-", "grant G-", "grant G-", "release Q-"} {
		late := i == 2 || i == 3
		if len(*notes) != 6 || !strings.HasPrefix((*notes)[i], want) || strings.HasSuffix((*notes)[i], "; recorded late") != late {
			t.Fatalf("recorded %d: %q", i, *notes)
		}
	}
}

// What cannot be kept permits nothing either, and the log says so; a quarantine holds as long as the gateway runs.
func TestUnkeptOnlyNarrows(t *testing.T) {
	s, _, notes := ledgerOf(t)
	if err := os.WriteFile(filepath.Dir(s.path), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if done, err := s.do(grantRequest(now, 0, time.Hour), "dana", now); err == nil || len(s.ledger.Facts) > 0 {
		t.Errorf("a grant that is not kept: %+v", done)
	}
	if len(*notes) != 2 || !strings.Contains((*notes)[1], "not kept, so not done: G-") {
		t.Errorf("recorded %q", *notes)
	}
	if done, err := s.do(quarantineRequest(now, time.Minute), "dana", now); err != nil || done.Unkept == "" || s.ledger.State("ct-2", policy.StateActive) != policy.StateQuarantined {
		t.Errorf("a quarantine that is not kept: %+v, %v", done, err)
	}
	if len(*notes) != 3 {
		t.Errorf("recorded %q", *notes)
	}
	// What the clock does needs no file.
	if s.advance(now.Add(time.Minute)); s.ledger.State("ct-2", policy.StateActive) != policy.StateActive || len(*notes) != 4 {
		t.Errorf("its end was recorded as %q", *notes)
	}
}

// A policy that cannot be kept for those who ask later is no reason to permit something, nor to go on
// permitting it; and a quarantine, which changes no policy, does not ask.
func TestUnheldOnlyNarrows(t *testing.T) {
	g := newGlass(t)
	s, kept := g.standing, revision.KeptIn(g.config)
	now := time.Now()
	var made []string
	for _, until := range []time.Duration{time.Hour, 2 * time.Hour, 3 * time.Minute, 6 * time.Minute} {
		done, err := s.do(grantRequest(now, 0, until), "dana", now)
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, done.Facts[0].ID)
	}
	later, err := s.do(grantRequest(now, 100*time.Millisecond, time.Hour), "dana", now)
	if err != nil {
		t.Fatal(err)
	}
	planned := later.Facts[0].ID
	phase := func(id string) string {
		f, _ := s.ledger.Find(id)
		return f.Phase()
	}
	if err := os.Rename(kept.Dir, kept.Dir+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(kept.Dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}

	if done, err := s.do(quarantineRequest(now, time.Hour), "dana", now); err != nil || done.Unkept != "" || s.unheld || s.parts.devices["ct-2"].State != policy.StateQuarantined {
		t.Errorf("a quarantine: %+v, %v", done, err)
	}
	entries := len(g.notes)
	if _, err := s.do(grantRequest(now, 0, time.Hour), "dana", now); code(err) != "access.unkept" || len(s.ledger.Facts) != 6 || len(g.notes) != entries {
		t.Errorf("a grant: %v; %d facts, entries %q", err, len(s.ledger.Facts), g.notes[entries:])
	}
	before := s.parts.Policy.Data()
	if _, err := s.do(&AccessRequest{Do: "end", ID: made[0], Reason: "done"}, "dana", now); err != nil || phase(made[0]) != access.Over || s.parts.Policy.Data() == before {
		t.Errorf("the end of a grant: %v", err)
	}
	time.Sleep(time.Until(now.Add(100 * time.Millisecond))) // what is planned is due, and is not tried without a pause
	if again := s.advance(now.Add(4 * time.Minute)); phase(made[2]) != access.Over || phase(planned) != access.Planned || again != accessRetry {
		t.Errorf("a grant that the clock ends is %v, one that it begins %v, looks again in %v", phase(made[2]), phase(planned), again)
	}
	// What the clock ends goes on; what is asked for beside it does not.
	if _, err := s.do(grantRequest(now, 0, time.Hour), "dana", now.Add(7*time.Minute)); code(err) != "access.unkept" || phase(made[3]) != access.Over || len(s.ledger.Facts) != 6 {
		t.Errorf("a grant as the clock ends another: %v", err)
	}
	if entries += 3; len(g.notes) != entries {
		t.Errorf("%d entries, want %d: %q", len(g.notes), entries, g.notes)
	}

	if err := errors.Join(os.Remove(kept.Dir), os.Rename(kept.Dir+".away", kept.Dir)); err != nil {
		t.Fatal(err)
	}
	s.advance(now.Add(8 * time.Minute))
	if _, known := kept.Access(revision.DigestsOf(s.parts.Policy)); !known || s.unheld {
		t.Error("what decides is not kept when it could be")
	}
	if phase(made[1]) != access.InForce || phase(planned) != access.InForce {
		t.Errorf("a grant that nobody ended is %s, the planned one %s", phase(made[1]), phase(planned))
	}
}

func TestPreviewChangesNothing(t *testing.T) {
	s, _, notes := ledgerOf(t)
	now := time.Now()
	r := quarantineRequest(now, time.Minute)
	r.Preview = true
	if would, err := s.do(r, "dana", now); err != nil || len(would.Facts) != 1 || len(s.ledger.Facts) > 0 || len(*notes) > 0 {
		t.Errorf("%+v, %v: %q", would, err, *notes)
	}
	if _, err := os.Stat(s.path); err == nil {
		t.Error("the file was written")
	}
}

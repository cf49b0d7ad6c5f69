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

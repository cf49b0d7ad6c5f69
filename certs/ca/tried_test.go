package ca

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Whoever is to be told hears of a file that cannot be followed once, and of the end of that; Look says it as
// long as it is so.
func TestTried(t *testing.T) {
	a := newAuthority(t, Limits{})
	path := filepath.Join(t.TempDir(), "hospital.pem")
	good := certPEM(newHospital(t).cert.Raw)
	replace := func(text []byte) {
		t.Helper()
		if err := writeFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	replace(good)
	var heard []string
	s := newSource(t, a, SourceConfig{TrustFile: path, Tried: func(what Followed, err error) { heard = append(heard, fmt.Sprint(what, " ", err != nil)) }})
	expect := func(fault bool, want ...string) {
		t.Helper()
		for range 2 {
			if err := s.Look(); (err != nil) != fault {
				t.Errorf("looked, and found %v", err)
			}
		}
		if got := strings.Join(heard, ", "); got != strings.Join(want, ", ") {
			t.Errorf("told %q, want %q", got, want)
		}
	}
	expect(false)
	replace([]byte("none"))
	expect(true, "trust true")
	if err := os.Rename(a.path(crlFile), a.path("away")); err != nil {
		t.Fatal(err)
	}
	expect(true, "trust true", "trust true") // another fault beside it
	replace(good)
	expect(true, "trust true", "trust true", "trust true")
	if err := os.Rename(a.path("away"), a.path(crlFile)); err != nil {
		t.Fatal(err)
	}
	expect(false, "trust true", "trust true", "trust true", "trust false")
	if ends := s.Ends(); len(ends) != 4 || !ends["server-rsa"].After(time.Now()) || !ends["root"].Equal(a.root.NotAfter) || ends["intermediate"].After(ends["root"]) {
		t.Errorf("the certificates end %v", ends)
	}
}

// A renewal that fails is told each time, and found by Look until one succeeds.
func TestRenewalTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t, Limits{})
		var failed, succeeded atomic.Int64
		s := newSource(t, a, SourceConfig{Log: slog.New(slog.DiscardHandler), Tried: func(what Followed, err error) {
			switch {
			case what != Renewal:
				t.Errorf("told of %s: %v", what, err)
			case err != nil:
				failed.Add(1)
			default:
				succeeded.Add(1)
			}
		}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		if err := os.Rename(a.path(interKey), a.path("away")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Hour)
		synctest.Wait()
		if err := s.Look(); failed.Load() < 3 || succeeded.Load() > 0 || err == nil || !strings.Contains(err.Error(), "renew the gateway's certificates") {
			t.Errorf("%d failures and %d successes are told, and found %v", failed.Load(), succeeded.Load(), err)
		}
		if err := os.Rename(a.path("away"), a.path(interKey)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(16 * time.Minute)
		synctest.Wait()
		if err := s.Look(); succeeded.Load() != 1 || err != nil {
			t.Errorf("%d successes are told, and found %v", succeeded.Load(), err)
		}
		cancel()
		<-done
	})
}

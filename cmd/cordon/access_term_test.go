package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/exit"
	"cordon/policy"
	"cordon/policy/access"
)

func TestTermFlags(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.Local)
	for text, want := range map[string]time.Duration{"30m": 30 * time.Minute, "2d": 48 * time.Hour, "1h30m": 90 * time.Minute, "-1h": 0, "0s": 0, "": 0, "d": 0, "2w": 0, "99999d": 0} {
		if got, err := span(text); got != want || (err == nil) != (want > 0) {
			t.Errorf("%q lasts %v, %v", text, got, err)
		}
	}
	for text, want := range map[string]time.Duration{"22:00": 10 * time.Hour, "11:59": 24*time.Hour - time.Minute, "12:00": 24 * time.Hour, "2026-11-23 08:00": 20 * time.Hour,
		now.Add(time.Hour).UTC().Format(time.RFC3339): time.Hour, "tomorrow": 0, "25:00": 0} {
		if got, err := instant(text, now); err == nil && !got.Equal(now.Add(want)) || (err == nil) != (want > 0) {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
}

// What was meant for a time and stays is found.
func TestLookAtAccess(t *testing.T) {
	gw, c := newGateway(t)
	inProcess(t, exit.Done, "device", "add", "ct-2", "--dir", gw, "--class", "imaging/ct", "--protocol", "dicom", "--address", "127.0.0.1", "--port", "104", "--listen", "127.0.0.1:11112")
	now := time.Now().Add(-60 * 24 * time.Hour)
	var l access.Ledger
	make := func(f access.Fact) {
		t.Helper()
		f.Reason, f.By = "x", "root"
		var err error
		if l, _, err = l.Make(f, now); err != nil {
			t.Fatal(err)
		}
	}
	make(access.Fact{Kind: access.Quarantine, Device: "ct-2", From: now})
	make(access.Fact{Kind: access.Quarantine, Device: "ct-9", From: now})
	l, _ = l.Advance(now)
	now = time.Now()
	make(access.Fact{Kind: access.Maintenance, Device: "ct-2", From: now, Until: now.Add(5 * 24 * time.Hour)})
	for range manyGrants {
		make(access.Fact{Kind: access.Grant, Subject: "vendor/acme", Device: "ct-2", Classes: []policy.Class{policy.ClassRead}, From: now, Until: now.Add(25 * time.Hour)})
	}
	if err := os.Mkdir(filepath.Dir(filepath.Join(c.Gateway.State, daemon.LedgerFile)), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := l.Write(filepath.Join(c.Gateway.State, daemon.LedgerFile)); err != nil {
		t.Fatal(err)
	}
	edit(t, c, "grants.rego", "data.access.grants", "data.roles.grants")
	loaded, err := config.Load(filepath.Join(gw, config.FileName))
	if err != nil {
		t.Fatal(err)
	}
	loaded.Devices[0].State = policy.StateMaintenance
	x := &examination{config: loaded}
	lookAtAccess(t.Context(), x)
	for _, want := range []string{"has ct-2 in maintenance, without an end", "vendor/acme on ct-2 was granted 5 times", "is about ct-9", "lasts 25h0m0s", "lasts 120h0m0s", "has had ct-2 quarantined for 1440h", "no rule of the policy reads data.access"} {
		found := false
		for _, f := range x.findings {
			found = found || strings.Contains(f.Evidence, want)
		}
		if !found {
			t.Errorf("nothing found about %q: %+v", want, x.findings)
		}
	}
}

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cordon/cmd/cordon/exit"
)

// What a server answers that has no list, which curl without --fail takes for one.
const errorPage = "<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head></html>\n"

// restartedWithoutLists starts a gateway again and again after a download that went wrong. What it knew
// before, it knows again; without that it refuses whom it knows nothing of, and nobody else.
func restartedWithoutLists(t *testing.T, cordon string) {
	s := newHospitalCA(t, cordon)
	s.list(t)
	first := s.read(t, "gw/hospital.crl")
	m := s.monitored(t)
	const ok = `cordon_reload_last_successful{source="revocation-lists"}`
	kept := filepath.Join(s.gw(), "state", "ca", "lists")
	everybody := func(when string, lab bool) {
		t.Helper()
		s.enters(t, when, "engine", true)
		s.enters(t, when, "lab", lab)
		s.enters(t, when, "pacs", false)
	}
	told := func(when, text string) {
		t.Helper()
		if !eventually(func() bool { return s.mentioned(t, text) > 0 }) {
			t.Errorf("%s, there is no entry %q", when, text)
		}
		m.shows(t, map[string]float64{ok: 0, `cordon_alarms_raised_total{name="certificates"}`: 1})
		for _, command := range [][]string{{"check", "-c", s.path("gw/cordon.yaml")}, {"doctor", "--dir", s.gw()}} {
			if out := s.run(t, command...); out.code != exit.Findings || !strings.Contains(out.stdout+out.stderr, text) || !strings.Contains(out.stdout+out.stderr, "rename them into place as "+s.path("gw/hospital.crl")) {
				t.Errorf("%s, %s exits with %d, and without %q: %s%s", when, command[0], out.code, text, out.stdout, out.stderr)
			}
		}
	}

	d := s.serve(t)
	s.enters(t, "at first", "pacs", true)
	keeps := func() (text []byte) {
		all, _ := filepath.Glob(filepath.Join(kept, "*.crl"))
		if len(all) == 1 {
			text, _ = os.ReadFile(all[0])
		}
		return text
	}
	keptAnother := func(than []byte) []byte {
		t.Helper()
		if !eventually(func() bool { return !bytes.Equal(keeps(), than) }) {
			t.Fatal("the list is not kept")
		}
		return keeps()
	}
	before := keptAnother(nil)
	s.revokes(t, "pacs")
	s.list(t)
	keptAnother(before)
	everybody("revoked", true)

	s.write(t, "gw/hospital.crl", errorPage)
	d.stop(t)
	d = s.serve(t)
	everybody("started with a page", true)
	told("started with a page", `it begins with "<!DOCTYPE html>`)
	d.stop(t)

	s.write(t, "gw/hospital.crl", first)
	d = s.serve(t)
	everybody("started with an older list", true)
	told("started with an older list", "has number 1, older than 2, the one known")
	s.keys(t)
	if err := os.Remove(s.path("gw/hospital.crl")); err != nil {
		t.Fatal(err)
	}
	s.backUp(t, "lists.backup")
	there := s.elsewhere(t, "lists.backup", "engine.pem", "engine.key", "lab.pem", "lab.key", "pacs.pem", "pacs.key")
	d.kill()
	there.restore(t, "lists.backup", there.gw())
	restored := &hospitalCA{there, s.program}
	d = there.serve(t)
	restored.enters(t, "restored without a file", "engine", true)
	restored.enters(t, "restored without a file", "lab", true)
	restored.enters(t, "restored without a file", "pacs", false)
	d.stop(t)

	if err := os.RemoveAll(kept); err != nil {
		t.Fatal(err)
	}
	d = s.serve(t)
	everybody("started with nothing", false)
	told("started with nothing", "no such file or directory: what was known stays in use")
	s.explained(t, s.lastRefusal(t), `revocation of the client certificate unknown: there is no list of "St Elsewhere"`, "cordon doctor")
	s.list(t)
	m.shows(t, map[string]float64{ok: 1})
	everybody("with a list again", true)
	d.stop(t)

	if err := os.Remove(s.path("gw/hospital.crl")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(s.path("gw/hospital.crl"), 0o700); err != nil {
		t.Fatal(err)
	}
	if out := s.run(t, "run", "-c", s.path("gw/cordon.yaml")); out.code == exit.Done || !strings.Contains(out.stderr, "want a file, and no directory") {
		t.Errorf("with a directory for a file, the start ends with %d: %s", out.code, out.stderr)
	}
}

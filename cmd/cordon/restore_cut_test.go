package main

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/home"
)

// cut is a restore that is killed at every step.
type cut struct {
	*site
	places []string // below which it writes, in the site's directory; the configuration is in the first
	saved  string   // what is there at first, place by place
	before map[string]string
	after  map[string]string // what a restore makes of it
	args   []string
}

// newCut notes what is there.
func newCut(t *testing.T, s *site, places, args []string) *cut {
	t.Helper()
	x := &cut{site: s, places: places, saved: t.TempDir(), args: append([]string{"restore", "ward.backup", "--dir", places[0], "--identity", "ward.key", "--yes"}, args...)}
	for _, place := range places {
		if _, err := os.Stat(s.path(place)); err == nil {
			copyAll(t, s.path(place), filepath.Join(x.saved, place))
		}
	}
	x.before = x.there(t)
	return x
}

func copyAll(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
}

// reset has everything be as at first.
func (x *cut) reset(t *testing.T) {
	t.Helper()
	for _, place := range x.places {
		if err := os.RemoveAll(x.path(place)); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(x.saved, place)); err == nil {
			copyAll(t, filepath.Join(x.saved, place), x.path(place))
		}
	}
}

// there is every file in the places, but for what restores have there.
func (x *cut) there(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, place := range x.places {
		if _, err := os.Stat(x.path(place)); err != nil {
			continue
		}
		for name, text := range tree(t, x.path(place)) {
			if !slices.ContainsFunc(strings.Split(name, "/"), home.OfRestore) && filepath.Base(name) != "lock" {
				all[place+"/"+name] = text
			}
		}
	}
	return all
}

// sameEachTime is what two restores of one backup have alike: not the time in the log, nor the pages of
// the authority's database.
func sameEachTime(files map[string]string) map[string]string {
	files = maps.Clone(files)
	maps.DeleteFunc(files, func(name, _ string) bool {
		return strings.Contains(name, "/audit/") || strings.Contains(name, "log/") || strings.HasSuffix(name, "ca/issued.db") || strings.HasSuffix(name, "ca/crl.pem")
	})
	return files
}

// keptAside reports whether all that was there is kept somewhere.
func (x *cut) keptAside(t *testing.T) bool {
	t.Helper()
	have := map[string]bool{}
	for _, place := range x.places {
		if _, err := os.Stat(x.path(place)); err != nil {
			continue
		}
		for name, text := range tree(t, x.path(place)) {
			parts := strings.Split(name, "/")
			i := slices.IndexFunc(parts, home.OfRestore)
			if i >= 0 {
				parts = slices.Delete(parts, i, i+1)
			}
			have[place+"/"+strings.Join(parts, "/")+"\x00"+text] = true
		}
	}
	for name, text := range x.before {
		if !have[name+"\x00"+text] {
			return false
		}
	}
	return true
}

// everywhere kills the restore before every step-th call that changes files from where it notes what is to be moved to
// where it forgets that, and before some of the others; with CORDON_SOAK, before every one of the former.
func (x *cut) everywhere(t *testing.T, step int) {
	t.Helper()
	calls, ended, out := x.killed(t, -1, x.args...)
	if !ended || out.code != exit.Done {
		t.Fatalf("unhindered it exits with %d: %s", out.code, out.stderr)
	}
	x.after = x.there(t)
	x.must(t, "check", "--dir", x.places[0])
	note := slices.IndexFunc(calls, func(c string) bool {
		return strings.HasPrefix(c, "openat "+x.path(x.places[0])+"/"+home.StagingPrefix) && strings.HasSuffix(c, ".json.new")
	})
	if note < 0 {
		t.Fatalf("nothing is moved: %q", calls)
	}
	done := slices.IndexFunc(calls, func(c string) bool { return strings.HasPrefix(c, "unlinkat ") && strings.HasSuffix(c, "Z.json") })
	if os.Getenv("CORDON_SOAK") != "" {
		step = 1
	}
	var at []int
	for n := 1; n <= len(calls); n++ {
		if n > note-4 && n < done+4 && n%step == 0 || n%40 == 0 {
			at = append(at, n)
		}
	}
	ways := map[string]int{}
	for _, n := range at {
		x.reset(t)
		_, ended, _ := x.killed(t, n, x.args...)
		way := x.leftBy(t, n, calls[n-1])
		if ended {
			way += ", not killed"
		}
		ways[way]++
		if t.Failed() {
			return
		}
	}
	t.Logf("%d calls, killed before %d of them, %d since it was noted what is moved: %v", len(calls), len(at), len(calls)-note, ways)
}

// leftBy looks at what a restore left that was killed, and does it again.
func (x *cut) leftBy(t *testing.T, n int, call string) (way string) {
	t.Helper()
	is := x.there(t)
	check := x.run(t, "check", "--dir", x.places[0])
	start := home.CheckWhole(filepath.Join(x.path(x.places[0]), "cordon.yaml"))
	switch {
	case equalTrees(is, x.before) && (len(x.before) == 0 || check.code == exit.Done && start == nil):
		way = "old"
	case equalTrees(sameEachTime(is), sameEachTime(x.after)) && check.code == exit.Done && start == nil:
		way = "new"
	case check.code == exit.Conflict && strings.Contains(check.stderr, "code: restore.unfinished\n") && start != nil:
		way = "neither, and it says so"
		if n%3 > 0 { // it takes its time
			break
		}
		if run := x.run(t, "run", "-c", filepath.Join(x.places[0], "cordon.yaml")); run.code != exit.Conflict || !strings.Contains(run.stderr, "cordon restore again") {
			t.Errorf("killed before call %d, %s: run exits with %d: %s", n, call, run.code, run.stderr)
		}
		if init := x.run(t, "init", x.places[0]); init.code != exit.Conflict || !equalTrees(is, x.there(t)) {
			t.Errorf("killed before call %d, %s: init exits with %d: %s", n, call, init.code, init.stderr)
		}
	default:
		t.Errorf("killed before call %d, %s: check exits with %d: %s; %v\nwhat is there is %q", n, call, check.code, check.stderr, start, slices.Sorted(maps.Keys(is)))
	}
	if !x.keptAside(t) {
		t.Errorf("killed before call %d, %s: something is lost", n, call)
	}
	if out := x.run(t, x.args...); out.code != exit.Done {
		t.Errorf("killed before call %d, %s: done again, it exits with %d: %s", n, call, out.code, out.stderr)
		return way
	}
	if again := x.there(t); !equalTrees(sameEachTime(again), sameEachTime(x.after)) || !x.keptAside(t) {
		t.Errorf("killed before call %d, %s: done again, there is %q, want %q", n, call, slices.Sorted(maps.Keys(again)), slices.Sorted(maps.Keys(x.after)))
	}
	for _, place := range x.places {
		if left, _ := filepath.Glob(filepath.Join(x.path(place), home.StagingPrefix+"*")); len(left) > 0 {
			t.Errorf("killed before call %d, %s: done again, it leaves %q", n, call, left)
		}
	}
	return way
}

// changedSince is a site whose gateway has gone on since its backup.
func changedSince(t *testing.T, s *site) {
	t.Helper()
	s.access(t, "device", "quarantine", "mon-7", "--until-released", "--reason", "INC-1")
	s.revoke(t, "oie")
	s.edit(t, "policy/data.yaml", "  interface-engine:\n", "  # since the backup\n  interface-engine:\n")
}

// restoresCutShort: over a gateway, and where there is none.
func restoresCutShort(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.issueStaff(t)
	s.keys(t)
	s.backUp(t, "ward.backup")
	changedSince(t, s)
	newCut(t, s, []string{"gw"}, nil).everywhere(t, 1)
	newCut(t, s, []string{"nowhere"}, nil).everywhere(t, 4)
}

// restoresCutShortApart: the state, the log and a file that the configuration names lie elsewhere.
func restoresCutShortApart(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.issueStaff(t)
	s.keys(t)
	if err := os.Mkdir(s.path("pki"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.write(t, "pki/hospital.pem", s.read(t, "gw/state/ca/root.pem"))
	s.configure(t, "# trust_file: hospital.pem # believe these roots too", "trust_file: "+s.path("pki/hospital.pem"))
	s.configure(t, "  checkpoint: 1s", "  dir: state/audit\n  checkpoint: 1s")
	s.backUp(t, "first.backup")
	if err := os.RemoveAll(s.gw()); err != nil {
		t.Fatal(err)
	}
	s.must(t, "restore", "first.backup", "--dir", "gw", "--state", "state", "--audit", "log", "--identity", "ward.key")
	s.backUp(t, "ward.backup")
	changedSince(t, s)
	if err := os.Remove(s.path("pki/hospital.pem")); err != nil {
		t.Fatal(err)
	}
	s.edit(t, "cordon.yaml", "trust_file: "+s.path("pki/hospital.pem"), "# trust_file: ")
	newCut(t, s, []string{"gw", "state", "log", "pki"}, []string{"--state", "state", "--audit", "log", "--outside"}).everywhere(t, 4)
	if out := s.run(t, "restore", "ward.backup", "--dir", "gw", "--identity", "ward.key", "--state", "state", "--audit", "log", "--yes"); out.code != exit.Done {
		t.Errorf("where the file is, it exits with %d: %s", out.code, out.stderr)
	}
}

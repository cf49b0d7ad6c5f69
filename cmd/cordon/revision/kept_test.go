package revision

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/home"
	"cordon/cmd/cordon/signed"
	"cordon/policy/rego"
)

// grantedTo is a policy under one grant more.
func grantedTo(t *testing.T, e *rego.Engine, n int) *rego.Engine {
	t.Helper()
	x, err := e.With(fmt.Appendf(nil, `{"grants":{"user/u-%d":{}}}`, n))
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// keptFiles are the names below STATE/policies.
func keptFiles(t *testing.T, c *config.Config) (names []string) {
	t.Helper()
	dir := KeptIn(c).Dir
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func keptGateway(t *testing.T) (*config.Config, Kept, *rego.Engine) {
	t.Helper()
	c, _, err := home.Init(filepath.Join(t.TempDir(), "gw"), "cordon", "cordon.internal", "state")
	if err != nil {
		t.Fatal(err)
	}
	e, err := Load(c)
	if err != nil {
		t.Fatal(err)
	}
	return c, KeptIn(c), e
}

// TestKeptOnce keeps a policy under many grants: each costs a listing and one small file, and each can be opened.
func TestKeptOnce(t *testing.T) {
	c, kept, e := keptGateway(t)
	if err := kept.Keep(e); err != nil {
		t.Fatal(err)
	}
	first := keptFiles(t, c)
	const grants = 20
	for i := range grants {
		if err := kept.Keep(grantedTo(t, e, i)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(keptFiles(t, c)); n != len(first)+2*grants {
		t.Errorf("%d grants made %d files of %d", grants, n, len(first))
	}
	for i := range grants {
		x := grantedTo(t, e, i)
		got, err := kept.Open(DigestsOf(x))
		if err != nil || DigestsOf(got) != DigestsOf(x) || string(got.Access()) != string(x.Access()) {
			t.Errorf("what was kept is another policy: %v", err)
		}
		if access, ok := kept.Access(DigestsOf(x)); !ok || string(access) != string(x.Access()) {
			t.Errorf("what was granted is %q, want %q", access, x.Access())
		}
	}
	if access, ok := kept.Access(DigestsOf(e)); !ok || access != nil {
		t.Errorf("without a grant, %q was granted", access)
	}

	// Nobody is told what was changed on disk since, and nothing is asked of it.
	x := grantedTo(t, e, 3)
	sum := signed.Digest(x.Access())
	if err := os.WriteFile(kept.file(sum), pressed([]byte(`{"grants":{}}`)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok := kept.Access(DigestsOf(x)); ok {
		t.Error("what was granted is read from a changed file")
	}
	if _, err := kept.Open(DigestsOf(x)); err == nil || exit.Errors(err)[0].Code != "policy.kept_changed" {
		t.Errorf("a policy with a changed file is opened: %v", err)
	}
}

// TestPruned removes what decided long ago, and nothing that is needed, shared or recent.
func TestPruned(t *testing.T) {
	c, kept, e := keptGateway(t)
	now := time.Now()
	all := []*rego.Engine{e}
	for i := range keptAlways + 50 {
		all = append(all, grantedTo(t, e, i))
	}
	file := filepath.Join(c.Policy.Dir, "data.yaml")
	text, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, bytes.Replace(text, []byte(`"*": [read, query]`), []byte(`"*": [read]`), 1), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	edited, err := Load(c)
	if err != nil {
		t.Fatal(err)
	}
	all = append(all, edited)
	for i, x := range all { // the first is the one that decided last
		if err := kept.Keep(x); err != nil {
			t.Fatal(err)
		}
		was := now.Add(-time.Duration(i) * time.Hour)
		if err := os.Chtimes(kept.listing(DigestsOf(x)), was, was); err != nil {
			t.Fatal(err)
		}
	}
	stray := kept.file(strings.Repeat("0", 64)) // of a keep that was cut short
	if err := os.WriteFile(stray, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	needed := all[keptAlways+10]
	removed, err := kept.Prune([]Digests{DigestsOf(needed)}, now.Add(-(keptAlways+20)*time.Hour-time.Minute))
	if err != nil || removed != len(all)-(keptAlways+21) {
		t.Errorf("%d of %d were removed, %v", removed, len(all), err)
	}
	for i, x := range all {
		_, err := kept.Open(DigestsOf(x))
		if gone := errors.Is(err, fs.ErrNotExist); gone != (i > keptAlways+20) || err != nil && !gone {
			t.Errorf("policy %d: %v", i, err)
		}
	}
	if _, err := os.Stat(stray); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that nothing needs is there: %v", err)
	}

	// As if the clock had jumped: what is needed and the latest stay, whatever their age.
	if removed, err = kept.Prune([]Digests{DigestsOf(needed)}, now.Add(1000*time.Hour)); err != nil || removed != 20 {
		t.Errorf("%d were removed, %v", removed, err)
	}
	for i, x := range all[:keptAlways] {
		if _, err := kept.Open(DigestsOf(x)); err != nil {
			t.Errorf("policy %d: %v", i, err)
		}
	}
	if _, err := kept.Open(DigestsOf(needed)); err != nil {
		t.Errorf("what is needed is gone: %v", err)
	}
	if err := kept.Keep(edited); err != nil { // comes back whole
		t.Fatal(err)
	}
	if _, err := kept.Open(DigestsOf(edited)); err != nil {
		t.Error(err)
	}

	// What needs which file must be known before a file goes.
	if err := os.WriteFile(kept.listing(DigestsOf(all[3])), []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := keptFiles(t, c)
	if _, err := kept.Prune(nil, now); err == nil {
		t.Error("files are removed beside a listing that cannot be read")
	}
	if after := keptFiles(t, c); !slices.Equal(before, after) {
		t.Errorf("%d files are left of %d", len(after), len(before))
	}
}

// TestNeeded protects what may decide again without anybody bringing it.
func TestNeeded(t *testing.T) {
	o := newOffice(t)
	w := o.open(t)
	for _, name := range []string{"a", "b"} {
		n := o.must(t, w, o.submission(t, w, "kim", name, nil)).Number
		o.must(t, w, o.opinion(t, w, "ada", "approve", n, nil))
		o.must(t, w, &Step{Do: "rollout", Number: n, Stage: "all"})
	}
	deciding := grantedTo(t, w.Source.Current, 1)
	needed := w.Source.Needed(deciding, nil)
	for _, r := range append(slices.Clone(w.Source.State.Past), w.Source.State.Current) {
		if !slices.Contains(needed, Digests{r.Policy, r.Data}) {
			t.Errorf("revision %d could be removed", r.Number)
		}
	}
	if len(w.Source.State.Past) != 2 || !slices.Contains(needed, DigestsOf(deciding)) {
		t.Errorf("needed: %v of %+v", needed, w.Source.State)
	}
}

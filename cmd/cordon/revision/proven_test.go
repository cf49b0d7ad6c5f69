package revision

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/home"
)

// ward is a gateway's directory whose files a test edits, and which it starts.
type ward struct {
	*testing.T
	dir  string
	file string
	c    *config.Config
}

func newWard(t *testing.T) *ward {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "gw")
	_, file, err := home.Init(dir, "cordon", "cordon.internal", "state")
	if err != nil {
		t.Fatal(err)
	}
	return &ward{T: t, dir: dir, file: file}
}

func (w *ward) replace(name, old, new string) {
	w.Helper()
	name = filepath.Join(w.dir, name)
	text, err := os.ReadFile(name)
	if err == nil && !bytes.Contains(text, []byte(old)) {
		w.Fatalf("%s has no %q", name, old)
	}
	if err == nil {
		err = os.WriteFile(name, bytes.Replace(text, []byte(old), []byte(new), 1), 0o600)
	}
	if err != nil {
		w.Fatal(err)
	}
}

// start starts it, and has what decides remembered. It returns the code of why it does not start, and of why
// the folder is refused.
func (w *ward) start() (f *Source, code, refused string) {
	w.Helper()
	var err error
	if w.c, err = config.Load(w.file); err != nil {
		w.Fatal(err)
	}
	if f, err = Start(w.Context(), w.c, true); err != nil {
		return nil, exit.Errors(err)[0].Code, ""
	}
	if err := f.Remember(w.c); err != nil {
		w.Fatal(err)
	}
	if f.Refused != nil {
		refused = exit.Errors(f.Refused)[0].Code
	}
	return f, "", refused
}

const (
	rules       = "policy/cordon.rego"
	known, open = "known if input.operation.class != \"unknown\"", "known if true" // which a test of the policy's says
)

// TestStartProves has the folder edited between two starts: what a reload would refuse does not come into force by a restart.
func TestStartProves(t *testing.T) {
	w := newWard(t)
	w.replace(rules, known, open)
	if _, code, _ := w.start(); code != "policy.test" {
		t.Errorf("the first start, with a test that fails: %q", code)
	}
	w.replace(rules, open, known)
	first, code, _ := w.start()
	if code != "" {
		t.Fatalf("as it is written: %s", code)
	}
	for _, c := range []struct{ what, old, new, code string }{
		{"with a test that fails", known, open, "policy.test"},
		{"with a rule that does not compile", known, "known if", "policy.syntax"},
		{"with a device's facts misspelt", known, known + "\n\nknown if input.devise.state == \"x\"", "policy.type"},
	} {
		w.replace(rules, c.old, c.new)
		f, code, refused := w.start()
		if code != "" || refused != c.code || DigestsOf(f.Current) != DigestsOf(first.Current) {
			t.Errorf("%s: %q, the folder is refused for %q, want %q; %v decides", c.what, code, refused, c.code, f)
		}
		w.replace(rules, c.new, c.old)
	}
	if err := os.Rename(filepath.Join(w.dir, "policy"), filepath.Join(w.dir, "away")); err != nil {
		t.Fatal(err)
	}
	if f, _, refused := w.start(); refused != "policy.missing" || f == nil {
		t.Errorf("without the folder it is refused for %q", refused)
	}
	if err := os.Rename(filepath.Join(w.dir, "away"), filepath.Join(w.dir, "policy")); err != nil {
		t.Fatal(err)
	}
	w.replace(rules, known, known+"\n\nmore if known")
	f, _, refused := w.start()
	if refused != "" || DigestsOf(f.Current) == DigestsOf(first.Current) {
		t.Errorf("with an edit that passes its tests, it is refused for %q", refused)
	}
	w.replace(rules, known, open)
	if again, _, refused := w.start(); refused != "policy.test" || DigestsOf(again.Current) != DigestsOf(f.Current) {
		t.Errorf("another edit is refused for %q, and what was in force before does not decide", refused)
	}
}

// TestStartOfOtherFolder: what one folder held says nothing of another, nor of what two people have in force.
func TestStartOfOtherFolder(t *testing.T) {
	w := newWard(t)
	if _, code, _ := w.start(); code != "" {
		t.Fatal(code)
	}
	if err := os.CopyFS(filepath.Join(w.dir, "next"), os.DirFS(filepath.Join(w.dir, "policy"))); err != nil {
		t.Fatal(err)
	}
	w.replace("next/cordon.rego", known, open)
	w.replace("cordon.yaml", "dir: policy", "dir: next")
	if _, code, _ := w.start(); code != "policy.test" {
		t.Errorf("another folder: %q", code)
	}
	w.replace("cordon.yaml", "dir: next", "dir: policy")
	w.replace("cordon.yaml", "policy:\n", "policy:\n  approval: { authors: [security], approvers: [lead] }\n")
	w.replace(rules, known, open)
	if _, code, _ := w.start(); code != "policy.test" {
		t.Errorf("as the first revision: %q", code)
	}
	w.replace(rules, open, known)
	f, code, _ := w.start()
	if code != "" {
		t.Fatalf("as the first revision, repaired: %s", code)
	}
	o := newOffice(t)
	if err := f.Keep(w.c, "test", o.record); err != nil {
		t.Fatal(err)
	}
	w.replace(rules, known, open)
	if _, code, _ := w.start(); code != "" {
		t.Errorf("with a revision in force, whatever the folder holds: %q", code)
	}
	w.replace("cordon.yaml", "  approval: { authors: [security], approvers: [lead] }\n", "")
	if _, code, _ := w.start(); code != "policy.test" {
		t.Errorf("with what was in force before that: %q", code)
	}
}

// TestProvenDamaged: a record that cannot be read is no policy, and no reason not to start by the folder.
func TestProvenDamaged(t *testing.T) {
	w := newWard(t)
	f, code, _ := w.start()
	if code != "" {
		t.Fatal(code)
	}
	path := filepath.Join(w.c.Gateway.State, ProvenFile)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "{", strings.Replace(string(good), DigestsOf(f.Current).Policy, strings.Repeat("0", 64), 1)} {
		for _, edit := range []struct{ old, new, code string }{{known, known, ""}, {known, open, "policy.test"}} {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			w.replace(rules, edit.old, edit.new)
			if _, code, refused := w.start(); code != edit.code || refused != "" {
				t.Errorf("%q: %q, refused %q, want %q", text, code, refused, edit.code)
			}
			w.replace(rules, edit.new, edit.old)
		}
	}
}

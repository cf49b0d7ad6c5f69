package rego

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cordon/policy"
)

// granting allows whom data.access says, as the shipped rules do.
const granting = `package cordon

default allow := false

allow if some _ in grants

grants := data.access.grants[input.subject.id]

valid_until := max({g.until_ns | some g in grants})
`

func grantTo(subject string, until int64) []byte {
	return fmt.Appendf(nil, `{"grants":{%q:{"G-1":{"until_ns":%d}}}}`, subject, until)
}

// The engine with access decides by it, names it in its digest, and archives it; the one
// without is untouched.
func TestWith(t *testing.T) {
	plain := load(t, map[string]string{"a.rego": granting, "data.yaml": "roles: {}\n"})
	asked := request("write")
	if d := plain.Decide(t.Context(), asked); d.Allow {
		t.Fatalf("without a grant: %+v", d)
	}
	access := grantTo(asked.Subject.ID, asked.NowNs+5)
	granted, err := plain.With(access)
	if err != nil {
		t.Fatal(err)
	}
	if granted.Revision() != plain.Revision() || granted.Data() == plain.Data() {
		t.Errorf("digests %s %s, before %s %s", granted.Revision(), granted.Data(), plain.Revision(), plain.Data())
	}
	if d := granted.Decide(t.Context(), asked); !d.Allow || d.ValidUntil != asked.NowNs+5 || d.Data != granted.Data() {
		t.Errorf("with a grant: %+v", d)
	}
	if d := plain.Decide(t.Context(), asked); d.Allow {
		t.Errorf("the engine without it now decides %+v", d)
	}
	archived, err := LoadArchive(granted.Archive())
	if err != nil {
		t.Fatal(err)
	}
	if d := archived.Decide(t.Context(), asked); !d.Allow || archived.Data() != granted.Data() || string(archived.Access()) != string(access) {
		t.Errorf("archived: %+v, data %s", d, archived.Data())
	}
	if again, err := granted.With(access); err != nil || again != granted {
		t.Errorf("the same once more makes another engine, %v", err)
	}
	back, err := granted.With(nil)
	if err != nil || back.Data() != plain.Data() || string(back.Archive()) != string(plain.Archive()) {
		t.Errorf("taken back: data %s, %v; before %s", back.Data(), err, plain.Data())
	}
	if d := back.Decide(t.Context(), asked); d.Allow {
		t.Errorf("taken back: %+v", d)
	}
	for _, bad := range []string{"", "[]", "null", "{", `{"grants":1} x`} {
		if _, err := plain.With([]byte(bad)); err == nil {
			t.Errorf("%q is taken for data.access", bad)
		}
	}
}

func TestReadsAccess(t *testing.T) {
	for rules, want := range map[string]bool{granting: true, "package cordon\n\nallow if data.access\n": true,
		"package cordon\n\nallow if data.accessories.x\n": false, "package cordon\n\nallow if input.phase == \"access\"\n": false,
		"package cordon\n\nallow if data.access.emergencies.x\n": false, "package cordon\n\nallow if data.access[_].x\n": true} {
		if e := load(t, map[string]string{"a.rego": rules, "data.yaml": "accessories: {}\n"}); e.ReadsAccess("grants") != want {
			t.Errorf("%s\nreads data.access: %v", rules, !want)
		}
	}
}

// What was permitted until a moment is refused from then on, with that for a reason, also by the engine that permitted it.
func TestPastItsEnd(t *testing.T) {
	plain := load(t, map[string]string{"a.rego": granting + "\nrule := \"grant G-1\" if allow\n"})
	asked := request("write")
	end := time.Date(2026, 11, 22, 14, 0, 0, 0, time.UTC).UnixNano()
	e, err := plain.With(grantTo(asked.Subject.ID, end))
	if err != nil {
		t.Fatal(err)
	}
	for now, allow := range map[int64]bool{end - 1: true, end: false, end + 1: false} {
		asked.NowNs = now
		d := e.Decide(t.Context(), asked)
		if d.Allow != allow || d.Cause != policy.CausePolicy || !allow && d.Reason != "grant G-1: permitted until 2026-11-22T14:00:00Z" {
			t.Errorf("%d ns from the end: %+v", now-end, d)
		}
	}
}

// A folder cannot bring grants of its own.
func TestAccessIsReserved(t *testing.T) {
	for name, text := range map[string]string{
		"access/data.json": `{"grants":{}}`, "access/data.yaml": "grants: {}", "access/deeper/data.json": "{}", "data.yaml": "access: {grants: {}}\nroles: {}",
	} {
		dir := t.TempDir()
		for file, content := range map[string]string{"a.rego": granting, name: text} {
			if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(file)), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, err := Load(dir)
		problems, ok := errors.AsType[*Problems](err)
		if !ok || len(problems.List) != 1 || problems.List[0].Code != "policy.data.access" || !strings.HasSuffix(problems.List[0].File, name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What With was given stands in an archive, and nothing beside it: neither a part of another file, nor the same file again.
func TestAccessInArchive(t *testing.T) {
	e, err := load(t, map[string]string{"a.rego": granting, "data.yaml": "roles: {}"}).With([]byte(`{"grants":{}}`))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := LoadArchive(e.Archive()); err != nil || !bytes.Equal(again.Access(), e.Access()) {
		t.Errorf("as it is: %v", err)
	}
	files := e.Sources()
	for name, more := range map[string]Source{
		"beside it":       {"lib/data.json", []byte(`{}`)},
		"in another":      {"data.json", []byte(`{"access":{"grants":{"user/x":{}}}}`)},
		"null":            {"data.json", []byte(`{"access":{"learning":null}}`)},
		"below it":        {"access/learning/data.json", []byte(`{"mon-7":1}`)},
		"a second one":    {accessFile, []byte(`{"grants":{"user/x":{}}}`)},
		"rules of a name": {"a.rego", []byte("package cordon\nallow := true\n")},
	} {
		_, err := LoadArchive(tarOf(files, []Source{more}))
		if (err == nil) != (name == "beside it") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A replay asks under what was granted when a question was asked: an edit of something else
// changes nothing for those who had a grant, although that is over.
func TestReplayUnderGrants(t *testing.T) {
	plain := load(t, map[string]string{"a.rego": granting})
	edited := load(t, map[string]string{"a.rego": granting + "\nrule := \"edited\" if allow\n"})
	asked := request("write")
	granted, err := plain.With(grantTo(asked.Subject.ID, asked.NowNs+5))
	if err != nil {
		t.Fatal(err)
	}
	kept := map[string]*Engine{plain.Data(): plain, granted.Data(): granted}
	r := edited.NewReplay(func(string) bool { return false })
	if err := r.AccessBy(func(_, data string) ([]byte, bool) {
		e := kept[data]
		if e == nil {
			return nil, false
		}
		return e.Access(), true
	}); err != nil {
		t.Fatal(err)
	}
	var list []Recorded
	for i, e := range []*Engine{granted, plain, granted, plain} {
		rec := recorded(int64(i), asked, false)
		rec.Decision = e.Decide(t.Context(), asked)
		list = append(list, rec)
	}
	lost := recorded(9, asked, true)
	for _, rec := range append(list, lost) {
		if err := r.Add(t.Context(), &rec); err != nil {
			t.Fatal(err)
		}
	}
	x := r.Report()
	if x.Allowed != 2 || x.Denied != 2 || len(x.Groups) != 1 || x.Count(NotReplayed, false) != 1 || x.Policy != edited.Revision() || x.Data != edited.Data() {
		t.Errorf("%+v", x)
	}
}

// BenchmarkWith is what 2,000 grants cost to bring into force, beside none.
func BenchmarkWith(b *testing.B) {
	e, err := Load(shippedDir(b))
	if err != nil {
		b.Fatal(err)
	}
	for _, n := range []int{0, 1, 2000} {
		b.Run(fmt.Sprintf("%d grants", n), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				access := manyGrants(b, n, int64(i))
				made, err := e.With(access)
				if err != nil {
					b.Fatal(err)
				}
				r := request("read")
				made.Decide(context.Background(), r)
			}
		})
	}
}

func manyGrants(tb testing.TB, n int, until int64) []byte {
	grants := map[string]map[string]any{}
	for i := range n {
		grants[fmt.Sprintf("vendor/maker-%d", i/4)] = map[string]any{fmt.Sprintf("G-%05d", i): map[string]any{
			"device": fmt.Sprintf("ct-%d", i), "device_class": "", "classes": []string{"read", "query"}, "until_ns": 1<<60 + until}}
	}
	b, err := json.Marshal(map[string]any{"grants": grants})
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/revision"
	"cordon/policy/rego"
)

// tellKeptPolicies has a policy decide, replaces it, and lets the time pass for which policy.keep keeps it, and the hundred
// policies that are kept in any case. Then why and replay say what they do not know any more.
func tellKeptPolicies(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.configure(t, "policy:\n", "policy:\n  keep: 24h\n")
	s.issueStaff(t)
	asks := func() (code, revision, data string) {
		t.Helper()
		d := s.serve(t)
		refused := send(t, s.dial(t, "nurse"), framed(message("ORU^R01", "N1", "2.5.1")))
		send(t, s.dial(t, "engine"), framed(message("ORU^R01", "E1", "2.5.1")))
		d.stop(t)
		code = decisionCode.FindString(refused[strings.Index(refused, "ERR|"):])
		var entry struct{ Policy, Data string }
		s.decode(t, &entry, "audit", "show", code, "--json", "--dir", s.gw())
		return code, entry.Policy, entry.Data
	}
	before, rules, data := asks()
	s.inTables(t, "# At any time.\n", "# At any time:\n")
	s.inTables(t, "\nae_titles: {}\n", "\nae_titles: {user/dr.kim: [KIM-WS]}\n")
	after, _, edited := asks()
	if data == edited {
		t.Fatal("the policy is the same")
	}
	s.explained(t, before, "\nrule ", "the policy has been edited since")
	var all replayed
	s.decode(t, &all, "policy", "replay", "--since", "1h", "--json", "--dir", s.gw())

	c, err := config.Load(s.path("gw/cordon.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	kept := revision.KeptIn(c)
	files, err := kept.List()
	if err != nil {
		t.Fatal(err)
	}
	was := time.Now().Add(-24*time.Hour - revision.PruneEvery - time.Minute)
	decides := ""
	for _, f := range files {
		l, err := kept.Read(f.Path)
		if err == nil {
			err = os.Chtimes(f.Path, was, was)
		}
		if err != nil {
			t.Fatal(err)
		}
		if l.Data == edited {
			decides = f.Path
		}
	}
	d := s.serve(t)
	if !eventually(func() bool { info, err := os.Stat(decides); return err == nil && info.ModTime().After(was) }) {
		t.Error("that a policy decides again is not noted")
	}
	d.stop(t)
	s.explained(t, before, "\nrule ") // it is one of the latest

	now, err := revision.Load(c)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 { // as with so many grants, one after the other
		x, err := now.With(fmt.Appendf(nil, `{"grants":{"user/u-%d":{}}}`, i))
		if err == nil {
			err = kept.Keep(x)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	d = s.serve(t)
	if !eventually(func() bool {
		return strings.Contains(d.logged(), `"msg":"removed policies that decided long ago","policies":1,`)
	}) {
		t.Fatal("the policy is not removed")
	}

	s.explained(t, before, "DENY", "user/nurse.ito", "permitted for role nurse", "policy    "+rules, "the policy that decided is not kept here any more", "policy.keep is 24h0m0s", "what was recorded stands")
	if out := s.must(t, "why", before, "--dir", s.gw()); strings.Contains(out, "\nrule ") {
		t.Errorf("a policy that is gone is explained by another: %s", out)
	}
	s.explained(t, after, "\nrule ")
	var left replayed
	s.decode(t, &left, "policy", "replay", "--since", "1h", "--json", "--dir", s.gw())
	if gone := left.Count(rego.NotReplayed, false) - all.Count(rego.NotReplayed, false); left.Recorded != all.Recorded || gone == 0 || left.Allowed+left.Denied+gone != all.Allowed+all.Denied {
		t.Errorf("replayed %+v, and before the removal %+v", left, all)
	}
	if out := s.must(t, "policy", "replay", "--since", "1h", "--dir", s.gw()); !strings.Contains(out, "what was granted then is not kept here any more") {
		t.Errorf("a replay says %s", out)
	}
	for _, command := range [][]string{{"policy", "replay", "--against", data}, {"policy", "diff", rules + "+" + data}, {"policy", "eval", before, "--against", rules + "+" + data}} {
		if out := s.run(t, append(command, "--dir", s.gw())...); out.code != exit.NotFound || !strings.Contains(out.stderr, "(policy.keep)") {
			t.Errorf("%v exits with %d: %s", command, out.code, out.stderr)
		}
	}
	s.must(t, "audit", "verify", "--dir", s.gw())
	d.stop(t)
}

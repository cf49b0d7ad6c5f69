package rego

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cordon/policy"
)

// TestDecide holds the answers to what the rules say, and every unclear one to a
// refusal in doubt that names no internals.
func TestDecide(t *testing.T) {
	const doubt = "the policy gave no clear answer"
	for _, c := range []struct {
		name, rules string
		want        policy.Decision // without digests
	}{
		{"allow", `allow if input.operation.class == "write"`, policy.Decision{Allow: true, Cause: policy.CausePolicy}},
		{"undefined", `allow if input.operation.class == "read"`, policy.Decision{Reason: noReason, Cause: policy.CausePolicy}},
		{"default", "default allow := false\nallow if input.operation.class == \"read\"", policy.Decision{Reason: noReason, Cause: policy.CausePolicy}},
		{"reason", "default allow := false\nallow if input.phase == \"x\"\nreason := sprintf(\"not %s\", [input.operation.class])", policy.Decision{Reason: "not write", Cause: policy.CausePolicy}},
		{"reason with a line break", "default allow := false\nreason := \"a\\nb\\u0007\"", policy.Decision{Reason: "a b ", Cause: policy.CausePolicy}},
		{"reason conflict", "default allow := false\nreason := \"a\" if input.subject.mfa\nreason := \"b\" if input.phase == \"operation\"", policy.Decision{Reason: noReason, Cause: policy.CausePolicy}},
		{"everything", `allow if input.subject.mfa
rule := "writers"
obligations contains x if some x in ["watermark", "alarm"]
valid_until := input.now_ns + 5`, policy.Decision{Allow: true, Rule: "writers", Obligations: []string{"alarm", "watermark"}, ValidUntil: request("").NowNs + 5, Cause: policy.CausePolicy}},
		{"no valid_until this time", "allow if input.subject.mfa\nvalid_until := 7 if input.phase == \"x\"", policy.Decision{Allow: true, Cause: policy.CausePolicy}},
		{"conflict", "allow := true if input.subject.mfa\nallow := false if input.phase == \"operation\"", policy.Decision{Reason: doubt, Cause: policy.CauseDoubt}},
		{"string", "allow := data.x", policy.Decision{Reason: doubt, Cause: policy.CauseDoubt}},
		{"number", "allow := data.one", policy.Decision{Reason: doubt, Cause: policy.CauseDoubt}},
		{"rule is a number", "allow := true\nrule := data.one", policy.Decision{Reason: doubt, Cause: policy.CauseDoubt}},
		{"valid_until is no integer", "allow := true\nvalid_until := 1.5", policy.Decision{Reason: doubt, Cause: policy.CauseDoubt}},
		{"valid_until is past", "allow := true\nvalid_until := 1", policy.Decision{Reason: "permitted until 1970-01-01T00:00:00Z", Cause: policy.CausePolicy}},
		{"valid_until is now", fmt.Sprintf("allow := true\nrule := \"night\"\nvalid_until := %d", request("").NowNs), policy.Decision{Reason: "night: permitted until 2030-03-17T17:46:40Z", Rule: "night", Cause: policy.CausePolicy}},
		{"obligation is a number", "allow := true\nobligations contains data.one", policy.Decision{Reason: doubt, Cause: policy.CauseDoubt}},
		{"too many obligations", "allow := true\nobligations contains sprintf(\"%d\", [x]) if some x in numbers.range(1, 40)", policy.Decision{Reason: doubt, Cause: policy.CauseDoubt}},
		{"function fails under not", "allow if not blocked\nblocked if to_number(input.operation.attributes.control_id) > 7", policy.Decision{Reason: doubt, Cause: policy.CauseDoubt}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := load(t, map[string]string{"p.rego": "package cordon\n" + c.rules + "\n", "data.yaml": "x: 'true'\none: 1\n"})
			c.want.Revision, c.want.Data = e.Revision(), e.Data()
			for range 2 { // the second perhaps from the cache
				if d := e.Decide(t.Context(), request("any")); fmt.Sprintf("%+v", d) != fmt.Sprintf("%+v", c.want) {
					t.Errorf("got  %+v\nwant %+v", d, c.want)
				}
			}
			if s := e.Stats(); c.want.Cause == policy.CauseDoubt && (s.Hits != 0 || s.Doubts != 2) {
				t.Errorf("a doubt was cached: %+v", s)
			}
		})
	}
}

const endless = `package cordon
allow if count([1 | some a in numbers.range(1, 3000); some b in numbers.range(1, 3000); some c in numbers.range(1, 3000); a + b == c + input.now_ns]) == 7
`

// TestDecideEnds stops rules that do not end by themselves.
func TestDecideEnds(t *testing.T) {
	e := load(t, map[string]string{"p.rego": endless})
	e.limit = 250 * time.Millisecond
	d := e.Decide(context.Background(), request("any"))
	if d.Allow || d.Cause != policy.CauseDoubt || d.Reason != "the policy did not answer in time" {
		t.Errorf("%+v", d)
	}
	e.limit = time.Hour
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if d := e.Decide(ctx, request("any")); d.Allow || d.Cause != policy.CauseDoubt {
		t.Errorf("past the caller's deadline: %+v", d)
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	ok := load(t, map[string]string{"p.rego": trivial})
	if d := ok.Decide(gone, request("any")); d.Allow || d.Cause != policy.CauseDoubt {
		t.Errorf("cancelled: %+v", d)
	}
	if d := ok.Decide(context.Background(), request("any")); !d.Allow {
		t.Errorf("afterwards: %+v", d)
	}
}

// TestReasonEnds refuses without a reason when only the reason does not end, and
// asks for it anew the next time.
func TestReasonEnds(t *testing.T) {
	e := load(t, map[string]string{"p.rego": "package cordon\ndefault allow := false\nreason := \"never\" if " + strings.NewReplacer("package cordon\nallow if ", "", "input.now_ns", "count(input.phase)").Replace(endless)})
	e.limit = time.Second
	if d := e.Decide(context.Background(), request("any")); d.Allow || d.Cause != policy.CausePolicy || d.Reason != noReason {
		t.Errorf("%+v", d)
	}
	if n := len(e.reason.cache.entries); n != 0 {
		t.Errorf("%d reasons kept", n)
	}
}

// TestCache counts which requests are decided and which are answered again.
func TestCache(t *testing.T) {
	const clock = "package cordon\ndefault allow := false\nallow if input.now_ns < 100\n"
	type step struct {
		now   int64
		class policy.Class
		hit   bool
		allow bool
	}
	for _, c := range []struct {
		name, rules string
		steps       []step
	}{
		{"no clock", trivial, []step{{5, "write", false, true}, {500, "write", true, true}, {5, "read", false, false}, {7, "read", true, false}, {1, "write", true, true}}},
		{"clock", clock, []step{{5, "write", false, true}, {5, "write", false, true}, {500, "write", false, false}}},
		{"clock with an end", clock + "valid_until := 100 if input.now_ns < 100\n", []step{
			{5, "write", false, true}, {99, "read", true, true}, {100, "write", false, false}, {101, "write", false, false}, {99, "write", true, true},
			{4, "write", false, true}, // the clock went back before the answer was given
		}},
		{"an end without a clock", trivial + "valid_until := 50\n", []step{{5, "write", false, true}, {49, "write", true, true}, {60, "write", false, false}}},
		{"the whole input", "package cordon\nallow if json.marshal(input) != \"\"\n", []step{{5, "write", false, true}, {5, "write", false, true}}},
		{"a talkative reason", trivial + "reason := sprintf(\"%v\", [input.session.id])\n", []step{{5, "write", false, true}, {6, "write", true, true}, {5, "read", false, false}, {6, "read", true, false}}},
		{"a reason with a clock", trivial + "reason := sprintf(\"%v\", [input.now_ns])\n", []step{{5, "write", false, true}, {6, "write", true, true}, {5, "read", false, false}, {6, "read", false, false}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := load(t, map[string]string{"p.rego": c.rules})
			for i, s := range c.steps {
				r := request("any")
				r.NowNs, r.Operation.Class = s.now, s.class
				before := e.Stats().Hits
				d := e.Decide(t.Context(), r)
				if hit := e.Stats().Hits > before; hit != s.hit || d.Allow != s.allow {
					t.Errorf("step %d %+v: hit %v, %+v", i, s, hit, d)
				}
				if fresh := e.evaluate(t.Context(), input(r), r.NowNs); fresh.Allow != d.Allow || fresh.Reason != d.Reason {
					t.Errorf("step %d: %+v, freshly %+v", i, d, fresh)
				}
			}
		})
	}
}

// TestCacheReasons gives each session its own reason though they share a verdict.
func TestCacheReasons(t *testing.T) {
	e := load(t, map[string]string{"p.rego": trivial + "reason := input.session.id\n"})
	for range 2 {
		for _, id := range []string{"s-1", "s-2"} {
			r := request("any")
			r.Operation.Class, r.Session.ID = policy.ClassRead, id
			if d := e.Decide(t.Context(), r); d.Reason != id {
				t.Errorf("%s was told %q", id, d.Reason)
			}
		}
	}
}

// TestCacheBounds fills the cache beyond its limits.
func TestCacheBounds(t *testing.T) {
	c := cache{entries: map[string]entry{}}
	for i := range maxEntries + 100 {
		c.put(fmt.Appendf(nil, "%d", i), policy.Decision{Allow: true}, 1, false)
	}
	if len(c.entries) != maxEntries {
		t.Errorf("%d entries", len(c.entries))
	}
	c = cache{entries: map[string]entry{}}
	c.put(make([]byte, maxKey+1), policy.Decision{Allow: true}, 1, false)
	if len(c.entries) != 0 {
		t.Error("kept a key beyond the limit")
	}
}

// TestHitAllocates nothing, and hands out obligations nobody else holds.
func TestHit(t *testing.T) {
	e := load(t, map[string]string{"p.rego": trivial})
	r := request("any")
	e.Decide(t.Context(), r)
	if n := testing.AllocsPerRun(100, func() { e.Decide(context.Background(), r) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	e = load(t, map[string]string{"p.rego": trivial + "obligations := {\"alarm\"}\n"})
	for range 3 {
		d := e.Decide(t.Context(), r)
		if !slices.Equal(d.Obligations, []string{"alarm"}) {
			t.Fatalf("%+v", d)
		}
		d.Obligations[0] = "changed by a caller"
	}
}

// TestDecideConcurrently compares answers given under contention with fresh ones.
func TestDecideConcurrently(t *testing.T) {
	e := patient(t, shippedDir(t))
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				r := request([]string{"radiologist", "nurse", "biomed", "janitor"}[(g+i)%4])
				r.Operation.Class = policy.Classes[i%len(policy.Classes)]
				r.Device.ID = fmt.Sprint(i % 3)
				d, fresh := e.Decide(t.Context(), r), e.evaluate(t.Context(), input(r), r.NowNs)
				if d.Allow != fresh.Allow || d.Reason != fresh.Reason || d.Cause != policy.CausePolicy {
					t.Errorf("%+v, freshly %+v", d, fresh)
				}
			}
		})
	}
	wg.Wait()
	if s := e.Stats(); s.Hits == 0 || s.Hits+s.Misses != 1600 {
		t.Errorf("%+v", s)
	}
}

func TestLine(t *testing.T) {
	if got := line(strings.Repeat("é", 200)); len(got) > maxReason || strings.Contains(got, "\ufffd") {
		t.Errorf("%q", got)
	}
}

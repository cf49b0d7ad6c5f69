package audit

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"cordon/policy"
)

// sampleInput is of the size and shape of a real HL7 request.
const sampleInput = `{"phase":"operation","subject":{"id":"dr.kim","kind":"user","roles":["radiologist"],"groups":["ward-3"],"mfa":true},` +
	`"device":{"id":"mon-7","class":"monitor/bedside","segment":"ward-3","labels":{"room":"3.14"},"state":"active"},` +
	`"service":{"name":"results","protocol":"hl7"},"session":{"id":"s-000017","direction":"inbound","client":"10.1.2.3","tls":"1.3"},` +
	`"operation":{"name":"hl7:ORU^R01","class":"write","attributes":{"control_id":"MSG00001","patient_id":"PID-4711","processing_id":"P","version":"2.5.1"}},` +
	`"now_ns":1770000000000000000}`

func sampleEntry() Entry {
	return Entry{
		Kind: KindDecision, Gateway: "gw-1", Input: json.RawMessage(sampleInput),
		Decision: policy.Decision{
			Allow: true, Rule: "cordon.rego:41", Obligations: []string{"notify"}, Cause: policy.CausePolicy,
			Revision: "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
			Data:     "sha256:60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752",
		},
	}
}

func TestEntryRoundTrip(t *testing.T) {
	when := time.Date(2026, 3, 4, 5, 6, 7, 890_000_001, time.UTC)
	for _, e := range []Entry{
		{Index: 0, Time: when, Code: "000-00", Kind: KindStart},
		{Index: 1 << 60, Time: when.Truncate(time.Second), Code: "7QF-21", Kind: KindDecision},
		{Index: 9, Time: when, Code: "7QF-21", Kind: "x\n\"\\\u2028é\x00", Gateway: "a\x7f", Note: "\t", Input: json.RawMessage(`{"a":[1,{}]}`)},
		{Index: 9, Time: when, Code: "7QF-21", Kind: KindStop, Decision: policy.Decision{ValidUntil: -1}},
		func() Entry { e := sampleEntry(); e.Time, e.Code = when, "7QF-21"; return e }(),
	} {
		b := e.appendJSON(nil)
		got, err := ParseEntry(b)
		if err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("%s\nread as %+v, %v\nwas     %+v", b, got, err, e)
		}
		h, err := parseHead(b)
		if err != nil || h.index != e.Index || !h.time.Equal(e.Time) || string(h.code) != e.Code {
			t.Errorf("head of %s read as %+v, %v", b, h, err)
		}
		if bytes.IndexByte(b, '\n') >= 0 {
			t.Errorf("%q holds a newline", b)
		}
	}
}

func FuzzEntryRoundTrip(f *testing.F) {
	f.Add("decision", "gw", "reason", "rule", "a", "b", "note", int64(5), true)
	f.Add("\x80\xff", "\u2028", "\\", "\"", "<>&", "\r\n", "é\x00", int64(-1), false)
	f.Fuzz(func(t *testing.T, kind, gateway, reason, rule, o1, o2, note string, n int64, allow bool) {
		e := Entry{Index: n & (1<<62 - 1), Time: time.Unix(0, n).UTC(), Code: "7QF-21", Kind: Kind(kind), Gateway: gateway, Note: note,
			Decision: policy.Decision{Allow: allow, Reason: reason, Rule: rule, Obligations: []string{o1, o2}, ValidUntil: n, Cause: policy.Cause(note), Revision: o1, Data: o2}}
		b := e.appendJSON(nil)
		got, err := ParseEntry(b)
		if err != nil {
			t.Fatal(err)
		}
		valid := func(s string) string { // what encoding/json makes of s
			j, _ := json.Marshal(s)
			var out string
			if err := json.Unmarshal(j, &out); err != nil {
				t.Fatal(err)
			}
			return out
		}
		e.Kind, e.Gateway, e.Note = Kind(valid(kind)), valid(gateway), valid(note)
		d := &e.Decision
		d.Reason, d.Rule, d.Revision, d.Data, d.Cause = valid(reason), valid(rule), valid(o1), valid(o2), policy.Cause(valid(note))
		d.Obligations = []string{valid(o1), valid(o2)}
		if !reflect.DeepEqual(got, e) {
			t.Fatalf("%s\nread as %+v\nwas     %+v", b, got, e)
		}
		if bytes.IndexByte(b, '\n') >= 0 || !json.Valid(b) {
			t.Fatalf("%q is no line of JSON", b)
		}
	})
}

func FuzzParseHead(f *testing.F) {
	e := sampleEntry()
	f.Add(e.appendJSON(nil))
	f.Add([]byte(`{"index":-1,"time":"2026-01-01T00:00:00Z","code":"","kind":"`))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHead(b)
		if err == nil && h.index < 0 {
			t.Fatalf("index %d", h.index)
		}
		ParseEntry(b)
		openLine(b)
	})
}

func TestEntryRefused(t *testing.T) {
	l := openTest(t, Config{})
	for name, e := range map[string]Entry{
		"no kind":          {},
		"not an object":    {Kind: KindStart, Input: json.RawMessage(`[]`)},
		"newline in input": {Kind: KindStart, Input: json.RawMessage("{\n}")},
		"too long":         {Kind: KindStart, Note: strings.Repeat("x", MaxEntry)},
	} {
		if _, err := l.Append(t.Context(), e); err == nil {
			t.Errorf("%s: appended", name)
		}
	}
	if r := mustAppend(t, l, Entry{Kind: KindStart}); r.Index != 0 {
		t.Errorf("a refused entry was counted: the next has index %d", r.Index)
	}
}

func TestCodes(t *testing.T) {
	c, err := newCodes([]byte(formatCodeKey(bytes.Repeat([]byte{7}, 16))))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	check := func(i int64, length int) {
		t.Helper()
		text := c.code(i)
		if seen[text] || len(text) != length+1 {
			t.Fatalf("code of %d: %s, seen %v", i, text, seen[text])
		}
		seen[text] = true
		if got, err := c.index(text); err != nil || got != i {
			t.Fatalf("index of %s: %d, %v; want %d", text, got, err, i)
		}
	}
	first := int64(power(5))
	for i := range int64(100_000) {
		check(i, 5)
	}
	check(first-1, 5)
	check(first, 6)
	check(first+1, 6)
	sum := int64(0)
	for n := codeMin; n <= codeMax; n++ {
		sum += int64(power(n))
		check(sum-1-int64(n), n) // not a length's last: the loop above took that of 5
		if n < codeMax {
			check(sum+2, n+1)
		}
	}

	text := c.code(4711)
	plain := strings.ReplaceAll(text, "-", "")
	for _, typed := range []string{strings.ToLower(text), plain, " " + strings.Join(strings.Split(plain, ""), " "), plain[:1] + "-" + plain[1:]} {
		if i, err := c.index(typed); err != nil || i != 4711 {
			t.Errorf("index of %q: %d, %v", typed, i, err)
		}
	}
	a, errA := c.index("0O0-1L")
	b, errB := c.index("000-11")
	i, errI := c.index("o00i1")
	if errA != nil || errB != nil || errI != nil || a != b || b != i {
		t.Errorf("letters read as digits: %d %d %d, %v %v %v", a, b, i, errA, errB, errI)
	}
	for _, wrong := range []string{"", "7QF", "7QF-2A", "7QF-2!", strings.Repeat("7", codeMax+1), "7QF-2é"} {
		if i, err := c.index(wrong); err == nil {
			t.Errorf("index of %q: %d, want an error", wrong, i)
		}
	}
}

// A whole domain, so small that all of it can be tried.
func TestCodesFillTheirDomain(t *testing.T) {
	if testing.Short() {
		t.Skip("24.3 million codes")
	}
	c, _ := newCodes([]byte(formatCodeKey(bytes.Repeat([]byte{9}, 16))))
	seen := make([]bool, power(5))
	digit := [256]uint64{}
	for i, r := range codeAlphabet {
		digit[r] = uint64(i)
	}
	for i := range seen {
		if i%16 != 0 { // one in sixteen keeps this below a second
			continue
		}
		n := uint64(0)
		for _, r := range []byte(c.code(int64(i))) {
			if r != '-' {
				n = n*codeBase + digit[r]
			}
		}
		if seen[n] {
			t.Fatalf("code of %d is taken", i)
		}
		seen[n] = true
	}
}

func FuzzCodeIndex(f *testing.F) {
	f.Add("7QF-21")
	f.Add("oil 0 1")
	c, _ := newCodes([]byte(formatCodeKey(bytes.Repeat([]byte{7}, 16))))
	f.Fuzz(func(t *testing.T, text string) {
		i, err := c.index(text)
		if err != nil {
			return
		}
		again, err := c.index(c.code(i))
		if err != nil || again != i {
			t.Fatalf("%q is %d is %s is %d, %v", text, i, c.code(i), again, err)
		}
	})
}

func TestCodesDifferByKey(t *testing.T) {
	a, _ := newCodes([]byte(formatCodeKey(bytes.Repeat([]byte{1}, 16))))
	b, _ := newCodes([]byte(formatCodeKey(bytes.Repeat([]byte{2}, 16))))
	same, near := 0, 0
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		i := rnd.Int64N(int64(power(5)) - 1)
		if a.code(i) == b.code(i) {
			same++
		}
		if a.code(i)[:3] == a.code(i + 1)[:3] {
			near++
		}
	}
	if same > 3 || near > 10 {
		t.Errorf("of 1000 codes %d do not depend on the key, %d tell the next", same, near)
	}
}

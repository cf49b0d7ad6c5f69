package rego

import (
	"strings"
	"testing"
)

// TestTableEdit makes edits in files as people write them. Everything else stays, comments too.
func TestTableEdit(t *testing.T) {
	const table = "# The table.\nroles:\n  nurse: # on wards\n    monitor/*: [read, query] # at any time\n  biomed:\n    \"*\":\n      - read\n      - query # too\n\n# AE titles.\nae_titles: {} # none yet\nmoves: {a: [X], b: []}\nnone:\nempty: []\n"
	for _, c := range []struct {
		path, value, old, new string
	}{
		{"roles nurse monitor/*", "notify", "    monitor/*: [read, query]", "    # why\n    monitor/*: [read, query, notify]"},
		{"roles nurse monitor/*", "read", "", ""},
		{"roles nurse imaging/ct", "query", "at any time\n", "at any time\n    # why\n    imaging/ct: [query]\n"},
		{"roles nurse imaging/ct", "", "at any time\n", "at any time\n    # why\n    imaging/ct: []\n"},
		{"roles biomed *", "write", "      - query # too\n", "      - query # too\n      # why\n      - write\n"},
		{"roles biomed pump/*", "read", "      - query # too\n", "      - query # too\n    # why\n    pump/*: [read]\n"},
		{"roles porter *", "read", "      - query # too\n", "      - query # too\n  porter:\n    # why\n    \"*\": [read]\n"},
		{"ae_titles user/dr.kim", "KIM-WS", "ae_titles: {} # none yet\n", "ae_titles: # none yet\n  # why\n  user/dr.kim: [KIM-WS]\n"},
		{"ae_titles user/dr.kim", "007", "ae_titles: {} # none yet\n", "ae_titles: # none yet\n  # why\n  user/dr.kim: [\"007\"]\n"},
		{"moves a", "Q", "moves: {a: [X]", "# why\nmoves: {a: [X, Q]"},
		{"moves b", "off", "moves: {a: [X], b: []", "# why\nmoves: {a: [X], b: [\"off\"]"},
		{"moves c", "Z", "moves: {a: [X], b: []", "# why\nmoves: {a: [X], b: [], c: [Z]"},
		{"none a", "b", "none:\n", "none:\n  # why\n  a: [b]\n"},
		{"empty", "x", "empty: []\n", "# why\nempty: [x]\n"},
		{"new a b", "c", "empty: []\n", "empty: []\nnew:\n  a:\n    # why\n    b: [c]\n"},
	} {
		for _, eol := range []string{"\n", "\r\n"} {
			crlf := func(s string) string { return strings.ReplaceAll(s, "\n", eol) }
			e := tableEdit{strings.Fields(c.path), c.value}
			out, err := e.write([]byte(crlf(table)), "why")
			if err != nil {
				t.Errorf("%s: %v", e, err)
				continue
			}
			if want := crlf(strings.Replace(table, c.old, c.new, 1)); string(out) != want {
				t.Errorf("%s: got\n%s\nwant\n%s", e, out, want)
			}
		}
	}
	for _, text := range []string{"roles: 7\n", "roles:\n  nurse: [read]\n", "roles: &a {}\n", "[]\n", "roles: {\n"} {
		e := tableEdit{[]string{"roles", "nurse", "*"}, "read"}
		if out, err := e.write([]byte(text), "why"); err == nil {
			t.Errorf("%q became %q", text, out)
		}
	}
	if out, err := (tableEdit{[]string{"roles", "nurse", "*"}, "read"}).write(nil, "why"); err != nil || string(out) != "roles:\n  nurse:\n    # why\n    \"*\": [read]\n" {
		t.Errorf("an empty file becomes %q, %v", out, err)
	}
}

// FuzzTableEdit edits any file: it becomes what the edit means, or stays as it is.
func FuzzTableEdit(f *testing.F) {
	f.Add("roles:\n  nurse:\n    monitor/*: [read]\n", "nurse", "imaging/ct", "query")
	f.Add("roles: {nurse: {\"*\": [read]}} # x\n", "nurse", "*", "write")
	f.Add("# only\n", "a", "b", "c")
	f.Add("roles:\n- a\n", "a\nb", "#", "")
	f.Add("roles:\r\n  a:\r\n    b:\r\n    - c\r\n", "a", "b", "d: e")
	f.Fuzz(func(t *testing.T, text, role, class, value string) {
		e := tableEdit{[]string{"roles", role, class}, value}
		before, p := parseYAML([]byte(text))
		out, err := e.write([]byte(text), "note\n"+value)
		if err != nil || p != nil {
			return
		}
		after, p := parseYAML(out)
		if p != nil {
			t.Fatalf("%q became %q: %s", text, out, p.Message)
		}
		if _, err := e.apply(before); err != nil || !sameJSON(before, after) {
			t.Fatalf("%q became %q (%v)", text, out, err)
		}
	})
}

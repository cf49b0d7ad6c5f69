package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzLoad holds that no bytes whatever make a panic, that every fault lies inside the
// file, and that a device can be added to every file that is accepted, changing nothing else.
func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(files, "testdata/full.yaml") {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	first, err := Initial("ward-4", "ward.example", "state")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(first)
	f.Add([]byte(`{ version: 1, gateway: { name: a }, identity: { trust_domain: a.example }, devices: }`))
	f.Add([]byte("version: 1\ngateway:\n  name: |-\n    a\nidentity: { trust_domain: \"a\\x2eb\" }\ndevices:\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parse("cordon.yaml", text)
		if err != nil {
			var faults Faults
			if !errors.As(err, &faults) || len(faults) == 0 || len(faults) > maxFaults || c != nil {
				t.Fatalf("got %v, %v", c, err)
			}
			inside(t, text, faults)
			return
		}
		added, got, err := c.with(monitor("a-new-one", 64999), text)
		if err != nil {
			return // there are shapes it leaves to a person, and taken ports
		}
		if !bytes.Contains(got, []byte(added)) || len(got) < len(text) {
			t.Fatalf("%q to\n%s\nmade\n%s", added, text, got)
		}
	})
}

func inside(t *testing.T, text []byte, faults Faults) {
	lines := strings.Split(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n")
	for _, f := range faults {
		if f.Line == 0 {
			continue
		}
		if f.Line < 1 || f.Line > len(lines) || f.Col < 1 || f.Col > utf8.RuneCountInString(lines[f.Line-1])+1 {
			t.Fatalf("fault %+v is outside of\n%s", f, text)
		}
		if strings.ContainsAny(f.Message, "\n\r\x1b") || strings.ContainsRune(f.Excerpt, '\x1b') || !utf8.ValidString(f.Message+f.Excerpt) {
			t.Fatalf("fault %+q cannot be printed", f.Message+f.Excerpt)
		}
	}
}

package sdk_test

import (
	"encoding/json"
	"strings"
	"testing"

	"cordon/plugins/sdk"
)

func TestSettings(t *testing.T) {
	type colour string
	type chosen struct {
		flag  bool
		count int
		size  int64
		one   colour
		some  uint32
		pair  struct{ A, B int }
	}
	read := func(raw string) (chosen, error) {
		set := chosen{count: 7, one: "red"}
		err := sdk.Settings{
			"flag":  sdk.Flag(&set.flag),
			"count": sdk.Int(&set.count, 1, 9),
			"size":  sdk.Size(&set.size, 10, 3<<40),
			"one":   sdk.OneOf(&set.one, "red", "blue"),
			"some":  sdk.SomeOf(&set.some, "a", "b", "c"),
			"pair":  sdk.Value(&set.pair),
		}.Read(json.RawMessage(raw))
		return set, err
	}

	for _, raw := range []string{"", "{}", " {\n} "} {
		if got, err := read(raw); err != nil || got != (chosen{count: 7, one: "red"}) {
			t.Errorf("%q: %+v, %v", raw, got, err)
		}
	}
	want := chosen{flag: true, count: 9, size: 3 << 40, one: "blue", some: 5}
	want.pair.A = 3
	got, err := read(`{"flag": true, "count": 9, "size": "3TiB", "one": "blue", "some": ["c", "a", "c"], "pair": {"A": 3}}`)
	if err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	for raw, bytes := range map[string]int64{"10": 10, `"4KiB"`: 4096, `"64MiB"`: 64 << 20, `"1GiB"`: 1 << 30} {
		if got, err := read(`{"size": ` + raw + `}`); err != nil || got.size != bytes {
			t.Errorf("size %s: %d, %v", raw, got.size, err)
		}
	}

	for raw, want := range map[string]string{
		`[]`:                              `"[]" is not an object`,
		`null`:                            `"null" is not an object`,
		`{`:                               "read settings",
		`{"flag": true} {}`:               "more behind",
		`{"flag": true}x`:                 "more behind",
		`{"flag": }`:                      `setting "flag"`,
		`{"flag": true,}`:                 "read settings",
		`{"Flag": true}`:                  `setting "Flag": there is no such setting, only ["count" "flag" "one" "pair" "size" "some"]`,
		`{"flag": true, "flag": true}`:    `setting "flag": it is given twice`,
		`{"flag": null}`:                  `setting "flag": it has no value`,
		`{"flag": "yes"}`:                 `setting "flag": "yes" is neither true nor false`,
		`{"count": 0}`:                    "0 is not between 1 and 9",
		`{"count": 10}`:                   "10 is not between 1 and 9",
		`{"count": 1.5}`:                  "1.5 is not a whole number",
		`{"count": "3"}`:                  `"3" is not a whole number`,
		`{"count": 99999999999999999999}`: "is not a whole number",
		`{"size": 9}`:                     "9 is not between 10 and",
		`{"size": "3"}`:                   `"3" is not a size such as 64MiB`,
		`{"size": "1 MiB"}`:               `"1 MiB" is not a size`,
		`{"size": "-1MiB"}`:               `"-1MiB" is not a size`,
		`{"size": "4TiB"}`:                "4TiB is not between 10 and",
		`{"size": "2097152TiB"}`:          "2097152TiB is not between 10 and",
		`{"size": true}`:                  "true is not a size",
		`{"one": "green"}`:                `"green" is not one of ["red" "blue"]`,
		`{"one": 1}`:                      `1 is not one of`,
		`{"some": "a"}`:                   `"a" is not a list of ["a" "b" "c"]`,
		`{"some": ["d"]}`:                 `"d" is not one of ["a" "b" "c"]`,
		`{"pair": {"C": 1}}`:              `unknown field "C"`,
		`{"pair": [1]}`:                   `[1] does not fit`,
	} {
		if _, err := read(raw); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", raw, err, want)
		}
	}
	// What could not be read leaves the default.
	if got, _ := read(`{"count": 12, "one": "green"}`); got.count != 7 || got.one != "red" {
		t.Errorf("a wrong value was kept: %+v", got)
	}
}

package sdk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Settings are the keys of a service that belong to a plugin, each with what reads its
// value. Protocol.Configure makes them over a fresh struct that holds the defaults:
//
//	set := settings{deny: "AR", longest: 1 << 20}
//	err := sdk.Settings{
//		"deny_code":   sdk.OneOf(&set.deny, "AR", "AE"),
//		"max_message": sdk.Size(&set.longest, 1<<10, 1<<30),
//	}.Read(raw)
//
// Their errors end in front of the engineer who wrote the configuration, behind the key
// and its place in the file.
type Settings map[string]func(value json.RawMessage) error

// Read reads a service's settings as Configure is given them. A key that is not in s, or
// is given twice, is an error; a key that is missing leaves its default alone.
func (s Settings) Read(raw json.RawMessage) error {
	if len(raw) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return fmt.Errorf("read settings: %.40q is not an object of JSON", raw)
	}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return fmt.Errorf("read settings: %w", err)
		}
		key := t.(string) // a decoder takes nothing else there
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return fmt.Errorf("setting %q: %w", key, err)
		}
		read := s[key]
		switch {
		case read == nil:
			return fmt.Errorf("setting %q: there is no such setting, only %q", key, slices.Sorted(maps.Keys(s)))
		case seen[key]:
			return fmt.Errorf("setting %q: it is given twice", key)
		case string(value) == "null":
			return fmt.Errorf("setting %q: it has no value", key)
		}
		if err := read(value); err != nil {
			return fmt.Errorf("setting %q: %w", key, err)
		}
		seen[key] = true
	}
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("read settings: there is more behind the object")
	}
	return nil
}

// Flag reads true or false.
func Flag(to *bool) func(json.RawMessage) error {
	return func(value json.RawMessage) error {
		if json.Unmarshal(value, to) != nil {
			return fmt.Errorf("%.40s is neither true nor false", value)
		}
		return nil
	}
}

// Value reads what encoding/json reads into a T, without keys that a struct does not have.
func Value[T any](to *T) func(json.RawMessage) error {
	return func(value json.RawMessage) error {
		d := json.NewDecoder(bytes.NewReader(value))
		d.DisallowUnknownFields()
		err := d.Decode(to)
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return fmt.Errorf("%.40s does not fit: something else than a JSON %s belongs there", value, wrong.Value)
		}
		return err
	}
}

// Int reads a whole number from low to high.
func Int[T int | int64](to *T, low, high T) func(json.RawMessage) error {
	return func(value json.RawMessage) error {
		n := *to
		if err := json.Unmarshal(value, &n); err != nil {
			return fmt.Errorf("%.40s is not a whole number", value)
		}
		return within(to, n, low, high)
	}
}

// Size reads a number of bytes from low to high: 65536, or a text such as "64KiB", "64MiB",
// "1GiB" or "1TiB".
func Size[T int | int64](to *T, low, high T) func(json.RawMessage) error {
	return func(value json.RawMessage) error {
		var n int64
		if json.Unmarshal(value, &n) != nil {
			var text string
			if json.Unmarshal(value, &text) != nil {
				return fmt.Errorf("%.40s is not a size such as 64MiB", value)
			}
			digits, shift := text, 0
			for i, unit := range []string{"KiB", "MiB", "GiB", "TiB"} {
				if before, ok := strings.CutSuffix(text, unit); ok {
					digits, shift = before, 10*(i+1)
				}
			}
			count, err := strconv.ParseUint(digits, 10, 31)
			if err != nil || shift == 0 {
				return fmt.Errorf("%.40q is not a size such as 64MiB", text)
			}
			n = int64(count)
			if n > int64(high)>>shift {
				return fmt.Errorf("%s is not between %d and %d", text, low, high)
			}
			n <<= shift
		}
		return within(to, T(n), low, high)
	}
}

func within[T int | int64](to *T, n, low, high T) error {
	if n < low || n > high {
		return fmt.Errorf("%d is not between %d and %d", n, low, high)
	}
	*to = n
	return nil
}

// OneOf reads one of the choices.
func OneOf[T ~string](to *T, choices ...T) func(json.RawMessage) error {
	return func(value json.RawMessage) error {
		var v T
		if json.Unmarshal(value, &v) != nil || !slices.Contains(choices, v) {
			return fmt.Errorf("%.40s is not one of %q", value, choices)
		}
		*to = v
		return nil
	}
}

// SomeOf reads a list of names into a set with a bit for each: bit i for names[i].
func SomeOf[S ~uint32](to *S, names ...string) func(json.RawMessage) error {
	return func(value json.RawMessage) error {
		var list []string
		if json.Unmarshal(value, &list) != nil {
			return fmt.Errorf("%.40s is not a list of %q", value, names)
		}
		var set S
		for _, name := range list {
			i := slices.Index(names, name)
			if i < 0 {
				return fmt.Errorf("%q is not one of %q", name, names)
			}
			set |= 1 << i
		}
		*to = set
		return nil
	}
}

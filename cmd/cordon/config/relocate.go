package config

import (
	"fmt"
	"slices"
	"strings"
)

// Relocate returns the text of a configuration with another directory under keys, such as
// "gateway", "state", which it must have; every other byte stays as it is. path is the file's, for
// faults.
func Relocate(path string, text []byte, dir string, keys ...string) ([]byte, error) {
	src := newSource(path, text)
	n := src.tree(text)
	if n == nil {
		return nil, src.err()
	}
	for _, key := range keys {
		if n = n.get(key); n == nil {
			return nil, fmt.Errorf("put %q in the configuration: it has no %s", dir, strings.Join(keys, "."))
		}
	}
	lines := slices.Clone(src.lines)
	line := []rune(lines[n.line-1])
	lines[n.line-1] = string(line[:n.col-1]) + scalar(dir) + string(line[n.col-1+n.width:])
	return []byte(strings.Join(lines, "\n")), nil
}

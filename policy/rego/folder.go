package rego

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of a policy folder. They are far above what people write and far below
// what would hurt the gateway.
const (
	maxRules = 1 << 20  // bytes of one .rego file
	maxData  = 16 << 20 // bytes of one data file
	maxTotal = 32 << 20 // bytes of all files
	maxFiles = 1000
)

// Source is one file of a policy.
type Source struct {
	Name string // inside the folder, with slashes
	Text []byte // not to be changed
}

// folder is a policy as it was read: each list sorted by name.
type folder struct {
	rules []Source // *.rego, they decide
	tests []Source // *_test.rego, they do not
	data  []Source // data.json, data.yaml
	size  int
}

// readFolder reads what counts as policy below dir. Names that begin with a dot
// and files of other kinds are passed over. Links are followed inside dir only.
func readFolder(dir string) (*folder, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open policy folder %q: %w", dir, errors.Unwrap(err))
	}
	defer root.Close()
	f := &folder{}
	var problems []Problem
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name != "." && strings.HasPrefix(path.Base(name), ".") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			return nil
		}
		if p := f.take(root, name, d); p != nil {
			problems = append(problems, *p)
		}
		if len(f.rules)+len(f.tests)+len(f.data) > maxFiles || f.size > maxTotal {
			return fs.SkipAll
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read policy folder %q: %w", dir, err)
	}
	if p := f.limits(); p != nil {
		problems = append(problems, *p)
	}
	if len(problems) > 0 {
		return nil, refuse(dir, problems...)
	}
	f.sort()
	return f, nil
}

// take reads one file of the folder if it counts as policy.
func (f *folder) take(root *os.Root, name string, d fs.DirEntry) *Problem {
	if d.Type()&fs.ModeSymlink != 0 {
		info, err := root.Stat(name)
		if err != nil {
			if kind(name) == 0 {
				return nil
			}
			return &Problem{File: name, Code: "policy.file.link", Message: "this link leads nowhere or out of the policy folder", Hint: "copy the file into the folder"}
		}
		if info.IsDir() {
			return &Problem{File: name, Code: "policy.file.link", Message: "a link to a folder is not followed", Hint: "copy the folder, or link its files one by one"}
		}
	}
	if kind(name) == 0 {
		return nil
	}
	if kind(name) == 'd' && strings.HasPrefix(name, accessName+"/") {
		p := reserved(name)
		return &p
	}
	// Opening a named pipe would wait for its writer.
	if info, err := root.Stat(name); err == nil && !info.Mode().IsRegular() {
		return &Problem{File: name, Code: "policy.file", Message: "not a regular file"}
	}
	file, err := root.Open(name)
	if err != nil {
		return &Problem{File: name, Code: "policy.file", Message: err.Error()}
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxData+1))
	if err != nil {
		return &Problem{File: name, Code: "policy.file", Message: err.Error()}
	}
	return f.add(name, text)
}

// kind tells what a file is by its name: 'r'ules, 't'ests, 'd'ata, or 0. A
// data.yml is data so that add can tell its author what to call it.
func kind(name string) byte {
	switch base := path.Base(name); {
	case strings.HasSuffix(base, "_test.rego"):
		return 't'
	case strings.HasSuffix(base, ".rego"):
		return 'r'
	case base == "data.json", base == "data.yaml", base == "data.yml":
		return 'd'
	}
	return 0
}

// add puts one file into its list, or says what is wrong with it.
func (f *folder) add(name string, text []byte) *Problem {
	k, limit := kind(name), maxRules
	if k == 'd' {
		limit = maxData
	}
	switch {
	case !fs.ValidPath(name) || strings.ContainsFunc(name, func(c rune) bool { return c == '\\' || c == utf8.RuneError || unicode.IsControl(c) }):
		return &Problem{File: strings.ToValidUTF8(name, "?"), Code: "policy.file.name", Message: "a name with a backslash or unprintable characters", Hint: "rename the file"}
	case len(text) > limit:
		return &Problem{File: name, Code: "policy.file.size", Message: fmt.Sprintf("more than %d KiB", limit>>10), Hint: "split the file"}
	case path.Base(name) == "data.yml":
		return &Problem{File: name, Code: "policy.file.name", Message: "would not be read under this name", Hint: "rename it to data.yaml"}
	}
	if bad := invalidUTF8(text); bad >= 0 {
		line, column := position(text, bad)
		return &Problem{File: name, Line: line, Column: column, Code: "policy.file.encoding", Message: "not UTF-8", Hint: "save the file as UTF-8"}
	}
	if bytes.HasPrefix(text, []byte("\ufeff")) {
		return &Problem{File: name, Line: 1, Column: 1, Code: "policy.file.encoding", Message: "begins with a byte order mark, which nobody sees", Hint: "save the file as UTF-8 without one"}
	}
	f.size += len(text)
	list := map[byte]*[]Source{'r': &f.rules, 't': &f.tests, 'd': &f.data}[k]
	*list = append(*list, Source{name, text})
	return nil
}

func (f *folder) limits() *Problem {
	switch n := len(f.rules) + len(f.tests) + len(f.data); {
	case n > maxFiles:
		return &Problem{Code: "policy.file.size", Message: fmt.Sprintf("more than %d files", maxFiles)}
	case f.size > maxTotal:
		return &Problem{Code: "policy.file.size", Message: fmt.Sprintf("more than %d MiB in all files", maxTotal>>20)}
	}
	return nil
}

func (f *folder) sort() {
	for _, list := range [][]Source{f.rules, f.tests, f.data} {
		slices.SortFunc(list, func(a, b Source) int { return strings.Compare(a.Name, b.Name) })
	}
}

// text returns the contents of a file that decides.
func (f *folder) text(name string) []byte {
	for _, s := range f.rules {
		if s.Name == name {
			return s.Text
		}
	}
	return nil
}

// digest names a list of files by their contents. It is what
// "sha256sum FILE... | sha256sum" prints for them in the order of their names.
func digest(list []Source) string {
	sum := sha256.New()
	for _, s := range list {
		fmt.Fprintf(sum, "%x  %s\n", sha256.Sum256(s.Text), s.Name)
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil))
}

// archive writes what decides, rules and data.
func (f *folder) archive() []byte { return tarOf(f.rules, f.data) }

// tarOf writes files as a tar file that depends on names and contents only.
func tarOf(lists ...[]Source) []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, s := range slices.Concat(lists...) {
		// Writing to memory fails only for a header that cannot be encoded, and
		// add admits no such name.
		_ = w.WriteHeader(&tar.Header{Name: s.Name, Mode: 0o644, Size: int64(len(s.Text)), Format: tar.FormatPAX})
		_, _ = w.Write(s.Text)
	}
	_ = w.Close()
	return out.Bytes()
}

// readArchive reads what archive wrote. Of two files of one name different readers take different ones, so there are none.
func readArchive(b []byte) (*folder, error) {
	f, seen := &folder{}, map[string]bool{}
	r := tar.NewReader(bytes.NewReader(b))
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read policy archive: %w", err)
		}
		if h.Typeflag != tar.TypeReg || kind(h.Name) == 0 {
			return nil, fmt.Errorf("read policy archive: %q does not belong there", h.Name)
		}
		if seen[h.Name] {
			return nil, fmt.Errorf("read policy archive: %q is there twice", h.Name)
		}
		seen[h.Name] = true
		text, err := io.ReadAll(io.LimitReader(r, maxData+1))
		if err != nil {
			return nil, fmt.Errorf("read policy archive: %q: %w", h.Name, err)
		}
		if p := f.add(h.Name, text); p != nil {
			return nil, refuse("", *p)
		}
		if p := f.limits(); p != nil {
			return nil, refuse("", *p)
		}
	}
	f.sort()
	return f, nil
}

// invalidUTF8 returns the offset of the first byte that is not UTF-8, or -1.
func invalidUTF8(b []byte) int {
	for i := 0; i < len(b); {
		c, n := utf8.DecodeRune(b[i:])
		if c == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

// position turns an offset into line and column, both from 1.
func position(text []byte, offset int) (line, column int) {
	before := text[:min(max(offset, 0), len(text))]
	start := bytes.LastIndexByte(before, '\n') + 1
	return bytes.Count(before, []byte("\n")) + 1, utf8.RuneCount(before[start:]) + 1
}

package rego

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Listing names the files by which a policy decides and what is in them: the lines of which its two digests are made. Two
// policies that share a file share its line, so that they can be kept side by side at little cost.
type Listing struct {
	Revision, Data string // digests of the Engine that LoadFiles makes of the files
	Folder         string // digest of its data without access
	Files          []Listed
}

// Listed is a file by its contents.
type Listed struct {
	Name   string // inside the folder, with slashes
	SHA256 string // as sha256sum prints it
}

// maxListing bounds a listing: maxFiles names of maxNameBytes.
const maxListing = maxFiles * (2*sha256.Size + 3 + maxNameBytes)

// LoadFiles makes an Engine of what Sources returned, to explain a decision that it made.
func LoadFiles(files []Source) (*Engine, error) { return LoadArchive(tarOf(files)) }

// FormatListing writes the listing of what Sources returned, as sha256sum would.
func FormatListing(files []Source) []byte {
	var b bytes.Buffer
	for _, s := range files {
		fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256(s.Text), s.Name)
	}
	return b.Bytes()
}

// ReadListing reads what FormatListing wrote.
func ReadListing(text []byte) (*Listing, error) {
	if len(text) > maxListing {
		return nil, fmt.Errorf("read the listing of a policy: more than %d KiB", maxListing>>10)
	}
	l := &Listing{}
	var rules, data, own bytes.Buffer
	for line := range bytes.Lines(text) {
		sum, name, ok := strings.Cut(strings.TrimSuffix(string(line), "\n"), "  ")
		if raw, err := hex.DecodeString(sum); !ok || err != nil || len(raw) != sha256.Size || hex.EncodeToString(raw) != sum || !bytes.HasSuffix(line, []byte("\n")) {
			return nil, fmt.Errorf("read the listing of a policy: %.100q is no line of one", line)
		}
		switch kind(name) {
		case 'r':
			rules.Write(line)
		case 'd':
			data.Write(line)
			if name != accessFile {
				own.Write(line)
			}
		default:
			return nil, fmt.Errorf("read the listing of a policy: %.100q does not belong there", name)
		}
		l.Files = append(l.Files, Listed{name, sum})
	}
	if len(l.Files) == 0 {
		return nil, errors.New("read the listing of a policy: it is empty")
	}
	of := func(lines *bytes.Buffer) string {
		sum := sha256.Sum256(lines.Bytes())
		return "sha256:" + hex.EncodeToString(sum[:])
	}
	l.Revision, l.Data, l.Folder = of(&rules), of(&data), of(&own)
	return l, nil
}

// Access returns the file with what was granted, if it is listed.
func (l *Listing) Access() (Listed, bool) {
	if i := slices.IndexFunc(l.Files, func(f Listed) bool { return f.Name == accessFile }); i >= 0 {
		return l.Files[i], true
	}
	return Listed{}, false
}

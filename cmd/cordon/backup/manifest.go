package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"
	"unicode"
)

// Schema is which form of backup this package writes, and the only one it reads.
const Schema = family + "v1"

const family = "cordon.backup/"

// ErrVersion says that something is a backup of another form: an older or newer cordon wrote it.
var ErrVersion = errors.New("it is of another version")

// Members of the archive that are not the gateway's.
const (
	manifestName  = "manifest.json"
	signatureName = "manifest.sig"
)

// Limits of a backup.
const (
	maxFiles     = 250_000
	maxName      = 255       // bytes of a file's name
	maxManifest  = 128 << 20 // bytes
	maxSignature = 4 << 10   // bytes
	maxHeader    = 64 << 10  // bytes of what age says of recipients: some thirty
	freeBytes    = 64 << 20  // that may unpack from however little
	maxRatio     = 200       // from a byte, beyond those: a log is at 10 to 20, and deflate ends at 1032
)

// Manifest is what a backup says of itself.
type Manifest struct {
	Schema  string    `json:"schema"`
	Gateway string    `json:"gateway"` // trust domain and name: "hospital.example/ward-4"
	Made    time.Time `json:"made"`    // when what it holds was so
	By      string    `json:"by"`      // the user who asked for it
	Version string    `json:"version"` // of the cordon that wrote it
	Log     Log       `json:"log"`
	Files   []File    `json:"files"` // in the order of the archive
}

// Log is the audit log in a backup.
type Log struct {
	Entries    int64  `json:"entries"`    // it ends with entry Entries-1
	Checkpoint string `json:"checkpoint"` // that signs them
	Key        string `json:"key"`        // the log's verifier key
}

// File is one file of a gateway.
type File struct {
	Name   string      `json:"name"` // with slashes
	Size   int64       `json:"size"` // bytes
	Mode   fs.FileMode `json:"mode"` // permission bits only
	Owner  string      `json:"owner"`
	Group  string      `json:"group"`
	SHA256 string      `json:"sha256"` // hexadecimal
}

// Size is how many bytes the files have together.
func (m *Manifest) Size() (n int64) {
	for i := range m.Files {
		n += m.Files[i].Size
	}
	return n
}

// signed is the text that a backup's signature is of.
func signed(manifest []byte) string {
	sum := sha256.Sum256(manifest)
	return Schema + "\n" + hex.EncodeToString(sum[:]) + "\n"
}

// parseManifest reads a manifest as Close has written it.
func parseManifest(text []byte) (*Manifest, error) {
	var head struct {
		Schema string `json:"schema"`
	}
	if err := json.Unmarshal(text, &head); err == nil && head.Schema != Schema && strings.HasPrefix(head.Schema, family) {
		return nil, fmt.Errorf("%w: its schema is %.40q, this cordon reads %q", ErrVersion, head.Schema, Schema)
	}
	m := &Manifest{}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(m); err != nil {
		return nil, fmt.Errorf("read the manifest: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("read the manifest: more behind its end")
	}
	if m.Schema != Schema {
		return nil, fmt.Errorf("read the manifest: schema %.40q, want %q", m.Schema, Schema)
	}
	for i := range m.Files {
		if m.Files[i].Mode != m.Files[i].Mode.Perm() {
			return nil, fmt.Errorf("read the manifest: %q has mode %v, which is more than permissions", m.Files[i].Name, m.Files[i].Mode)
		}
	}
	return m, nil
}

// checkName wants a path that leads to one place inside a folder, whoever reads it.
func checkName(name string) error {
	switch {
	case len(name) > maxName:
		return fmt.Errorf("a name of %d bytes: %.40q…", len(name), name)
	case !fs.ValidPath(name) || name == ".":
		return fmt.Errorf("%q is no plain path inside a folder", name)
	case strings.ContainsFunc(name, func(c rune) bool { return c == '\\' || !unicode.IsPrint(c) }):
		return fmt.Errorf("%q has characters that no file here has", name)
	}
	return nil
}

// names are those of an archive so far. No file may be given twice, or be a folder as well.
type names struct{ files, folders map[string]bool }

func (n *names) add(name string) error {
	if n.files == nil {
		n.files, n.folders = map[string]bool{}, map[string]bool{}
	}
	if err := checkName(name); err != nil {
		return err
	}
	if len(n.files) >= maxFiles {
		return fmt.Errorf("more than %d files", maxFiles)
	}
	if n.files[name] || n.folders[name] {
		return fmt.Errorf("%q is there twice", name)
	}
	for at := 0; ; {
		i := strings.IndexByte(name[at:], '/')
		if i < 0 {
			break
		}
		if n.files[name[:at+i]] {
			return fmt.Errorf("%q is a file and a folder", name[:at+i])
		}
		n.folders[name[:at+i]] = true
		at += i + 1
	}
	n.files[name] = true
	return nil
}

package audit

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// openKeys reads the keys, or makes them in a folder without entries. The signing key
// is written last: where it is, the others are.
func (l *Log) openKeys() error {
	dir := l.cfg.Dir
	skey, err := os.ReadFile(filepath.Join(dir, fileKey))
	if errors.Is(err, os.ErrNotExist) {
		for _, sign := range []string{fileCheckpoint, filepath.Base(segmentPath(dir, 1))} {
			if _, err := os.Lstat(filepath.Join(dir, sign)); err == nil {
				return &Damage{0, "the signing key is missing: " + filepath.Join(dir, fileKey)}
			}
		}
		if skey, err = l.makeKeys(); err != nil {
			return fmt.Errorf("make keys: %w", err)
		}
	} else if err != nil {
		return err
	}
	if l.signer, err = note.NewSigner(strings.TrimSpace(string(skey))); err != nil {
		return fmt.Errorf("read signing key %q: %w", filepath.Join(dir, fileKey), err)
	}
	keys, err := readPublicKeys(dir)
	if err != nil {
		return err
	}
	v := keys.verifier
	if err := ownKey(skey, v); err != nil {
		return err
	}
	l.origin, l.verifier = v.Name(), v
	if l.cfg.Origin != "" && l.cfg.Origin != l.origin {
		return fmt.Errorf("its origin is %q, not %q: choose another folder or leave the origin as it was", l.origin, l.cfg.Origin)
	}
	l.codes = keys.codes
	return nil
}

func (l *Log) makeKeys() (skey []byte, err error) {
	if l.cfg.Origin == "" || len(l.cfg.Origin) > 128 || strings.ContainsFunc(l.cfg.Origin, func(r rune) bool { return r <= ' ' || r > '~' || r == '+' }) {
		return nil, fmt.Errorf("origin %q: a new log needs a name of 1 to 128 printable ASCII characters without space and plus, such as cordon.example/ward-3", l.cfg.Origin)
	}
	s, v, err := note.GenerateKey(rand.Reader, l.cfg.Origin)
	if err != nil {
		return nil, err
	}
	code := make([]byte, 16)
	rand.Read(code) // never fails
	d, dir := l.cfg.disk, l.cfg.Dir
	if err := writeFile(d, dir, fileCodes, []byte(formatCodeKey(code)), 0o600); err != nil {
		return nil, err
	}
	if err := writeFile(d, dir, fileVerifier, []byte(v+"\n"), 0o644); err != nil {
		return nil, err
	}
	return []byte(s), writeFile(d, dir, fileKey, []byte(s+"\n"), 0o600)
}

// ownKey sees that a signing key is the private half of a verifier's.
func ownKey(skey []byte, v note.Verifier) error {
	s, err := note.NewSigner(strings.TrimSpace(string(skey)))
	if err != nil {
		return fmt.Errorf("read %s: %w", fileKey, err)
	}
	if v.Name() != s.Name() || v.KeyHash() != s.KeyHash() {
		return fmt.Errorf("%s in it is not the public half of %s", fileVerifier, fileKey)
	}
	return nil
}

// Sign signs text, which ends in a newline, with the key of the log in dir, as a C2SP signed note.
// text must not begin as a checkpoint does, with the log's origin on a line of its own.
func Sign(dir, text string) ([]byte, error) {
	skey, err := os.ReadFile(filepath.Join(dir, fileKey))
	if err != nil {
		return nil, fmt.Errorf("sign with the log's key: %w", err)
	}
	s, err := note.NewSigner(strings.TrimSpace(string(skey)))
	if err != nil {
		return nil, fmt.Errorf("read signing key %q: %w", filepath.Join(dir, fileKey), err)
	}
	if strings.HasPrefix(text, s.Name()+"\n") {
		return nil, fmt.Errorf("sign %.60q: it begins as a checkpoint does", text)
	}
	return note.Sign(&note.Note{Text: text}, s)
}

// CheckSigned returns the text that Sign has signed, if it was with verifierKey's private half.
func CheckSigned(msg []byte, verifierKey string) (text string, err error) {
	v, err := note.NewVerifier(strings.TrimSpace(verifierKey))
	if err != nil {
		return "", fmt.Errorf("verifier key %.80q: %w", verifierKey, err)
	}
	n, err := note.Open(msg, note.VerifierList(v))
	if err != nil {
		return "", fmt.Errorf("check what %s has signed: %w", v.Name(), err)
	}
	return n.Text, nil
}

// publicKeys is what readers of a folder need.
type publicKeys struct {
	text     string // of key.pub
	verifier note.Verifier
	codes    *codes
}

func readPublicKeys(dir string) (k publicKeys, err error) {
	vkey, err := os.ReadFile(filepath.Join(dir, fileVerifier))
	if err != nil {
		return k, err
	}
	k.text = strings.TrimSpace(string(vkey))
	if k.verifier, err = note.NewVerifier(k.text); err != nil {
		return k, fmt.Errorf("read verifier key %q: %w", filepath.Join(dir, fileVerifier), err)
	}
	k.codes, err = readCodes(dir)
	return k, err
}

func readCodes(dir string) (*codes, error) {
	path := filepath.Join(dir, fileCodes)
	key, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c, err := newCodes(key)
	if err != nil {
		return nil, fmt.Errorf("read code key %q: %w", path, err)
	}
	return c, nil
}

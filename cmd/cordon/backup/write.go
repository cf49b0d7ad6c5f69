package backup

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Writer writes one backup. It is not for concurrent use.
type Writer struct {
	sealed io.WriteCloser
	packed *gzip.Writer
	tar    *tar.Writer
	seen   names
	files  []File
}

// NewWriter begins a backup for to. Nothing that is written to w says what is in it.
func NewWriter(w io.Writer, to Recipients) (*Writer, error) {
	sealed, err := to.seal(w)
	if err != nil {
		return nil, fmt.Errorf("seal the backup: %w", err)
	}
	packed, err := gzip.NewWriterLevel(sealed, gzip.BestSpeed) // the next level is half as fast for a tenth
	if err != nil {
		return nil, err
	}
	return &Writer{sealed: sealed, packed: packed, tar: tar.NewWriter(packed)}, nil
}

// Add adds a file of f.Size bytes, no more and no fewer. f.SHA256 is taken of what is read.
func (w *Writer) Add(f File, content io.Reader) error {
	if err := w.add(f, content); err != nil {
		return fmt.Errorf("back up %q: %w", f.Name, err)
	}
	return nil
}

func (w *Writer) add(f File, content io.Reader) error {
	if f.Name == manifestName || f.Name == signatureName {
		return errors.New("the name is the backup's own")
	}
	if err := w.seen.add(f.Name); err != nil {
		return err
	}
	if err := w.header(f.Name, f.Size); err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(w.tar, sum), io.LimitReader(content, f.Size))
	if err != nil {
		return err
	}
	if n != f.Size {
		return fmt.Errorf("it ends after %d of %d bytes: somebody cut it meanwhile", n, f.Size)
	}
	f.Mode, f.SHA256 = f.Mode.Perm(), hex.EncodeToString(sum.Sum(nil))
	w.files = append(w.files, f)
	return nil
}

// header begins a member. What stock tools unpack is its owner's alone.
func (w *Writer) header(name string, size int64) error {
	// Attributes (pax) come with names and sizes only that do not fit without.
	return w.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: time.Unix(0, 0)})
}

// Close completes the backup with its manifest, whose files and schema are set here, and with
// what sign makes of the text that it is given. It does not close what NewWriter was given.
func (w *Writer) Close(m *Manifest, sign func(text string) ([]byte, error)) error {
	m.Schema, m.Files = Schema, w.files
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	signature, err := sign(signed(text))
	if err != nil {
		return err
	}
	for _, member := range []struct {
		name string
		text []byte
	}{{manifestName, text}, {signatureName, signature}} {
		if err := w.header(member.name, int64(len(member.text))); err != nil {
			return fmt.Errorf("write the backup's %s: %w", member.name, err)
		}
		if _, err := w.tar.Write(member.text); err != nil {
			return fmt.Errorf("write the backup's %s: %w", member.name, err)
		}
	}
	for _, c := range []io.Closer{w.tar, w.packed, w.sealed} {
		if err := c.Close(); err != nil {
			return fmt.Errorf("complete the backup: %w", err)
		}
	}
	return nil
}

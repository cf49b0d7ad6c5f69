package backup

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// ErrFormat says that something is no backup, or not a whole one.
var ErrFormat = errors.New("not a whole backup")

// Opened is a backup that was read to its end.
type Opened struct {
	Manifest
	Signature []byte // of Text
	Text      string
}

// Read reads a whole backup and hands each file to take, in order. What take gets is not known
// to be whole, and from whom, before Read has returned without an error and the signature was
// checked. Memory does not grow with what is read, but for the manifest.
//
// An error wraps ErrKey if with does not open it, ErrVersion if another cordon wrote it, ErrFormat if it is none or was damaged or
// changed, or is what take returned.
func Read(r io.Reader, with Identities, take func(name string, size int64, content io.Reader) error) (*Opened, error) {
	file := &failing{r: r}
	opened, err := read(file, with, take)
	if file.err != nil { // no fault of the backup's
		return nil, file.err
	}
	return opened, err
}

func read(r io.Reader, with Identities, take func(name string, size int64, content io.Reader) error) (*Opened, error) {
	head := bufio.NewReaderSize(r, maxHeader)
	// age would read as long a header as there is.
	start, err := head.Peek(maxHeader)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if !bytes.HasPrefix(start, []byte("age-encryption.org/v1\n")) {
		return nil, fmt.Errorf("%w: it does not begin as one", ErrFormat)
	}
	if !bytes.Contains(start, []byte("\n--- ")) {
		return nil, fmt.Errorf("%w: its head has no end within %d bytes", ErrFormat, maxHeader)
	}
	plain, err := with.open(head)
	if err != nil {
		return nil, unreadable(err)
	}
	packed := &counter{r: plain}
	whole := bufio.NewReader(packed) // an io.ByteReader: gzip takes no byte beyond its member's end
	unpacked, err := gzip.NewReader(whole)
	if err != nil {
		return nil, unreadable(err)
	}
	unpacked.Multistream(false)
	bounded := &bounded{r: unpacked, packed: packed}
	a := archive{tar: tar.NewReader(bounded), take: take}
	opened, err := a.read()
	if err == nil {
		err = ends(bounded, whole)
	}
	if err != nil {
		return nil, err
	}
	return opened, nil
}

// ends sees that nothing is behind the archive, and that its checksums were right.
func ends(unpacked, packed io.Reader) error {
	for _, r := range []io.Reader{unpacked, packed} {
		switch _, err := io.ReadFull(r, make([]byte, 1)); err {
		case io.EOF:
		case nil:
			return fmt.Errorf("%w: there are bytes behind the end", ErrFormat)
		default:
			return unreadable(err)
		}
	}
	return nil
}

// archive is a backup's members as they come.
type archive struct {
	tar   *tar.Reader
	take  func(name string, size int64, content io.Reader) error
	seen  names
	files []File // as they were read
}

func (a *archive) read() (*Opened, error) {
	for {
		h, err := a.tar.Next()
		if err == io.EOF {
			return nil, fmt.Errorf("%w: it ends without a manifest", ErrFormat)
		}
		if err != nil {
			return nil, unreadable(err)
		}
		if err := checkMember(h); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFormat, err)
		}
		if h.Name == manifestName {
			return a.manifest()
		}
		if err := a.seen.add(h.Name); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFormat, err)
		}
		if err := a.file(h); err != nil {
			return nil, err
		}
	}
}

// checkMember refuses all but regular files without more to them than name and size.
func checkMember(h *tar.Header) error {
	if h.Typeflag != tar.TypeReg {
		return fmt.Errorf("%q is no regular file but of type %q", h.Name, h.Typeflag)
	}
	if h.Linkname != "" {
		return fmt.Errorf("%q is a link", h.Name)
	}
	for key := range h.PAXRecords {
		if key != "size" && key != "path" { // sparse files, links, capabilities
			return fmt.Errorf("%q has the attribute %q", h.Name, key)
		}
	}
	if h.Format&(tar.FormatUSTAR|tar.FormatPAX) == 0 {
		return fmt.Errorf("%q has a header of form %v", h.Name, h.Format)
	}
	return nil
}

// file hands one file on, and keeps what it was.
func (a *archive) file(h *tar.Header) error {
	sum := sha256.New()
	content := &failing{r: a.tar}
	seen := io.TeeReader(content, sum)
	err := a.take(h.Name, h.Size, seen)
	if err == nil {
		_, err = io.Copy(io.Discard, seen) // what take has left
	}
	if content.err != nil { // whatever take has made of it
		return unreadable(content.err)
	}
	if err != nil {
		return err
	}
	a.files = append(a.files, File{Name: h.Name, Size: h.Size, SHA256: hex.EncodeToString(sum.Sum(nil))})
	return nil
}

// manifest reads the last two members, and holds what was read against them.
func (a *archive) manifest() (*Opened, error) {
	text, err := readLimited(a.tar, maxManifest)
	if err != nil {
		return nil, unreadable(err)
	}
	m, err := parseManifest(text)
	if errors.Is(err, ErrVersion) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if len(m.Files) != len(a.files) {
		return nil, fmt.Errorf("%w: it holds %d files, its manifest names %d", ErrFormat, len(a.files), len(m.Files))
	}
	for i, f := range a.files {
		if is := &m.Files[i]; is.Name != f.Name || is.Size != f.Size || is.SHA256 != f.SHA256 {
			return nil, fmt.Errorf("%w: %q is not what its manifest says", ErrFormat, f.Name)
		}
	}
	if h, err := a.tar.Next(); err != nil || h.Name != signatureName || checkMember(h) != nil {
		return nil, fmt.Errorf("%w: its manifest is not followed by a signature", ErrFormat)
	}
	signature, err := readLimited(a.tar, maxSignature)
	if err != nil {
		return nil, unreadable(err)
	}
	switch _, err := a.tar.Next(); err {
	case io.EOF:
		return &Opened{*m, signature, signed(text)}, nil
	case nil:
		return nil, fmt.Errorf("%w: there is more behind its signature", ErrFormat)
	default:
		return nil, unreadable(err)
	}
}

// unreadable says that what was read is no backup.
func unreadable(err error) error {
	if errors.Is(err, ErrKey) || errors.Is(err, ErrFormat) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrFormat, err)
}

// failing remembers why reading failed.
type failing struct {
	r   io.Reader
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && err != io.EOF {
		f.err = err
	}
	return n, err
}

// counter counts what is read.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// bounded refuses what unpacks to far more than a gateway's files do.
type bounded struct {
	r      io.Reader
	n      int64
	packed *counter
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.n += int64(n); b.n > freeBytes && b.n-freeBytes > maxRatio*b.packed.n {
		return 0, fmt.Errorf("%w: %d bytes unpack to more than %d", ErrFormat, b.packed.n, b.n)
	}
	return n, err
}

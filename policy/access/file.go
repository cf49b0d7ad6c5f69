package access

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const (
	schema  = "cordon.ledger/v1"
	maxFile = 48 << 20 // bytes; the most facts of the longest make some 31 MiB
)

// file is how a ledger is kept.
type file struct {
	Schema string `json:"schema"`
	Facts  []Fact `json:"facts"`
}

// Read reads the ledger that Write kept. A file that does not exist is an empty ledger. On any
// other error nothing is known: which devices are quarantined neither, so whoever decides has
// to take every one of them for it.
func Read(path string) (Ledger, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Ledger{}, nil
	}
	if err != nil {
		return Ledger{}, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return Ledger{}, fmt.Errorf("read %q: %w", path, err)
	}
	l, err := Parse(b)
	if err != nil {
		return Ledger{}, fmt.Errorf("read %q: %w", path, err)
	}
	return l, nil
}

// Parse reads a ledger as Format writes it. Every fact in it is one that could have been made.
func Parse(b []byte) (Ledger, error) {
	if len(b) > maxFile {
		return Ledger{}, fmt.Errorf("longer than %d MiB", maxFile>>20)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var in file
	if err := d.Decode(&in); err != nil {
		return Ledger{}, fmt.Errorf("no ledger: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return Ledger{}, fmt.Errorf("more after the end of the ledger")
	}
	if in.Schema != schema {
		return Ledger{}, fmt.Errorf("schema %.40q: want %q", in.Schema, schema)
	}
	seen := map[string]bool{}
	for i := range in.Facts {
		f := &in.Facts[i]
		err := f.check()
		switch {
		case err != nil:
		case f.ID == "" || seen[f.ID]:
			err = fmt.Errorf("an id that is empty or another's")
		case checkName("id", f.ID, maxName) != nil:
			err = checkName("id", f.ID, maxName)
		}
		if err != nil {
			return Ledger{}, fmt.Errorf("fact %d, %.20q: %w", i+1, f.ID, err)
		}
		seen[f.ID] = true
		for _, t := range []*time.Time{&f.Made, &f.From, &f.Until, &f.Ended, &f.Reviewed} {
			*t = t.UTC()
		}
	}
	if len(in.Facts) > MaxFacts+maxKept+MaxFacts { // those that ended in one stroke are dropped with the next
		return Ledger{}, fmt.Errorf("%d facts are more than are ever kept", len(in.Facts))
	}
	return Ledger{in.Facts}, nil
}

// Format writes a ledger for Parse, one fact to a line.
func (l Ledger) Format() ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "{\"schema\":%q,\"facts\":[", schema)
	for i := range l.Facts {
		line, err := json.Marshal(&l.Facts[i])
		if err != nil {
			return nil, fmt.Errorf("format fact %q: %w", l.Facts[i].ID, err)
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
		b.Write(line)
	}
	b.WriteString("\n]}\n")
	return b.Bytes(), nil
}

// Write keeps a ledger in the file at path, whose folder exists: after a crash it is there whole, or
// the former one is. It returns when it is durable.
func (l Ledger) Write(path string) error {
	b, err := l.Format()
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".new-") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %q: %w", path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

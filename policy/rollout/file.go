package rollout

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// maxFile bounds the file of a State: some 130 revisions and 1000 devices.
const maxFile = 1 << 20

// envelope is the file: a State with its digest, so that a damaged disk cannot turn one
// revision's number into another's.
type envelope struct {
	Version int             `json:"version"` // of this format: 1
	SHA256  string          `json:"sha256"`  // of the bytes of state
	State   json.RawMessage `json:"state"`
}

// Read returns the State in a file that Write made. Whatever else is there is an error:
// which policy is in force is nothing to guess at. The error wraps fs.ErrNotExist if
// there is no file.
func Read(path string) (State, error) {
	f, err := os.Open(path)
	if err != nil {
		return State{}, fmt.Errorf("read the rollout's state: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return State{}, fmt.Errorf("read the rollout's state: %w", err)
	}
	s, err := Parse(text)
	if err != nil {
		return State{}, fmt.Errorf("read the rollout's state in %q: %w", path, err)
	}
	return s, nil
}

// Parse reads the content of such a file.
func Parse(text []byte) (State, error) {
	if len(text) > maxFile {
		return State{}, fmt.Errorf("more than %d bytes", maxFile)
	}
	var e envelope
	var s State
	switch err := strictly(text, &e); {
	case err != nil:
		return State{}, err
	case e.Version != 1:
		return State{}, fmt.Errorf("version %d is not known", e.Version)
	case e.SHA256 != sum(e.State):
		return State{}, errors.New("it was damaged or changed: its digest is another")
	}
	if err := strictly(e.State, &s); err != nil {
		return State{}, err
	}
	if again, err := json.Marshal(s); err != nil || !bytes.Equal(again, e.State) {
		return State{}, errors.New("it is not in its canonical form")
	}
	return s, s.check()
}

// strictly reads one JSON value that has no keys but v's.
func strictly(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("not JSON of its form: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more behind its end")
	}
	return nil
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// Write makes the file at path hold s: whoever reads it, also after a power failure, sees
// all of s or all of what was there before. When it returns without error, s is durable.
func Write(path string, s State) error {
	if err := s.check(); err != nil {
		return fmt.Errorf("keep the rollout's state: %w", err)
	}
	state, err := json.Marshal(s)
	if err == nil {
		state, err = json.Marshal(envelope{1, sum(state), state})
	}
	if err == nil {
		err = Replace(path, append(state, '\n'))
	}
	if err != nil {
		return fmt.Errorf("keep the rollout's state: %w", err)
	}
	return nil
}

// Replace makes text the content of the file at path, which only its owner may read,
// as a whole and durably.
func Replace(path string, text []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".new-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
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

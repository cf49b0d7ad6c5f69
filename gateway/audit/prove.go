package audit

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Proof shows that one entry is in a log, without showing any other.
type Proof struct {
	Index      int64            `json:"index"`
	Entry      []byte           `json:"entry"` // the entry's JSON, byte for byte
	Path       tlog.RecordProof `json:"path"`  // the audit path of RFC 6962 section 2.1.1
	Checkpoint string           `json:"checkpoint"`
}

// Prove returns the proof of one entry against the newest checkpoint. An entry too
// young to be under one gives an error wrapping ErrNoEntry: ask again in a second.
func (r *Reader) Prove(index int64) (Proof, error) {
	p, err := r.prove(index)
	if err != nil {
		return Proof{}, fmt.Errorf("prove entry %d: %w", index, err)
	}
	return p, nil
}

func (r *Reader) prove(index int64) (Proof, error) {
	msg, err := r.Checkpoint()
	if err != nil {
		return Proof{}, err
	}
	t, err := ParseCheckpoint(msg, r.keys.verifier)
	if err != nil {
		return Proof{}, fmt.Errorf("read the checkpoint: %w", err)
	}
	if index < 0 || index >= t.N {
		return Proof{}, fmt.Errorf("%w under the newest checkpoint, which signs %d", ErrNoEntry, t.N)
	}
	entry, err := r.raw(index)
	if err != nil {
		return Proof{}, err
	}
	f, err := os.Open(filepath.Join(r.dir, fileHashes))
	if err != nil {
		return Proof{}, err
	}
	defer f.Close()
	path, err := tlog.ProveRecord(t.N, index, storedHashes(f))
	if err != nil {
		return Proof{}, err
	}
	p := Proof{Index: index, Entry: entry, Path: path, Checkpoint: string(msg)}
	if err := CheckProof(p, r.keys.text); err != nil {
		return Proof{}, fmt.Errorf("%w; the entry or the hash file is damaged: verify the log", err)
	}
	return p, nil
}

// CheckProof checks p, trusting only verifierKey. Parse p.Entry with ParseEntry.
func CheckProof(p Proof, verifierKey string) error {
	v, err := note.NewVerifier(strings.TrimSpace(verifierKey))
	if err != nil {
		return fmt.Errorf("check proof: verifier key %.80q: %w", verifierKey, err)
	}
	t, err := ParseCheckpoint([]byte(p.Checkpoint), v)
	if err != nil {
		return fmt.Errorf("check proof: read its checkpoint: %w", err)
	}
	if err := tlog.CheckRecord(p.Path, t.N, t.Hash, p.Index, tlog.RecordHash(p.Entry)); err != nil {
		return fmt.Errorf("check proof: entry %d is not what the checkpoint signs: %w", p.Index, err)
	}
	h, err := parseHead(p.Entry)
	if err != nil || h.index != p.Index {
		return fmt.Errorf("check proof: the entry is not number %d", p.Index)
	}
	return nil
}

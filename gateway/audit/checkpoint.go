package audit

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A checkpoint is a C2SP tlog-checkpoint: origin, size and root, one per line, signed
// as a note. It is written only for durable entries, after the nodes of its tree.

func formatCheckpoint(t tlog.Tree, s note.Signer) ([]byte, error) {
	return note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", s.Name(), t.N, t.Hash)}, s)
}

// ParseCheckpoint returns the size and root a checkpoint signs. It may carry other
// signatures than the verifier's.
func ParseCheckpoint(msg []byte, v note.Verifier) (tlog.Tree, error) {
	n, err := note.Open(msg, note.VerifierList(v))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) < 4 || lines[0] != v.Name() {
		return tlog.Tree{}, fmt.Errorf("not a checkpoint of %q", v.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return tlog.Tree{}, fmt.Errorf("checkpoint of size %.30q", lines[1])
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil || root.String() != lines[2] {
		return tlog.Tree{}, fmt.Errorf("checkpoint of root %.60q", lines[2])
	}
	return tlog.Tree{N: size, Hash: root}, nil
}

// parseOwnCheckpoint accepts only what formatCheckpoint writes, byte for byte.
func parseOwnCheckpoint(msg []byte, v note.Verifier) (tlog.Tree, error) {
	t, err := ParseCheckpoint(msg, v)
	if err != nil {
		return t, err
	}
	text := fmt.Sprintf("%s\n%d\n%s\n\n— %s ", v.Name(), t.N, t.Hash, v.Name())
	sig, ok := strings.CutPrefix(string(msg), text)
	if _, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSuffix(sig, "\n")); !ok || err != nil || strings.Count(sig, "\n") != 1 {
		return tlog.Tree{}, errors.New("not as its writer wrote it")
	}
	return t, nil
}

// checkpointLines is how many lines a checkpoint has as formatCheckpoint writes it.
const checkpointLines = 5

// parseHistory reads the file of kept checkpoints. last is where the last one begins,
// torn what an interrupted write left behind it.
func parseHistory(b []byte, v note.Verifier) (trees []tlog.Tree, last, torn int, err error) {
	for whole := len(b); len(b) > 0; {
		end := 0
		for range checkpointLines {
			n := bytes.IndexByte(b[end:], '\n')
			if n < 0 {
				return trees, last, len(b), nil
			}
			end += n + 1
		}
		t, err := parseOwnCheckpoint(b[:end], v)
		if err != nil {
			return trees, last, 0, fmt.Errorf("kept checkpoint %d: %w", len(trees)+1, err)
		}
		if n := len(trees); n > 0 && trees[n-1].N >= t.N {
			return trees, last, 0, fmt.Errorf("kept checkpoint %d is not newer than the one before it", n+1)
		}
		trees, last = append(trees, t), whole-len(b)
		b = b[end:]
	}
	return trees, last, 0, nil
}

// dueForSigning has the durable entries signed within the set time. The caller holds mu.
func (l *Log) dueForSigning() {
	if l.signTimer || l.closed {
		return
	}
	l.signTimer = true
	time.AfterFunc(l.cfg.sign, func() {
		l.mu.Lock()
		l.signTimer = false
		if l.closed {
			l.mu.Unlock()
			return
		}
		l.work.Add(1)
		l.mu.Unlock()
		defer l.work.Done()
		if err := l.sign(false); err != nil {
			l.mu.Lock()
			l.setUnwritable(err, true)
			l.mu.Unlock()
		}
	})
}

// sign publishes a checkpoint of the durable entries, if there are new ones. keep also
// puts it into the history, which otherwise happens from time to time.
func (l *Log) sign(keep bool) error {
	l.signing.Lock()
	defer l.signing.Unlock()
	l.mu.Lock()
	t := tlog.Tree{N: l.tree.size, Hash: l.tree.root()}
	nodes := l.unsigned
	l.mu.Unlock()

	if t.N != l.signed.N || l.checkpoint == nil {
		msg, err := formatCheckpoint(t, l.signer)
		if err == nil {
			err = l.storeNodes(tlog.StoredHashCount(l.signed.N), nodes)
		}
		if err == nil {
			err = writeFile(l.cfg.disk, l.cfg.Dir, fileCheckpoint, msg, 0o600)
		}
		if err != nil {
			return fmt.Errorf("write checkpoint of %d entries: %w", t.N, err)
		}
		l.signed, l.checkpoint = t, msg
		l.mu.Lock()
		l.unsigned = append(l.unsigned[:0], l.unsigned[len(nodes):]...)
		if len(l.unsigned) > 0 {
			l.dueForSigning()
		}
		l.mu.Unlock()
	}
	if l.kept != l.signed.N && (keep || time.Since(l.keptAt) >= l.cfg.keep) {
		_, err := l.history.WriteAt(l.checkpoint, l.historyEnd)
		if err == nil {
			err = l.history.Sync()
		}
		if err != nil {
			return fmt.Errorf("keep checkpoint of %d entries: %w", t.N, err)
		}
		l.historyEnd += int64(len(l.checkpoint))
		l.kept, l.keptAt = l.signed.N, time.Now()
	}
	return nil
}

// storeNodes writes nodes to the hash file, from node number first on, and makes them
// durable so that a start after a power cut finds them.
func (l *Log) storeNodes(first int64, nodes []tlog.Hash) error {
	at := first * tlog.HashSize
	for len(nodes) > 0 {
		k := min(len(nodes), 1<<15)
		buf := make([]byte, 0, k*tlog.HashSize)
		for _, h := range nodes[:k] {
			buf = append(buf, h[:]...)
		}
		if _, err := l.hashes.WriteAt(buf, at); err != nil {
			return err
		}
		at += int64(len(buf))
		nodes = nodes[k:]
	}
	return l.hashes.Sync()
}

package ca

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// keptLists are the last good lists of foreign authorities, a file for each, so that a start does not depend on
// what lies at CRLFile in that moment, and so that an older list stays an older one. Each is in DER, as it was
// signed, and is verified again when it is read. That of an authority which is not trusted any more stays: it may
// come back.
type keptLists struct {
	dir   string // made when there is something to keep
	at    time.Time
	fault error // why something could not be kept, then
	lost  error // why something that was kept could not be read, until it is told
}

func (s *keptLists) path(by signer) string {
	return filepath.Join(s.dir, hex.EncodeToString(by[:])+".crl")
}

// recall returns the known lists of the authorities, and of those without one the list that is kept.
func (s *keptLists) recall(as authorities, known listsByKey) listsByKey {
	all := listsByKey{}
	var lost []error
	for _, a := range as {
		if all[a.signer] != nil {
			continue
		}
		l := known[a.signer]
		if l == nil {
			var err error
			if l, err = s.read(as, a.signer); errors.Is(err, fs.ErrNotExist) {
				continue
			} else if err != nil {
				lost = append(lost, fmt.Errorf("read the list of %s that was kept, %q: %w: one that is older than it would be believed", nameOf(a.RawSubject), s.path(a.signer), causeOf(err)))
				continue
			}
		}
		all[a.signer] = l
	}
	s.lost = errors.Join(lost...)
	return all
}

func (s *keptLists) read(as authorities, by signer) (*list, error) {
	der, err := readFile(s.path(by))
	if err != nil {
		return nil, err
	}
	// It was believed once, when it was not to come any more: the clock may have been set back since.
	is, l, err := as.parseList(der, time.Unix(1<<40, 0))
	if err != nil {
		return nil, err
	}
	if is != by {
		return nil, fmt.Errorf("it is of %s", nameOf(l.issuer))
	}
	l.raw = nil
	return l, nil
}

// admit refuses lists that are older than known ones of the same authority. What is known need not be kept again.
func (s *keptLists) admit(next, known listsByKey) error {
	for _, by := range next.signers() {
		l, was := next[by], known[by]
		if was == nil {
			continue
		}
		if err := l.olderThan(was); err != nil {
			return fmt.Errorf("%w (if that authority counts anew: stop the gateway, and remove %q)", err, s.path(by))
		}
		if l.digest == was.digest {
			l.raw = was.raw
		}
	}
	return nil
}

// keep writes what is not kept yet. What cannot be is in force all the same, and is tried again.
func (s *keptLists) keep(as authorities, all listsByKey) error {
	if s.fault != nil && time.Since(s.at) < refusedAgain {
		return s.fault
	}
	s.at, s.fault = time.Now(), nil
	for _, by := range all.signers() {
		l := all[by]
		if l.raw == nil {
			continue
		}
		if err := s.write(as, by, l); err == nil {
			l.raw = nil
		} else if s.fault == nil { // the first stands for all
			s.fault = fmt.Errorf("keep the revocation list of %s in %q: %w: it is in force, and a restart would not know it", nameOf(l.issuer), s.dir, causeOf(err))
		}
	}
	return s.fault
}

// write leaves a newer list alone, which another process may have put there: during a hand-over two follow the files.
func (s *keptLists) write(as authorities, by signer, l *list) error {
	if was, err := s.read(as, by); err == nil && l.olderThan(was) != nil {
		return nil
	}
	switch err := os.Mkdir(s.dir, 0o700); {
	case err == nil:
		if err := syncDir(filepath.Dir(s.dir)); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrExist):
		return err
	}
	return writeFile(s.path(by), l.raw, 0o600)
}

// causeOf is an error of a file without its name, which may be one of the moment.
func causeOf(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}

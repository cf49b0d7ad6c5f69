package ca

import (
	"errors"
	"fmt"
	"time"
)

// Retrust has s go by other files than it was made with, as SourceConfig has them: who is vouched for by an authority that is not
// named any more is not trusted from then on, in live sessions too. An error says what cannot be read; of that nobody is trusted
// until it can be.
func (s *Source) Retrust(trustFile, crlFile string) error {
	t := s.trust
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.foreign.path == trustFile && t.lists.path == crlFile {
		return nil
	}
	t.foreign, t.lists = watched{path: trustFile}, listFile{watched: watched{path: crlFile}}
	k := *t.known.Load()
	k.foreign, k.authorities, k.lists = nil, nil, nil
	_, err := t.followForeign(&k) // with the last good lists, if there is to be any
	_, noLists := t.followLists(&k)
	k.over = k.lists.over(time.Now())
	k.epoch++
	t.known.Store(&k) // at once: who is trusted before and after is so in between
	if err = errors.Join(err, noLists); err != nil {
		return fmt.Errorf("trust other authorities: %w", err)
	}
	return nil
}

package envelope

import (
	"bytes"
	"slices"
	"time"
)

// Restored is s, of some time ago, where it is known what became of it since: a code that either knows
// as used is used, and who guessed waits. false: since is another set, so s is void.
func (s *Set) Restored(since *Set) (restored *Set, same bool) {
	same = since != nil && s.Made.Equal(since.Made) && bytes.Equal(s.Salt, since.Salt) &&
		slices.EqualFunc(s.Codes, since.Codes, func(a, b sealedCode) bool { return bytes.Equal(a.Hash, b.Hash) })
	if !same {
		return s, false
	}
	next := *s
	next.Codes = slices.Clone(s.Codes)
	for i := range next.Codes {
		if next.Codes[i].Used.IsZero() {
			next.Codes[i].Used = since.Codes[i].Used
		}
	}
	next.Wrong, next.Last = since.Wrong, since.Last
	return &next, true
}

// Void is s with every code used up: in which envelopes some are that were used is not known.
func (s *Set) Void(now time.Time) *Set {
	next := *s
	next.Codes = slices.Clone(s.Codes)
	for i := range next.Codes {
		if next.Codes[i].Used.IsZero() {
			next.Codes[i].Used = now.UTC().Truncate(time.Second)
		}
	}
	return &next
}

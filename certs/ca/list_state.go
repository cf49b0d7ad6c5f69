package ca

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// ListState says until when the list counts that an authority of the trust file has made.
type ListState struct {
	Authority  string    // its name, quoted
	NextUpdate time.Time // zero: there is no list of it
	life       time.Duration
	gone       bool
}

// notice is how long before its end a list is spoken of, at most: a quarter of its life if that is less,
// for many an authority makes a list for a day or a week, and the next one shortly before.
const notice = 48 * time.Hour

// Fault says what is wrong with it, or soon will be; nil: nothing.
func (s ListState) Fault(now time.Time) error {
	switch {
	case s.NextUpdate.IsZero():
		return fmt.Errorf("no revocation list of %s: its certificates are refused", s.Authority)
	case now.After(s.NextUpdate):
		return fmt.Errorf("the revocation list of %s was over %s: its certificates are refused", s.Authority, stamp(s.NextUpdate))
	case s.gone:
		return fmt.Errorf("the revocation list of %s is not in the file any more: its certificates are refused from %s on", s.Authority, stamp(s.NextUpdate))
	case !now.Before(s.NextUpdate.Add(-min(notice, s.life/4))):
		return fmt.Errorf("the revocation list of %s is over %s: its certificates are refused from then on", s.Authority, stamp(s.NextUpdate))
	}
	return nil
}

// maxFaults of lists are told at a time: it becomes an entry.
const maxFaults = 8

func faultOf(states []ListState, now time.Time) error {
	var faults []error
	for _, s := range states {
		if err := s.Fault(now); err != nil {
			faults = append(faults, err)
		}
	}
	if more := len(faults) - maxFaults; more > 0 {
		faults = append(faults[:maxFaults], fmt.Errorf("and %d more", more))
	}
	return errors.Join(faults...)
}

// ListsFound is how it is with the lists in a CRLFile and with those that are kept.
type ListsFound struct {
	States []ListState // of every authority in the trust file, with what a start would have of it
	Faults []error     // why the file, or what is kept, is not followed
}

// LookAtLists reads the two files of a SourceConfig as a start would, and changes nothing. Its error is what would
// keep a gateway from starting. Without a crlFile it reads the other, and finds nothing.
func (a *Authority) LookAtLists(trustFile, crlFile string) (ListsFound, error) {
	if trustFile == "" && crlFile == "" {
		return ListsFound{}, nil
	}
	t := a.watch(trustFile, crlFile, slog.New(slog.DiscardHandler), nil)
	var k knowledge
	if err := t.begin(&k); err != nil || crlFile == "" {
		return ListsFound{}, err
	}
	found := ListsFound{States: k.authorities.states(k.lists)}
	for _, fault := range []error{t.lists.fault, t.kept.lost} {
		if fault != nil {
			found.Faults = append(found.Faults, fault)
		}
	}
	return found, nil
}

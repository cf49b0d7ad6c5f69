package gateway

import (
	"errors"
	"fmt"
	"time"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// flip is what a live session was allowed and is refused now.
type flip struct {
	session  *session
	op       sdk.OpID // 0: the session itself
	request  policy.Request
	decision policy.Decision
	at       time.Time
	cut      *time.Timer // ends the session if nothing else has
}

// withdraw tells s that it has to end, once. It waits for nothing that the session does:
// the flows see to its end, and whatever holds them up is cut when the grace is over.
func (s *session) withdraw(f *flip) bool {
	f.at = time.Now()
	f.cut = time.AfterFunc(s.gateway.grace, func() { s.fail(f.cause()) })
	if !s.flip.CompareAndSwap(nil, f) {
		f.cut.Stop()
		return false
	}
	s.wake()
	return true
}

// lastWord decides the operation in s.request for a session that has to end: as the rules
// do if they refuse it, so that the code explains why.
func (s *session) lastWord(f *flip) policy.Decision {
	if d := s.gateway.decide(s.gateway.grounds.Load(), s.route, &s.request); !d.Allow {
		return d
	}
	on := f.decision // what the session ends for, whatever has come into force since
	return policy.Decision{Reason: "the session is not permitted any more: " + on.Reason, Revision: on.Revision, Data: on.Data, Cause: on.Cause}
}

// farewellEvery is how often a session that has to end looks whether it can.
const farewellEvery = 20 * time.Millisecond

// shortRest is how much of an operation may be missing for it to be let through; what has
// a longer rest is refused on the spot.
const shortRest = sdk.WindowSize

// farewell ends a session that has to, with an error: at once if nothing is under way, else
// behind the reply to it, at the latest halfway through the grace. What still arrives then is
// refused in the protocol, and the other half of the time is for the client to read that.
// f's own goroutine calls it; only the client's flow can refuse what the client asked, so
// the other leaves the end to it.
func (s *session) farewell(f *flow) error {
	if f.dir == sdk.Reverse && !s.flows[sdk.Forward].hasEnded() {
		return nil
	}
	end := s.flip.Load()
	late := time.Since(end.at) >= s.gateway.late
	if f.dir == sdk.Forward {
		for _, op := range s.arriving(late) {
			if err := s.cutShort(op, end); err != nil {
				return err
			}
		}
	}
	if late || s.still() && s.flows[sdk.Forward].settled() && s.flows[sdk.Reverse].settled() {
		return end.cause()
	}
	return nil
}

// Why a session ends whose verdict flips.
var (
	errWithdrawn = errors.New("not permitted any more")
	errPermitted = errors.New("permitted now, and everything in this session is refused")
)

func (f *flip) cause() error {
	if f.decision.Allow {
		return errPermitted
	}
	return fmt.Errorf("%w: %s", errWithdrawn, f.decision.Reason)
}

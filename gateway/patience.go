package gateway

import (
	"errors"
	"net"
	"time"

	"cordon/plugins/sdk"
)

// drainQuiet is how long a session must have been silent to be ended by a gateway that
// is shutting down.
const drainQuiet = 300 * time.Millisecond

// patience is how long f may wait for its next byte; 0 is for ever. When it has run out,
// timedOut says whether that ends the session.
func (s *session) patience(f *flow) time.Duration {
	other := &s.flows[f.dir.Opposite()]
	switch {
	case s.ending.Load():
		return farewellTimeout
	case s.flip.Load() != nil:
		return farewellEvery
	case s.gateway.draining.Load():
		return drainQuiet
	case !f.quiet():
		return s.gateway.Limits.StallTimeout
	case other.hasEnded():
		return s.gateway.Limits.HalfCloseTimeout
	}
	return s.idleTimeout()
}

// idleTimeout is the route's, and short where everything is refused anyway.
func (s *session) idleTimeout() time.Duration {
	if s.refused != nil {
		return s.gateway.Limits.StallTimeout
	}
	return s.route.IdleTimeout
}

// timedOut judges a read that waited in vain, or was woken. An error ends the session.
func (s *session) timedOut(f *flow) error {
	limits := &s.gateway.Limits
	now := time.Now()
	silent := now.Sub(s.began) - time.Duration(s.active.Load())
	other := &s.flows[f.dir.Opposite()]
	switch {
	case s.inspection.Err() != nil:
		return s.inspection.Err()
	case s.ending.Load():
		if now.Sub(s.endingSince()) >= farewellTimeout {
			return errStalled
		}
	case s.flip.Load() != nil:
		return s.farewell(f)
	case s.gateway.draining.Load() && silent >= drainQuiet && s.rests():
		return errDrained
	case !f.quiet() && now.Sub(f.heard) >= limits.StallTimeout && (f.settled() || silent >= limits.StallTimeout):
		// A refusal may be owed as long as the refused operation still arrives.
		return errStalled
	case other.hasEnded() && silent >= limits.HalfCloseTimeout:
		return errHalf
	case s.idleTimeout() > 0 && silent >= s.idleTimeout() && s.rests():
		return errIdle
	}
	return nil
}

// rests reports whether nothing is under way in either direction. What has arrived may still be
// with the plugin, the policy or the log, however long nothing else has.
func (s *session) rests() bool {
	return s.flows[sdk.Forward].quiet() && s.flows[sdk.Reverse].quiet()
}

func (s *session) endingSince() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ends
}

func isTimeout(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout()
}

// expect sets the deadline of f's next read. A deadline that is a little old is left
// alone: setting one costs more than a small read.
func (f *flow) expect(wait time.Duration) {
	f.waking.Lock()
	defer f.waking.Unlock()
	switch {
	case f.woken:
		f.woken, f.waits, f.renewed = false, -1, time.Time{} // the read will return at once
		return
	case wait == 0:
		if f.waits != 0 {
			f.src.SetReadDeadline(time.Time{})
		}
		f.waits = 0
		return
	}
	if now := time.Now(); wait != f.waits || now.Sub(f.renewed) > wait/4 {
		f.src.SetReadDeadline(now.Add(wait))
		f.waits, f.renewed = wait, now
	}
}

// wake makes f's waiting read return with a timeout, or its next one if none is waiting.
func (f *flow) wake() {
	f.waking.Lock()
	defer f.waking.Unlock()
	if f.src != nil {
		f.woken = true
		f.src.SetReadDeadline(time.Unix(1, 0))
	}
}

// hasEnded reports whether f's source has ended.
func (f *flow) hasEnded() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ended
}

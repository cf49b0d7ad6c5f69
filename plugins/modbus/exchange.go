package modbus

import (
	"slices"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// exchange is a request without its response.
type exchange struct {
	op       sdk.OpID
	id       uint16 // transaction identifier
	unit     byte
	function byte
	reads    bool
	answer   shape
	wrong    *fault // it is malformed: the device never sees it
	silent   bool
	optional bool
}

// waits reports whether the device owes a response, as far as is known.
func (x *exchange) waits() bool { return x.wrong == nil && !x.optional }

// forget drops requests that cannot be named any more once one more has been announced. One
// that the device left unanswered ends so, as there is no clock here.
func (s *session) forget() {
	n := 0
	for n < len(s.open) && s.open[n].op+sdk.MaxOpen <= s.latest+1 {
		n++
	}
	s.open = slices.Delete(s.open, 0, n)
}

// crowded looks for what keeps a request from being sent now. Two with one transaction
// identifier could not be told apart by their responses; and a client that sends one again
// because the response is late would have the device do it twice. It is told that the
// device is busy, which is true, and not that anything is wrong with what it asks.
func (s *session) crowded(f *frame, r *request) *fault {
	waiting := 0
	for i := range s.open {
		x := &s.open[i]
		if !x.waits() {
			continue
		}
		waiting++
		if x.id != f.id {
			continue
		}
		if !s.set.sharedIDs || !x.reads || r.op.Class != policy.ClassRead {
			return idInUse
		}
		r.quirks |= sharedID
	}
	if waiting >= s.set.maxOutstanding {
		return tooMany
	}
	return nil
}

// answeredBy returns the index of the request that a response answers, the oldest if there
// are several, or -1 and what is wrong.
func (s *session) answeredBy(f *frame) (int, string) {
	wrong := "response to no request"
	oldest := -1
	for i := range s.open {
		x := &s.open[i]
		if x.wrong != nil {
			continue
		}
		if oldest < 0 && !x.optional {
			oldest = i
		}
		if x.id != f.id || x.unit != f.unit {
			continue
		}
		function, fits := x.answers(f.pdu)
		if fits {
			return i, ""
		}
		if function {
			wrong = "response that does not fit its request"
		}
	}
	if s.set.loose && oldest >= 0 {
		s.quirks |= looseResponse
		return oldest, ""
	}
	return -1, wrong
}

package dimse

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// SCP is a device. Its zero value accepts every association and every SOP class, takes
// objects and forgets them. It may serve many connections at a time, and is not changed
// meanwhile.
type SCP struct {
	AETitle    string   // that it must be called by; "": any
	SOPClasses []string // nil: any
	MaxPDU     uint32   // bytes of the longest P-DATA-TF it takes; 0: 16 KiB
	Objects    []Object // what C-FIND finds and C-GET sends, whatever the keys

	// Stored, if not nil, is called after each object that was stored, from the goroutine
	// that serves its connection. Without it no digest is computed.
	Stored func(Stored)
}

// Serve serves one association over c, which it leaves open. It returns nil after a
// release or if c ends before an association, and *Abort if the client aborts.
func (s *SCP) Serve(c io.ReadWriter) error {
	a, err := s.accept(c)
	if err != nil {
		if errors.Is(err, io.EOF) {
			return nil
		}
		return fmt.Errorf("accept an association: %w", err)
	}
	for {
		in, request, err := a.receive()
		if errors.Is(err, errReleased) {
			return a.write(pduReleaseRP, make([]byte, 4))
		}
		if err == nil {
			err = s.perform(a, in, request)
		}
		if err != nil {
			if _, aborted := errors.AsType[*Abort](err); !aborted {
				a.Abort()
			}
			return fmt.Errorf("serve %q: %w", a.calling, err)
		}
	}
}

// accept answers an A-ASSOCIATE-RQ.
func (s *SCP) accept(c io.ReadWriter) (*Association, error) {
	a := &Association{wire: newWire(c), receives: s.MaxPDU}
	if a.receives == 0 {
		a.receives = defaultPDU
	}
	kind, length, err := a.header()
	if err != nil {
		return nil, err
	}
	if kind != pduAssociateRQ {
		return nil, a.unexpected(kind, length)
	}
	b, err := a.body(kind, length, maxNegotiate)
	if err != nil {
		return nil, err
	}
	p, err := parseNegotiation(b)
	if err != nil {
		return nil, err
	}
	a.called, a.calling, a.sends = p.called, p.calling, longest(p.maxPDU, a.receives)
	if s.AETitle != "" && s.AETitle != p.called {
		no := Rejection{1, 1, 7}
		if err := a.write(pduAssociateRJ, []byte{0, no.Result, no.Source, no.Reason}); err != nil {
			return nil, err
		}
		io.CopyN(io.Discard, a.r, maxNegotiate) // the client closes: if we did, it might not read why
		return nil, &no
	}
	results := make([]presentation, len(p.contexts))
	for i, proposed := range p.contexts {
		results[i] = s.negotiate(proposed)
		if results[i].result == accepted {
			a.contexts = append(a.contexts, results[i])
		}
	}
	a.roles = p.roles
	return a, a.write(pduAssociateAC, a.negotiation(itemResult, results, p.roles))
}

// negotiate answers one proposed presentation context.
func (s *SCP) negotiate(c presentation) presentation {
	proposed := c.syntaxes
	c.syntaxes = []string{ImplicitVRLittleEndian} // not significant unless accepted
	if s.SOPClasses != nil && !slices.Contains(s.SOPClasses, c.sopClass) {
		c.result = unsupportedSOP
		return c
	}
	for _, syntax := range proposed {
		if syntax == ExplicitVRLittleEndian || syntax == ImplicitVRLittleEndian {
			c.result, c.syntax, c.syntaxes = accepted, syntax, []string{syntax}
			return c
		}
	}
	c.result = unsupportedSyntax
	return c
}

// perform carries out one request.
func (s *SCP) perform(a *Association, in presentation, request command) error {
	field := request.number(commandField)
	if field == cStore {
		return a.take(in, request, s.Stored)
	}
	if field&response != 0 {
		return fmt.Errorf("message %04X answers nothing", field)
	}
	if request.hasData() {
		if _, err := a.receiveData(in, io.Discard); err != nil {
			return err
		}
	}
	switch field {
	case cEcho, nCreate, nSet:
		return a.send(in, answerTo(request, Success), nil)
	case cFind:
		return s.find(a, in, request)
	case cMove: // as if it had sent them
		answer := answerTo(request, Success)
		answer.count(0, len(s.Objects), 0)
		return a.send(in, answer, nil)
	case cGet:
		return s.get(a, in, request)
	case cCancel:
		return nil // what it would cancel has been answered
	}
	return a.send(in, answerTo(request, UnrecognizedOperation), nil)
}

// find answers with every object as a match.
func (s *SCP) find(a *Association, in presentation, request command) error {
	for _, o := range s.Objects {
		answer := answerTo(request, Pending)
		answer.setNumber(dataSetType, hasDataSet)
		if err := a.send(in, answer, o.head().data(in.syntax)); err != nil {
			return err
		}
	}
	return a.send(in, answerTo(request, Success), nil)
}

// get stores every object at the client, which must have offered to be SCP of its class.
func (s *SCP) get(a *Association, in presentation, request command) error {
	done, failed := 0, 0
	for i, o := range s.Objects {
		if !slices.Contains(a.roles, o.SOPClass) {
			failed++
			continue
		}
		answer, err := a.Store(o)
		if err != nil {
			return err
		}
		if answer.Status == Success {
			done++
		} else {
			failed++
		}
		pending := answerTo(request, Pending)
		pending.count(len(s.Objects)-i-1, done, failed)
		if err := a.send(in, pending, nil); err != nil {
			return err
		}
	}
	final := answerTo(request, Success)
	if failed > 0 {
		final.setNumber(statusElement, subOperationsFailed)
	}
	final.count(0, done, failed)
	return a.send(in, final, nil)
}

// subOperationsFailed is a warning of C-GET (PS3.4 C.4.3.1.4).
const subOperationsFailed = 0xB000

// count says how many sub-operations are in which state.
func (c command) count(remaining, completed, failed int) {
	if remaining > 0 {
		c.setNumber(remainingCount, uint16(remaining))
	}
	c.setNumber(completedCount, uint16(completed))
	c.setNumber(failedCount, uint16(failed))
	c.setNumber(warningCount, 0)
}

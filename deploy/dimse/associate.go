package dimse

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Transfer syntaxes (PS3.5 A).
const (
	ImplicitVRLittleEndian = "1.2.840.10008.1.2"
	ExplicitVRLittleEndian = "1.2.840.10008.1.2.1"
)

const (
	applicationContext = "1.2.840.10008.3.1.1.1"
	implementation     = "2.25.164518320447263140514127811236549807361" // a UUID (PS3.5 B.2)
)

// Items of A-ASSOCIATE-RQ and -AC (PS3.8 9.3.2, PS3.7 D.3.3).
const (
	itemApplication    = 0x10
	itemProposed       = 0x20
	itemResult         = 0x21
	itemAbstract       = 0x30
	itemTransfer       = 0x40
	itemUser           = 0x50
	itemMaxLength      = 0x51
	itemImplementation = 0x52
	itemRole           = 0x54
)

// Results of negotiating a presentation context (PS3.8 table 9-18).
const (
	accepted           = 0
	unsupportedSOP     = 3
	unsupportedSyntax  = 4
	defaultPDU         = 16 << 10 // as most peers have it
	maxPDU             = 1 << 20
	minPDU             = 1 << 10
	maxContexts        = 128
	negotiationHeader  = 68 // version, reserved, AE titles, reserved
	maxRequestedRoles  = 128
	maxSyntaxesOffered = 64
)

// Request is what a client proposes.
type Request struct {
	CalledAE, CallingAE string
	SOPClasses          []string // at most 128
	TransferSyntaxes    []string // in order of preference; nil: Explicit, then Implicit VR Little Endian
	Roles               []string // SOP classes the client will be SCP of, as C-GET needs

	// MaxPDU is the length in bytes of the longest P-DATA-TF the client takes, and sends
	// even if the device takes longer ones; 0: 16 KiB. From 1 KiB to 1 MiB.
	MaxPDU uint32
}

// presentation is a presentation context.
type presentation struct {
	id       byte
	sopClass string
	syntaxes []string // proposed
	syntax   string   // accepted
	result   byte
}

// Association is one that is open. It is used by one goroutine at a time.
type Association struct {
	wire
	called, calling string
	contexts        []presentation // those accepted
	roles           []string
	receives        uint32 // longest P-DATA-TF body the peer may send
	sends           uint32 // and this side
	message         uint16 // latest message id
	left            uint32 // bytes of the current P-DATA-TF that are not read
	out             []byte // the P-DATA-TF being written
}

// Associate opens an association over c. If the peer rejects it, the error is a
// *Rejection. It may block as long as c does.
func Associate(c io.ReadWriter, r Request) (*Association, error) {
	if r.MaxPDU == 0 {
		r.MaxPDU = defaultPDU
	}
	if r.TransferSyntaxes == nil {
		r.TransferSyntaxes = []string{ExplicitVRLittleEndian, ImplicitVRLittleEndian}
	}
	if r.MaxPDU < minPDU || r.MaxPDU > maxPDU || len(r.SOPClasses) > maxContexts || len(r.CalledAE) > 16 || len(r.CallingAE) > 16 {
		return nil, fmt.Errorf("associate with %q as %q: AE titles have up to 16 bytes, there are up to %d SOP classes, and PDUs have 1 KiB to 1 MiB", r.CalledAE, r.CallingAE, maxContexts)
	}
	proposed := make([]presentation, len(r.SOPClasses))
	for i, class := range r.SOPClasses {
		proposed[i] = presentation{id: byte(2*i + 1), sopClass: class, syntaxes: r.TransferSyntaxes}
	}
	a := &Association{wire: newWire(c), called: r.CalledAE, calling: r.CallingAE, receives: r.MaxPDU}
	if err := a.write(pduAssociateRQ, a.negotiation(itemProposed, proposed, r.Roles)); err != nil {
		return nil, fmt.Errorf("associate with %q: %w", r.CalledAE, err)
	}
	kind, length, err := a.header()
	if err == nil && kind != pduAssociateAC {
		err = a.unexpected(kind, length)
	}
	if err != nil {
		return nil, fmt.Errorf("associate with %q: %w", r.CalledAE, err)
	}
	b, err := a.body(kind, length, maxNegotiate)
	if err != nil {
		return nil, fmt.Errorf("associate with %q: %w", r.CalledAE, err)
	}
	answer, err := parseNegotiation(b)
	if err != nil {
		return nil, fmt.Errorf("associate with %q: %w", r.CalledAE, err)
	}
	a.roles = answer.roles
	a.sends = longest(answer.maxPDU, r.MaxPDU)
	for _, got := range answer.contexts {
		at := slices.IndexFunc(proposed, func(p presentation) bool { return p.id == got.id })
		if at < 0 || len(got.syntaxes) != 1 && got.result == accepted {
			return nil, fmt.Errorf("associate with %q: presentation context %d was not proposed or is accepted with %d transfer syntaxes", r.CalledAE, got.id, len(got.syntaxes))
		}
		if got.result == accepted {
			proposed[at].syntax = got.syntaxes[0]
			a.contexts = append(a.contexts, proposed[at])
		}
	}
	return a, nil
}

// longest is the length of the P-DATA-TF to send to a peer that takes up to theirs (0:
// any) where this side would send up to ours.
func longest(theirs, ours uint32) uint32 {
	if theirs == 0 {
		return ours
	}
	return min(theirs, ours)
}

// context returns the accepted one for a SOP class.
func (a *Association) context(sopClass string) (presentation, error) {
	for _, c := range a.contexts {
		if c.sopClass == sopClass {
			return c, nil
		}
	}
	return presentation{}, fmt.Errorf("the peer accepted no presentation context for SOP class %q", sopClass)
}

// negotiation is the body of an A-ASSOCIATE-RQ (kind itemProposed) or -AC (itemResult).
func (a *Association) negotiation(kind byte, contexts []presentation, roles []string) []byte {
	b := []byte{0, 1, 0, 0} // version 1
	b = fmt.Appendf(b, "%-16s%-16s", a.called, a.calling)
	b = append(b, make([]byte, 32)...)
	b = item(b, itemApplication, []byte(applicationContext))
	for _, c := range contexts {
		inner := []byte{c.id, 0, c.result, 0}
		if kind == itemProposed {
			inner = item(inner, itemAbstract, []byte(c.sopClass))
		}
		for _, s := range c.syntaxes {
			inner = item(inner, itemTransfer, []byte(s))
		}
		b = item(b, kind, inner)
	}
	user := item(nil, itemMaxLength, binary.BigEndian.AppendUint32(nil, a.receives))
	user = item(user, itemImplementation, []byte(implementation))
	for _, class := range roles {
		role := binary.BigEndian.AppendUint16(nil, uint16(len(class)))
		user = item(user, itemRole, append(append(role, class...), 1, 1)) // SCU and SCP
	}
	return item(b, itemUser, user)
}

func item(b []byte, kind byte, value []byte) []byte {
	b = binary.BigEndian.AppendUint16(append(b, kind, 0), uint16(len(value)))
	return append(b, value...)
}

// proposal is what an A-ASSOCIATE-RQ or -AC says.
type proposal struct {
	called, calling string
	contexts        []presentation
	roles           []string // classes of which the proposer may be SCP
	maxPDU          uint32
}

var errNegotiation = errors.New("items of an A-ASSOCIATE do not fit into it")

func parseNegotiation(b []byte) (proposal, error) {
	if len(b) < negotiationHeader {
		return proposal{}, errNegotiation
	}
	p := proposal{called: strings.TrimSpace(string(b[4:20])), calling: strings.TrimSpace(string(b[20:36]))}
	err := items(b[negotiationHeader:], func(kind byte, v []byte) error {
		switch kind {
		case itemProposed, itemResult:
			if len(v) < 4 || len(p.contexts) == maxContexts {
				return errNegotiation
			}
			c := presentation{id: v[0], result: v[2]}
			err := items(v[4:], func(kind byte, v []byte) error {
				switch {
				case kind == itemAbstract:
					c.sopClass = string(v)
				case kind == itemTransfer && len(c.syntaxes) < maxSyntaxesOffered:
					c.syntaxes = append(c.syntaxes, string(v))
				}
				return nil
			})
			p.contexts = append(p.contexts, c)
			return err
		case itemUser:
			return items(v, p.user)
		}
		return nil
	})
	return p, err
}

// user takes a sub-item of the user information.
func (p *proposal) user(kind byte, v []byte) error {
	switch kind {
	case itemMaxLength:
		if len(v) != 4 {
			return errNegotiation
		}
		if p.maxPDU = binary.BigEndian.Uint32(v); p.maxPDU != 0 && p.maxPDU < minPDU {
			return fmt.Errorf("the peer takes PDUs of only %d bytes", p.maxPDU)
		}
	case itemRole:
		if len(v) < 4 || len(v) != 4+int(binary.BigEndian.Uint16(v)) || len(p.roles) == maxRequestedRoles {
			return errNegotiation
		}
		if v[len(v)-1] == 1 {
			p.roles = append(p.roles, string(v[2:len(v)-2]))
		}
	}
	return nil
}

// items calls each for every item that b consists of.
func items(b []byte, each func(kind byte, value []byte) error) error {
	for len(b) > 0 {
		if len(b) < 4 || len(b) < 4+int(binary.BigEndian.Uint16(b[2:])) {
			return errNegotiation
		}
		end := 4 + int(binary.BigEndian.Uint16(b[2:]))
		if err := each(b[0], b[4:end]); err != nil {
			return err
		}
		b = b[end:]
	}
	return nil
}

package dicom

import (
	"encoding/binary"
	"slices"
	"strings"

	"cordon/plugins/sdk"
)

// Items of an A-ASSOCIATE-RQ or -AC (PS3.8 9.3.2, PS3.7 D.3).
const (
	itemApplication  = 0x10
	itemProposed     = 0x20
	itemResult       = 0x21
	itemAbstract     = 0x30
	itemTransfer     = 0x40
	itemUser         = 0x50
	itemMaxPDU       = 0x51
	itemClassUID     = 0x52
	itemAsync        = 0x53
	itemRole         = 0x54
	itemVersion      = 0x55
	itemUserIdentity = 0x58
)

const (
	dicomApplication = "1.2.840.10008.3.1.1.1"
	fixedPart        = 68 // of an A-ASSOCIATE-RQ or -AC, before its items
	maxContexts      = 128
	maxSyntaxes      = 256 // different transfer syntaxes
	maxIdentity      = 256 // bytes of a user's name
)

// association is what the two sides have agreed on.
type association struct {
	op       sdk.OpID
	state    associationState
	called   string
	calling  string
	identity string // kind of user identity, "" if none is claimed
	user     string
	rejected rejection // how to refuse the request if it is invalid

	contexts []presentation
	roles    []string // abstract syntaxes for which the client may be the provider
	window   int64    // operations the client may have open; 0: any number
	maxPDU   [2]int64 // what each direction may carry, as its receiver announced; 0: any length
}

type associationState uint8

const (
	idle      associationState = iota // nothing has been asked
	requested                         // and not answered
	accepted
	rejected
)

// presentation is a presentation context.
type presentation struct {
	id       byte
	abstract string
	proposed []string // transfer syntaxes; nil once they are answered
	transfer string   // the accepted one; "" if the context is not
}

func (a *association) context(id byte) *presentation {
	for i := range a.contexts {
		if a.contexts[i].id == id {
			return &a.contexts[i]
		}
	}
	return nil
}

// items calls each with every item of b, and reports whether they fill it.
func items(b []byte, each func(kind byte, value []byte) bool) bool {
	for len(b) > 0 {
		if len(b) < 4 || int(binary.BigEndian.Uint16(b[2:])) > len(b)-4 {
			return false
		}
		n := 4 + int(binary.BigEndian.Uint16(b[2:]))
		if !each(b[0], b[4:n]) {
			return false
		}
		b = b[n:]
	}
	return true
}

// readAcceptance reads an A-ASSOCIATE-AC behind its PDU header. What was not accepted is
// forgotten.
func (a *association) readAcceptance(b []byte) *violation {
	if len(b) < fixedPart || b[1]&1 == 0 {
		return badAcceptance
	}
	proposed := a.roles
	a.roles = nil
	users := 0
	ok := items(b[fixedPart:], func(kind byte, b []byte) bool {
		switch kind {
		case itemResult:
			return a.result(b)
		case itemUser:
			users++
			return items(b, func(kind byte, b []byte) bool { return a.accept(kind, b, proposed) })
		}
		return true
	})
	if !ok || users != 1 {
		return badAcceptance
	}
	for i := range a.contexts {
		p := &a.contexts[i]
		p.abstract, p.transfer, p.proposed = strings.Clone(p.abstract), strings.Clone(p.transfer), nil
	}
	return nil
}

// result reads what became of a proposed context.
func (a *association) result(b []byte) bool {
	if len(b) < 4 {
		return false
	}
	p := a.context(b[0])
	if p == nil || p.proposed == nil {
		return false // not proposed, or answered twice
	}
	proposed := p.proposed
	p.proposed = nil
	if b[2] != 0 {
		return true // then its transfer syntax does not count (PS3.8 9.3.3.2)
	}
	return items(b[4:], func(kind byte, b []byte) bool {
		if kind != itemTransfer {
			return true
		}
		transfer, _, ok := uid(b)
		if !ok || p.transfer != "" || !slices.Contains(proposed, transfer) {
			return false
		}
		p.transfer = transfer
		return true
	}) && p.transfer != ""
}

func (a *association) accept(kind byte, b []byte, proposed []string) bool {
	switch kind {
	case itemMaxPDU:
		if len(b) != 4 {
			return false
		}
		a.maxPDU[sdk.Forward] = int64(binary.BigEndian.Uint32(b))
	case itemAsync:
		if len(b) != 4 {
			return false
		}
		a.window = int64(binary.BigEndian.Uint16(b))
	case itemRole:
		class, _, provider, ok := role(b)
		if !ok {
			return false
		}
		text, _, _ := uid(class)
		if provider && slices.Contains(proposed, text) {
			a.roles = append(a.roles, text)
		}
	}
	return true
}

// role reads an item 54: the SOP class and whether the requestor is its user and provider.
func role(b []byte) (class []byte, user, provider, ok bool) {
	if len(b) < 4 || int(binary.BigEndian.Uint16(b)) != len(b)-4 {
		return nil, false, false, false
	}
	return b[2 : len(b)-2], b[len(b)-2] == 1, b[len(b)-1] == 1, true
}

// provides reports whether the client may be asked for, as a provider, what is of the
// abstract syntax.
func (a *association) provides(abstract string) bool { return slices.Contains(a.roles, abstract) }

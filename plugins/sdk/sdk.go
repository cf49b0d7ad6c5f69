// Package sdk is what the author of a protocol plugin imports.
//
// A plugin reads; the gateway writes. The gateway shows an Inspector the bytes of
// one session, each direction by itself, and the Inspector answers with Steps: here
// an operation begins and these are its facts; the next n bytes belong to it; the
// asker of that refused operation is told this. It never sees a socket, a key, a
// file or a clock, and nothing it returns can change a byte or let one through that
// the gateway has not decided and recorded. So an Inspector is a pure function over
// bytes with a little memory, and a parser of some fifty lines is a whole plugin.
//
// # How a session goes
//
// The gateway opens a session: Inspect is called once with no data, for protocols
// that speak first. Then, as bytes arrive, Inspect is called with all bytes of that
// direction that no step covers yet. The Inspector covers as many of them as it
// understands, from the first on, by announcing operations (Steps.Operation) and
// spans that belong to them (Steps.Span). What it leaves uncovered is held by the
// gateway and shown again, longer, at the next call. A span may reach beyond data:
// those bytes pass, or are dropped, without waking the plugin, which is how large
// bodies travel at full speed.
//
// Each operation is decided when it is announced. If it is refused, the gateway drops
// its spans and calls Refuse; the Inspector then gives the protocol's own negative
// answer (Steps.Refusal) as soon as the dialogue has a place for it, at once or at a
// later call of Inspect. The refusal is inserted in the opposite direction, right
// after the bytes covered there so far: between two replies, never inside one.
//
// Replies belong to the operation they answer: cover them, in the opposite direction,
// with spans of that operation. A reply that answers nothing is malformed.
//
// Where both sides may ask, both directions are Held, and an operation announced while
// Reverse is inspected is asked by the device: its spans go to the client and its
// refusal to the device, if the gateway allows the protocol to tell a device anything.
//
// # What is malformed
//
// Bytes that cannot be understood are never passed on. If they can still be answered
// in the protocol, announce them with Steps.Invalid and cover them: the gateway
// refuses without asking anybody, records it, and calls Refuse. If an operation turns
// out wrong after it was decided (too long, a second message hidden in it), use
// Steps.Abort. If there is nothing left to say, use Steps.End.
//
// # Limits
//
// The gateway ends a session whose Inspector leaves a full window (WindowSize) of
// bytes uncovered, emits more than MaxSteps steps in a call (return when Steps.Full says
// so), gives text that is not UTF-8, or breaks another rule of this page. A panic ends the plugin process, and with it all its sessions; it is started
// again. A call may take a second at most.
package sdk

import (
	"encoding/json"
	"math"

	"cordon/policy"
)

// Direction is one of the two byte streams of a session.
type Direction uint8

const (
	Forward Direction = 0 // from the side that opened the session to the side it called
	Reverse Direction = 1 // back
)

// Opposite returns the other direction.
func (d Direction) Opposite() Direction { return d ^ 1 }

func (d Direction) String() string {
	if d == Forward {
		return "forward"
	}
	return "reverse"
}

// Mode is how the gateway treats the bytes of one direction. A Protocol names the
// mode it needs; the gateway's own configuration may only make it stricter.
type Mode uint8

const (
	Held     Mode = 0 // nothing moves before a step covers it; always so where operations come from
	Observed Mode = 1 // bytes move at once and are shown afterwards; the usual mode of replies
	Unseen   Mode = 2 // bytes move and are never shown; only by configuration, for stream
)

// Figures of the contract between gateway and plugin.
const (
	WindowSize = 256 << 10 // bytes of one direction that can be uncovered at a time
	MaxSteps   = 4096      // steps in the answer to one call
	MaxRefusal = 16 << 10  // bytes of one refusal
	MaxName    = 128       // bytes of an operation's name and of an attribute's name
	MaxFacts   = 32 << 10  // bytes of an operation's attributes together, as they are sent
	MaxReason  = 256       // bytes of a reason
	MaxOpen    = 256       // latest operations of a direction that a step may still name
	MaxKept    = 16        // older ones that may be kept besides
	Unlimited  = math.MaxInt64
)

// OpID numbers the operations of one session in the order they are announced: those of
// the Forward direction from 1, those of the Reverse direction from 1<<48 + 1.
type OpID uint64

const firstReverse OpID = 1 << 48

// Direction returns where the operation comes from; its asker is answered in the other.
func (op OpID) Direction() Direction {
	if op < firstReverse {
		return Forward
	}
	return Reverse
}

// Number counts the operations of op's direction: it is 1 for the first.
func (op OpID) Number() uint64 {
	if op < firstReverse {
		return uint64(op)
	}
	return uint64(op - firstReverse)
}

// Operation returns the number-th operation of the direction.
func (d Direction) Operation(number uint64) OpID {
	return OpID(d)*firstReverse + OpID(number)
}

// Refusal is why the gateway refused an operation. All its text may be shown to the
// asker: it names neither a rule nor a patient.
type Refusal struct {
	Code   string       // what the asker reads out to support: "7QF-21"
	Cause  policy.Cause // policy, protocol or doubt; doubt is worth a retry
	Reason string       // one line, printable ASCII

	// Obligations are those of the policy's that begin with the protocol's name, sorted. They
	// choose among its negative answers: "dicom:called-ae-title-not-recognized".
	Obligations []string
}

// Inspector reads one session. Its methods are called by one goroutine at a time.
type Inspector interface {
	// Inspect is shown data, every byte of dir that no step covers yet, and appends
	// steps for dir. end says that no byte will follow. data is only valid during the
	// call and must not be written to. The first call of a session has no data.
	Inspect(dir Direction, data []byte, end bool, out *Steps)

	// Refuse tells that op is refused. Its spans are dropped, those already announced
	// and those to come. The Inspector owes one Steps.Refusal for it (or Steps.End):
	// from here, or from a later Inspect if a reply must pass first. Only Steps.Refusal
	// and Steps.End may be used here. It may be called after the inspector has said End.
	Refuse(op OpID, why Refusal, out *Steps)
}

// Protocol describes a plugin's protocol and makes its inspectors.
type Protocol struct {
	Name    string  // "hl7": the configuration's proto, and the prefix of operation names
	Version string  // of the plugin
	Modes   [2]Mode // by Direction; a direction that carries operations must be Held

	// Configure checks one service's settings, a JSON object ("{}" if the
	// configuration has none), and returns the maker of its inspectors. Unknown keys
	// are an error. It is called before any session of that service.
	Configure func(settings json.RawMessage) (func() Inspector, error)
}

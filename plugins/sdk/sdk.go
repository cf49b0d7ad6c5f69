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

package hl7

// fault is why a message is malformed: its reason for the log and the asker, and the code
// of table 0357 it is answered with. Reasons name no content.
type fault struct {
	code   int
	at     string // ERR-2 with "^" as separator: segment, its number, field
	reason string
	close  bool // the session cannot go on behind it
}

// Codes of HL7 table 0357, message error condition.
const (
	errSequence = 100
	errMissing  = 101
	errType     = 102
	errValue    = 103
	errLong     = 104
	errMessage  = 200
	errEvent    = 201
	errInternal = 207
)

func errorText(code int) string {
	switch code {
	case errSequence:
		return "Segment sequence error"
	case errMissing:
		return "Required field missing"
	case errType:
		return "Data type error"
	case errValue:
		return "Table value not found"
	case errLong:
		return "Value too long"
	case errMessage:
		return "Unsupported message type"
	case errEvent:
		return "Unsupported event code"
	}
	return "Application internal error"
}

var (
	startInside   = &fault{errSequence, "MSH^1", "start block inside a message", true}
	unfinished    = &fault{errSequence, "MSH^1", "message without an end block", true}
	tooLong       = &fault{errInternal, "MSH^1", "message longer than the service's limit", true}
	controlInside = &fault{errType, "MSH^1", "control character in a message", false}
	mixedEnds     = &fault{errSequence, "MSH^1", "segments end with LF and with CR", false}
	secondHeader  = &fault{errSequence, "MSH^2", "two MSH segments in one frame", false}
	batchInside   = &fault{errSequence, "MSH^1", "batch segment inside a message", false}
	noBatch       = &fault{errSequence, "MSH^1", "batches are not allowed by this service", false}
	batchMixed    = &fault{errSequence, "MSH^2", "batch of different messages", false}
	batchLarge    = &fault{errInternal, "MSH^1", "batch beyond 32 messages or 128 KiB", true}
	noSegment     = &fault{errSequence, "MSH^1", "line that is no segment", false}
	decisiveLate  = &fault{errSequence, "MSH^1", "patient or order segment where it was not decided on", true}
	headLong      = &fault{errLong, "MSH^1", "segment that decides is longer than 128 KiB", true}
	badDelimiters = &fault{errType, "MSH^1^2", "encoding characters repeat or are not punctuation", false}
	notASCII      = &fault{errType, "MSH^1^18", "header is not ASCII", false}
	wideText      = &fault{errValue, "MSH^1^18", "character set cannot be used in MLLP", false}
	openEscape    = &fault{errType, "MSH^1^18", "character set escape open at a segment's end", false}
	noType        = &fault{errMissing, "MSH^1^9", "message type missing", false}
	badType       = &fault{errValue, "MSH^1^9", "message type is no name", false}
	longField     = &fault{errLong, "MSH^1", "header field too long", false}
	longIDs       = &fault{errLong, "PID^1^3", "patient or order identifiers too long or too many", false}
	refusedQuirk  = &fault{errSequence, "MSH^1", "deviation this service does not tolerate", false}
)

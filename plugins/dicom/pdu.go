package dicom

import (
	"encoding/binary"
	"strings"
)

// PDU types (PS3.8 9.3).
const (
	pduAssociateRQ = 1
	pduAssociateAC = 2
	pduAssociateRJ = 3
	pduData        = 4
	pduReleaseRQ   = 5
	pduReleaseRP   = 6
	pduAbort       = 7
)

const (
	pduHeader    = 6 // type, reserved, length (4, big endian)
	pdvHeader    = 6 // length (4, with the two that follow), context, control
	shortPDU     = 4 // length of every PDU but A-ASSOCIATE-RQ, -AC and P-DATA-TF
	maxAssociate = 192 << 10

	// maxHeld bounds what is held of a message before it is announced; a window holds a
	// little more.
	maxHeld = 252 << 10
)

// Bits of a PDV's message control header (PS3.8 E.2); receivers do not look at the others.
const (
	controlCommand = 1
	controlLast    = 2
)

// Reasons of an A-ABORT by the service provider (PS3.8 9.3.8).
const (
	abortUnrecognized = 1 // PDU
	abortUnexpected   = 2 // PDU
	abortInvalid      = 6 // PDU parameter value
)

// violation is why an association cannot go on. Its text names no content.
type violation struct {
	abort byte
	text  string
}

var (
	unknownPDU      = &violation{abortUnrecognized, "PDU of unknown type"}
	badLength       = &violation{abortInvalid, "PDU of a length its type does not have"}
	longPDU         = &violation{abortInvalid, "PDU longer than permitted"}
	unexpectedPDU   = &violation{abortUnexpected, "PDU out of order"}
	amidMessage     = &violation{abortUnexpected, "PDU in the middle of a message"}
	badFragment     = &violation{abortInvalid, "PDV that does not fit its PDU"}
	emptyFragments  = &violation{abortInvalid, "too many empty PDVs in a message"}
	twoMessages     = &violation{abortInvalid, "PDVs of two messages in one PDU"}
	unknownContext  = &violation{abortInvalid, "presentation context that was not accepted"}
	otherContext    = &violation{abortInvalid, "two presentation contexts in one message"}
	commandExpected = &violation{abortInvalid, "data where a command is expected"}
	dataExpected    = &violation{abortInvalid, "a command where data is expected"}
	longCommand     = &violation{abortInvalid, "command set longer than 64 KiB or 64 elements"}
	badCommand      = &violation{abortInvalid, "command set that cannot be read"}
	incomplete      = &violation{abortInvalid, "command set without what every message has"}
	thinlySpread    = &violation{abortInvalid, "message whose head takes too many fragments"}
	answersNothing  = &violation{abortUnexpected, "response to nothing that was asked"}
	badResponse     = &violation{abortInvalid, "response with a UID or AE title that is none"}
	tooManyOpen     = &violation{abortUnexpected, "too many operations without a response"}
	badAssociation  = &violation{abortInvalid, "association request that cannot be read"}
	badAcceptance   = &violation{abortInvalid, "association acceptance that does not fit the request"}
)

// abortPDU returns an A-ABORT of the service provider.
func abortPDU(reason byte) []byte {
	return []byte{pduAbort, 0, 0, 0, 0, shortPDU, 0, 0, 2, reason}
}

// rejection is why an association is rejected: result, source and reason of PS3.8 9.3.4.
type rejection [3]byte

var (
	rejectNoReason    = rejection{1, 1, 1}
	rejectAppContext  = rejection{1, 1, 2}
	rejectCallingAE   = rejection{1, 1, 3}
	rejectCalledAE    = rejection{1, 1, 7}
	rejectVersion     = rejection{1, 2, 2}
	rejectTemporarily = rejection{2, 3, 1}
)

func (r rejection) pdu() []byte {
	return []byte{pduAssociateRJ, 0, 0, 0, 0, shortPDU, 0, r[0], r[1], r[2]}
}

// fragment is the header of a PDV.
type fragment struct {
	context byte
	control byte
	length  int64 // of its content
	rest    int64 // bytes of the PDU behind it
}

// readFragment reads the header of a PDV at the beginning of b. rest is how much of its PDU
// has not been read.
func readFragment(b []byte, rest int64) (f fragment, wrong *violation) {
	n := int64(binary.BigEndian.Uint32(b))
	if n < 2 || n-2 > rest-pdvHeader {
		return f, badFragment
	}
	return fragment{b[4], b[5], n - 2, rest - pdvHeader - (n - 2)}, nil
}

// uid reads a UID and removes its padding, which is one NUL where there is any (PS3.5 9.4).
// One that is not made of digits and dots is none: it could be a path.
func uid(b []byte) (text string, quirks anomaly, ok bool) {
	n := len(b)
	for n > 0 && (b[n-1] == 0 || b[n-1] == ' ') {
		n--
	}
	if n < len(b)-1 || n == len(b)-1 && b[n] == ' ' {
		quirks = uidPadding
	}
	if n == 0 || n > 64 {
		return "", quirks, false
	}
	for _, c := range b[:n] {
		if c != '.' && (c < '0' || c > '9') {
			return "", quirks, false
		}
	}
	return string(b[:n]), quirks, true
}

// aeTitle reads an AE title without the spaces around it, which do not count (PS3.5 6.2).
// One that could be a path is none.
func aeTitle(b []byte) (text string, quirks anomaly, ok bool) {
	n := len(b)
	for n > 0 && b[n-1] == 0 {
		n, quirks = n-1, aePadding
	}
	text = strings.Trim(string(b[:n]), " ")
	for _, c := range []byte(text) {
		if c < ' ' || c > '~' || c == '\\' || c == '/' {
			return "", quirks, false
		}
	}
	if text == "" || len(text) > 16 || strings.Contains(text, "..") {
		return "", quirks, false
	}
	return text, quirks, true
}

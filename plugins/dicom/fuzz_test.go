package dicom

import (
	"strings"
	"testing"

	"cordon/plugins/sdk/conformance"
)

var all = []byte{1, 3, 5, 9, 11, 21}

// seeds are dialogues that reach as much as possible.
var seeds = []conformance.Dialogue{
	conformance.Forward(associateRQ(all...)).Reverse(associateAC(all...)).Forward(storeRQ(1, image(ex))).Reverse(storeRSP(1, 0)).
		Forward(storeRQ(2, image(ex))).Refused(3).Forward(releaseRQ).Reverse(releaseRP),
	conformance.Forward(associateRQ(all...)).Refused(1).Forward(userAbort),
	conformance.Forward(associateRQ(all...)).Reverse(associateAC(all...)).Forward(storeRQ(1, image(ex))+storeRQ(2, image(ex))).Refused(2, 3),
	conformance.Forward(associateRQ(all...)).Reverse(associateAC(all...)).Forward(getRQ(1)).Reverse(storeRQ(7, image(ex))).
		Forward(storeRSP(7, 0)).Reverse(getRSP(1, statusPending)).Reverse(getRSP(1, 0)),
	conformance.Forward(associateRQ(all...)).Reverse(associateAC(all...)).Forward(findRQ(1)).Reverse(findRSP(1, statusPending)).
		Forward(cancelRQ(5, 1)).Reverse(findRSP(1, 0xfe00)),
	conformance.Forward(associateRQ(all...)).Reverse(associateAC(all...)).Forward(storeRQ(1, image(ex))[:300]).Forward(userAbort),
	conformance.Forward(associateRQ(all...)).Reverse(associateAC(all...)).Forward(releaseRQ).Reverse(releaseRQ + releaseRP).Forward(releaseRP),
	conformance.Forward(associateRQ(all...)).Reverse(associateAC(all...)).Reverse(commitRSP).Reverse(userAbort),
	conformance.Forward(associateRQ(all...)).Reverse(associateAC(all...)).
		Forward(dimse(21, storeCommand(1, ctStorage, object), squeeze(image(ex)))).Reverse(storeRSP(1, 0)),
	conformance.Forward(associateRQ(all...)).Reverse(associateAC(all...)).Forward("\x04\x00\x00\x00\x00\x00"),
	conformance.Forward("GET / HTTP/1.1\r\n\r\n"),
}

func FuzzDialogue(f *testing.F) { conformance.Fuzz(f, Protocol(), `{}`, seeds...) }

// FuzzAssociated fuzzes what follows an association that stands.
func FuzzAssociated(f *testing.F) {
	conformance.Fuzz(f, standing(all...), `{"head_limit":4096,"refuse":["role_missing"]}`,
		conformance.Forward(storeRQ(1, image(ex))).Reverse(storeRSP(1, 0)).Forward(storeRQ(2, image(ex))).Refused(3),
		conformance.Forward(findRQ(1)).Reverse(findRSP(1, statusPending)).Forward(cancelRQ(5, 1)).Reverse(findRSP(1, 0xfe00)).Refused(3),
		conformance.Forward(getRQ(1)).Reverse(storeRQ(7, image(ex))).Forward(storeRSP(7, 0)).Reverse(getRSP(1, 0)),
		conformance.Forward(dimse(21, storeCommand(1, ctStorage, object), squeeze(image(ex)))).Forward(userAbort),
		conformance.Forward(storeRQ(1, image(ex))[:200]).Reverse(storeRQ(2, image(ex))[:150]+userAbort).Forward(releaseRQ),
	)
}

// FuzzAnswer: what Answer accepts, the inspector reads as one failed response.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(storeRefused(1)))
	f.Add([]byte(echoRefused(1)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if Answer(b) != nil || len(b) == 0 {
			return
		}
		var set []byte
		for rest := b; len(rest) > 0; {
			n := int(rest[5]) + int(rest[4])<<8 + 6
			set = append(set, rest[12:n]...)
			rest = rest[n:]
		}
		c, wrong := readCommand(set)
		if wrong != nil || !c.isResponse() || c.hasData || c.status == 0 || c.pending() || c.wrong != nil {
			t.Fatalf("%q: %+v, %+v", b, c, wrong)
		}
	})
}

// FuzzHead: whatever a data set is, and however it is cut, its head ends the same.
func FuzzHead(f *testing.F) {
	for i := range 4 {
		for _, s := range []string{image(ex), image(im), image(big), squeeze(image(ex)), worklistKeys(im)} {
			f.Add([]byte(s), byte(i), uint16(cFind))
			f.Add([]byte(s), byte(i), uint16(cStore))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, transfer byte, field uint16) {
		syntax := []string{implicitLittle, explicitLE, explicitBig, deflated}[transfer%4]
		c := &command{field: field}
		read := func(piece int) *head {
			h := newHead(syntax, c, minHead)
			for rest := b; len(rest) > 0; {
				n := min(piece, len(rest))
				if h.feed(rest[:n]) {
					break
				}
				rest = rest[n:]
			}
			h.finish()
			return h
		}
		a, z := read(len(b)+1), read(1)
		if a.state != z.state || a.why != z.why || strings.Join(a.keys, " ") != strings.Join(z.keys, " ") || len(a.texts) != len(z.texts) {
			t.Fatalf("%q: %d %q, %d %q", b, a.state, a.why, z.state, z.why)
		}
		if a.state == more || len(a.buf) > minHead {
			t.Fatalf("%q: state %d, %d bytes", b, a.state, len(a.buf))
		}
	})
}

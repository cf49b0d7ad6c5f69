package dicom

import (
	"strings"
	"testing"

	"cordon/plugins/sdk"
	"cordon/plugins/sdk/conformance"
	"cordon/policy"
)

func aborted(reason byte) string { return short(pduAbort, 0, 0, 2, reason) }

// TestMalformed has what ends an association that stands, sent by the client.
func TestMalformed(t *testing.T) {
	store := storeCommand(1, ctStorage, object)
	echo := cs(el(2, ui(verification)), us(0x100, cEcho), us(0x110, 1), us(0x800, noDataSet))
	command := func(elements ...string) string { return data(pdv(1, 3, strings.Join(elements, ""))) }
	many := ""
	for i := range maxElements + 1 {
		many += us(uint32(0x5000+i), 1)
	}
	tests := []struct {
		name, sent string
		reason     byte
	}{
		{"unknown PDU type", pdu(9, "abcd"), 1},
		{"PDU type 0", pdu(0, "abcd"), 1},
		{"second request", associateRQ(), 2},
		{"acceptance from the client", associateAC(), 2},
		{"release reply to nothing", releaseRP, 2},
		{"long release", pdu(pduReleaseRQ, "12345"), 6},
		{"long abort", pdu(pduAbort, "12345"), 6},
		{"PDU longer than the device takes", string([]byte{4, 0}) + be32(32769), 6},
		{"PDU longer than any", "\x04\x00\xff\xff\xff\xff", 6},
		{"empty PDU", data(), 6},
		{"PDU shorter than a PDV", pdu(pduData, "12345"), 6},
		{"PDV longer than its PDU", pdu(pduData, be32(100)+"\x01\x03"+echo[:20]), 6},
		{"PDV longer than anything", pdu(pduData, "\xff\xff\xff\xff\x01\x03"+echo), 6},
		{"PDV without a context", pdu(pduData, be32(1)+"\x01\x03"+echo), 6},
		{"bytes behind a PDV", pdu(pduData, pdv(1, 1, echo[:20])+"abc"), 6},
		{"context that is not there", data(pdv(99, 3, echo)), 6},
		{"even context", data(pdv(2, 3, echo)), 6},
		{"data first", data(pdv(1, 2, echo)), 6},
		{"two messages in one PDU", data(pdv(1, 3, echo), pdv(1, 3, echo)), 6},
		{"two contexts in one message", data(pdv(1, 1, echo[:20])) + data(pdv(3, 3, echo[20:])), 6},
		{"command where data is expected", data(pdv(3, 3, store)) + data(pdv(3, 3, store)), 6},
		{"data where there is none", data(pdv(1, 3, echo), pdv(1, 2, "abcd")), 6},
		{"release in a message", data(pdv(1, 1, echo[:20])) + releaseRQ, 2},
		{"response to nothing", echoRSP(1), 2},

		{"empty command set", command(), 6},
		{"cut command set", command(echo[:len(echo)-1]), 6},
		{"element longer than the set", command("\x00\x00\x00\x01\xff\xff\xff\xff\x30\x00"), 6},
		{"element out of order", command(us(0x110, 1), us(0x100, cEcho), us(0x800, noDataSet)), 6},
		{"element twice", command(us(0x100, cEcho), us(0x100, cStore), us(0x110, 1), us(0x800, noDataSet)), 6},
		{"element of another group", command(us(0x100, cEcho), us(0x110, 1), us(0x800, noDataSet), us(0x00080000, 1)), 6},
		{"command field of four bytes", command(el(0x100, "\x30\x00\x00\x00"), us(0x110, 1), us(0x800, noDataSet)), 6},
		{"no command field", command(us(0x110, 1), us(0x800, noDataSet)), 6},
		{"no message ID", command(us(0x100, cEcho), us(0x800, noDataSet)), 6},
		{"no data set type", command(us(0x100, cEcho), us(0x110, 1)), 6},
		{"cancel of nothing", command(us(0x100, cCancel), us(0x800, noDataSet)), 6},
		{"response without a status", command(us(0x100, cEcho|responseBit), us(0x120, 1), us(0x800, noDataSet)), 6},
		{"more elements than any command", command(us(0x100, cEcho), us(0x110, 1), us(0x800, noDataSet), many), 6},
		{"attribute list of odd length", command(us(0x100, nGet), us(0x110, 1), us(0x800, noDataSet), el(0x1005, "ab")), 6},
	}
	for _, test := range tests {
		conformance.Run(t, standing(), `{}`, after(test.name).Forward(test.sent).
			WantInvalid("dicom:malformed", policy.ClassUnknown).
			WantRefusal(2, aborted(test.reason)).
			WantEnd().
			WantForward("").
			WantReverse(aborted(test.reason)))
	}
	conformance.Run(t, Protocol(), `{"max_pdu":4096}`,
		associated("PDU longer than the setting").Forward("\x04\x00\x00\x00\x10\x01").
			WantInvalid("dicom:malformed", policy.ClassUnknown).WantRefusal(2, aborted(6)).WantEnd())

	for name, test := range map[string]struct {
		sent string
		want *violation
	}{
		"a command set without end":             {strings.Repeat(data(pdv(1, 1, strings.Repeat("\x00", 30000))), 3), longCommand},
		"a command set in fragments of a byte":  {strings.Repeat(data(pdv(1, 1, "\x00")), sdk.WindowSize/13), thinlySpread},
		"empty fragments without end":           {strings.Repeat(data(pdv(1, 1, "")), maxEmpty+1), emptyFragments},
		"empty fragments without end in a body": {half(1) + strings.Repeat(data(pdv(3, 0, "")), maxEmpty+1), emptyFragments},
	} {
		p := play(t, `{}`, associateRQ(), associateAC(), test.sent)
		if op := lastOperation(p); p.inspector.violation != test.want || !op.Invalid || op.Operation.Name != malformedName {
			t.Errorf("%s: %v", name, p.inspector.violation)
		}
	}
}

// TestSpoiled has messages that turn out wrong after they were decided.
func TestSpoiled(t *testing.T) {
	conformance.Run(t, Protocol(), `{}`,
		associated("second message in the last PDU").
			Forward(half(1)).Forward(data(pdv(3, 2, "rest"), pdv(3, 3, storeCommand(2, ctStorage, object)))).
			WantOperation("dicom:C-STORE", policy.ClassWrite).
			WantInvalid("dicom:malformed", policy.ClassUnknown).
			WantAbort(2).WantRefusal(3, aborted(6)).WantEnd().
			WantForward(associateRQ()+half(1)),
		associated("release in a data set").
			Forward(half(1)+releaseRQ).
			WantOperation("dicom:C-STORE", policy.ClassWrite).
			WantInvalid("dicom:malformed", policy.ClassUnknown).
			WantAbort(2).WantRefusal(3, aborted(2)).WantEnd().
			WantForward(associateRQ()+half(1)),
		associated("command in the data set of a refused store").
			Forward(half(1)+data(pdv(3, 3, storeCommand(2, ctStorage, object)))).Refused(2).
			WantOperation("dicom:C-STORE", policy.ClassWrite).
			WantInvalid("dicom:malformed", policy.ClassUnknown).
			WantRefusal(3, aborted(6)).WantEnd().
			WantForward(associateRQ()),
		associated("long PDU in a data set").
			Forward(half(1)+"\x04\x00\x00\x00\x80\x01\x00\x00\x7f\xfd\x03\x02").
			WantOperation("dicom:C-STORE", policy.ClassWrite).
			WantInvalid("dicom:malformed", policy.ClassUnknown).
			WantAbort(2).WantRefusal(3, aborted(6)).WantEnd().
			WantForward(associateRQ()+half(1)),
		associated("other context in a data set").
			Forward(half(1)+data(pdv(1, 2, "rest"))).
			WantOperation("dicom:C-STORE", policy.ClassWrite).
			WantInvalid("dicom:malformed", policy.ClassUnknown).
			WantAbort(2).WantRefusal(3, aborted(6)).WantEnd(),
		associated("response to a store that is refused, and not at its end").
			Forward(half(1)).Reverse(storeRSP(1, 0)).Refused(2).
			WantOperation("dicom:C-STORE", policy.ClassWrite).
			WantAbort(1).WantRefusal(1, aborted(2)).WantEnd().
			WantReverse(associateAC()+aborted(2)),
		associated("response to a store that is invalid, and not at its end").
			Forward(data(pdv(3, 3, storeCommand(1, ctStorage, object)))+data(pdv(3, 0, ex(tagPatientID, "LO", "4711")+ex(tagModality, "CS", "CT")))).Reverse(storeRSP(1, 0)).
			WantInvalid("dicom:C-STORE", policy.ClassWrite).
			WantAbort(1).WantRefusal(1, aborted(2)).WantEnd().
			WantReverse(associateAC()+aborted(2)),
		associated("data set of a command that has none").
			Forward(echoRQ(1)+data(pdv(1, 2, "abcd"))).
			WantOperation("dicom:C-ECHO", policy.ClassSession).
			WantInvalid("dicom:malformed", policy.ClassUnknown).
			WantRefusal(3, aborted(6)).WantEnd().
			WantForward(associateRQ()+echoRQ(1)),
		associated("the abort cannot stand in a response", 1, 5).
			Forward(findRQ(1)).
			Reverse(data(pdv(5, 3, findRSPCommand(1)), pdv(5, 0, "abcd"))[:len(data(pdv(5, 3, findRSPCommand(1)), pdv(5, 0, "abcd")))-10]).
			Forward(pdu(9, "")).
			WantOperation("dicom:C-FIND", policy.ClassQuery).
			WantInvalid("dicom:malformed", policy.ClassUnknown).
			WantEnd(),
	)
}

// TestUnaccepted has what is said in a presentation context that was proposed and not accepted:
// policy is asked, and knows no more than the command.
func TestUnaccepted(t *testing.T) {
	rejected := pdu(pduAssociateAC, fixed("PACS", "CT7")+item(itemApplication, dicomApplication)+result(1, 0, implicitLittle)+result(3, 3, explicitLE)+userInfo(0))
	standing := conformance.Forward(associateRQ(1, 3)).Reverse(rejected).WantOperation("dicom:A-ASSOCIATE", policy.ClassSession).
		Forward(storeRQ(1, image(ex))).
		WantOperation("dicom:C-STORE", policy.ClassWrite, "abstract_syntax", ctStorage, "transfer_syntax", nil, "patient_id", nil,
			"sop_instance_uid", object, "anomalies", []string{"head_unreadable", "context_unknown"})
	refusedBy := sdk.Refusal{Code: "7QF-21", Cause: policy.CausePolicy, Reason: "not permitted", Obligations: []string{"dicom:cannot-understand"}}
	conformance.Run(t, Protocol(), `{}`,
		standing.Forward(echoRQ(2)).Reverse(echoRSP(2)).
			WantOperation("dicom:C-ECHO", policy.ClassSession).
			WantForward(associateRQ(1, 3)+storeRQ(1, image(ex))+echoRQ(2)),
		standing.RefusedWith(refusedBy, 2).
			WantForward(associateRQ(1, 3)).
			WantRefusal(2, refusalPDU(3, el(2, ui(ctStorage)), us(0x100, cStore|responseBit), us(0x120, 1), us(0x800, noDataSet),
				us(0x900, 0xc000), el(0x902, lo("not permitted 7QF-21")), el(0x1000, ui(object)))),
	)
}

// TestElsewhere has a response in another presentation context than its request's, as some
// give who have no use for that one.
func TestElsewhere(t *testing.T) {
	conformance.Run(t, Protocol(), `{}`,
		associated("refused in another context").
			Forward(storeRQ(1, image(ex))).Reverse(responseOf(1, cStore, 1, 0x0122, ctStorage)).
			Forward(echoRQ(2)).Reverse(echoRSP(2)).
			WantOperation("dicom:C-STORE", policy.ClassWrite, "anomalies", nil).
			WantOperation("dicom:C-ECHO", policy.ClassSession, "anomalies", []string{"response_context"}).
			WantReverse(associateAC()+responseOf(1, cStore, 1, 0x0122, ctStorage)+echoRSP(2)))
}

// TestMalformedDevice has what the device may not say: the client is told, and the
// association ends.
func TestMalformedDevice(t *testing.T) {
	tests := []struct {
		name, sent string
		reason     byte
	}{
		{"response to nothing", echoRSP(2), 2},
		{"response of another command", responseOf(1, cFind, 1, 0, verification), 2},
		{"response in another context, with a data set", dimse(3, cs(us(0x100, cEcho|responseBit), us(0x120, 1), us(0x800, 1), us(0x900, 0)), image(ex)), 2},
		{"response with a path", responseOf(1, cEcho, 1, 0, "1.2/../3"), 6},
		{"second acceptance", associateAC(), 2},
		{"request for an association", associateRQ(), 2},
		{"rejection of what was accepted", short(pduAssociateRJ, 0, 1, 1, 1), 2},
		{"release reply to nothing", releaseRP, 2},
		{"unknown PDU", pdu(8, ""), 1},
		{"long PDU", "\x04\x00\x00\x10\x00\x01", 6},
	}
	for _, test := range tests {
		conformance.Run(t, Protocol(), `{}`, associated(test.name).Forward(echoRQ(1)).Reverse(test.sent).
			WantOperation("dicom:C-ECHO", policy.ClassSession).
			WantAbort(1).WantRefusal(1, aborted(test.reason)).WantEnd().
			WantReverse(associateAC()+aborted(test.reason)))
	}
	conformance.Run(t, Protocol(), `{}`,
		associated("second response").Forward(echoRQ(1)).Reverse(echoRSP(1)).Reverse(echoRSP(1)).
			WantOperation("dicom:C-ECHO", policy.ClassSession).
			WantAbort(1).WantRefusal(1, aborted(2)).WantEnd().
			WantReverse(associateAC()+echoRSP(1)+aborted(2)))
	begun := fixed("PACS", "CT7") + item(itemApplication, dicomApplication)
	acceptances := map[string]string{
		"short":                       pdu(pduAssociateAC, "abc"),
		"without user information":    pdu(pduAssociateAC, begun+result(1, 0, implicitLittle)),
		"of a context not proposed":   pdu(pduAssociateAC, begun+result(5, 0, implicitLittle)+userInfo(0)),
		"of a context twice":          pdu(pduAssociateAC, begun+result(1, 0, implicitLittle)+result(1, 0, implicitLittle)+userInfo(0)),
		"and rejection of a context":  pdu(pduAssociateAC, begun+result(1, 0, implicitLittle)+result(1, 3, implicitLittle)+userInfo(0)),
		"of another transfer syntax":  pdu(pduAssociateAC, begun+result(1, 0, explicitLE)+userInfo(0)),
		"with an item beyond the end": pdu(pduAssociateAC, begun+"\x21\x00\xff\xff"),
		"too long":                    "\x02\x00\x00\x10\x00\x00",
		"of no association":           data(pdv(1, 3, "")),
	}
	for name, sent := range acceptances {
		conformance.Run(t, Protocol(), `{}`, conformance.Named("acceptance "+name).Forward(associateRQ()).Reverse(sent).
			WantOperation("dicom:A-ASSOCIATE", policy.ClassSession).
			WantAbort(1).WantRefusal(1, aborted(reasonOf(name))).WantEnd().
			WantReverse(aborted(reasonOf(name))))
	}
	conformance.Run(t, Protocol(), `{}`,
		conformance.Named("speaks first").Reverse(associateAC()).WantEnd().WantReverse(""),
		conformance.Named("data before the acceptance").Forward(associateRQ()+echoRQ(1)).
			WantOperation("dicom:A-ASSOCIATE", policy.ClassSession).
			WantInvalid("dicom:malformed", policy.ClassUnknown).WantRefusal(2, aborted(2)).WantEnd(),
	)
}

func reasonOf(acceptance string) byte {
	if acceptance == "of no association" {
		return abortUnexpected
	}
	return abortInvalid
}

func findRSPCommand(id int) string {
	return cs(el(2, ui(studyFind)), us(0x100, cFind|responseBit), us(0x120, id), us(0x800, 1), us(0x900, statusPending))
}

package dicom

import (
	"strings"
	"testing"

	"cordon/plugins/sdk"
	"cordon/plugins/sdk/conformance"
	"cordon/policy"
)

// refusedAs is the response that refuses a request with the decision code 7QF-21.
func refusedAs(context byte, class string, field, id, status int, reason string, more ...string) string {
	elements := []string{el(2, ui(class)), us(0x100, field|responseBit), us(0x120, id), us(0x800, noDataSet),
		us(0x900, status), el(0x902, lo(reason+" 7QF-21"))}
	return refusalPDU(context, append(elements, more...)...)
}

var zeroCounts = us(0x1021, 0) + us(0x1022, 0) + us(0x1023, 0)

// TestServices has every service allowed, and refused.
func TestServices(t *testing.T) {
	instance := "1.2.840.10008.1.20.1.1"
	on := func(field, id int, dataSet string, more ...string) string {
		return dimse(15, cs(el(3, ui(mpps)), us(0x100, field), us(0x110, id)+strings.Join(more, "")), dataSet)
	}
	tests := []struct {
		name, request, response string
		class                   policy.Class
		facts                   []any
		refusal                 string
	}{
		{"dicom:C-ECHO", echoRQ(1), echoRSP(1), policy.ClassSession,
			[]any{"command", cEcho, "sop_class_uid", verification, "transfer_syntax", implicitLittle}, echoRefused(1)},
		{"dicom:C-STORE", storeRQ(1, image(ex)), storeRSP(1, 0xb000), policy.ClassWrite, imageFacts, storeRefused(1)},
		{"dicom:C-FIND", findRQ(1), findRSP(1, statusPending) + findRSP(1, statusPending) + findRSP(1, 0), policy.ClassQuery,
			[]any{"query_level", "STUDY", "patient_id", "4711", "query_keys", []string{"0008,0020", "0010,0020"}, "query_breadth", 2,
				"return_keys", 3, "accession_number", nil, "study_instance_uid", nil, "anomalies", nil},
			refusedAs(5, studyFind, cFind, 1, 0x0124, "not permitted")},
		{"dicom:C-FIND", dimse(13, cs(el(2, ui(worklist)), us(0x100, cFind), us(0x110, 1), us(0x700, 2), us(0x800, 1)), worklistKeys(im)),
			responseOf(13, cFind, 1, 0, worklist), policy.ClassQuery,
			[]any{"scheduled_ae", "CT7", "query_keys", []string{"0040,0100>0040,0001", "0040,0100>0040,0002"}, "query_breadth", 2, "return_keys", 3, "priority", "low"},
			refusedAs(13, worklist, cFind, 1, 0x0124, "not permitted")},
		{"dicom:C-MOVE", moveRQ(1, "WS4"), moveRSP(1, statusPending) + moveRSP(1, 0xfe00), policy.ClassRead,
			[]any{"move_destination", "WS4", "expects", `WS4\CT7\1`, "because", nil, "message_id", 1, "calling_ae", "CT7", "query_level", "STUDY", "study_instance_uid", "1.2.3.1"},
			refusedAs(7, studyMove, cMove, 1, 0x0124, "not permitted", zeroCounts)},
		{"dicom:C-GET", getRQ(1), getRSP(1, statusPending) + getRSP(1, 0), policy.ClassRead,
			[]any{"study_instance_uid", "1.2.3.1"}, refusedAs(9, studyGet, cGet, 1, 0x0124, "not permitted", zeroCounts)},
		{"dicom:N-ACTION", commitRQ("1.2.3.4", "1.2.3.5"), responseOf(11, nAction, 3, 0, storageCommitment), policy.ClassWrite,
			[]any{"action_type", 1, "referenced_count", 2, "referenced_sop_instances", []string{"1.2.3.4", "1.2.3.5"}, "sop_instance_uid", instance,
				"transaction_uid", "1.2.9", "expects", `1.2.9\CT7`, "because", nil},
			refusedAs(11, storageCommitment, nAction, 3, 0x0124, "not permitted", el(0x1000, ui(instance)), us(0x1008, 1))},
		{"dicom:N-ACTION", on(nAction, 1, "", us(0x800, noDataSet), el(0x1001, ui("1.2")), us(0x1008, 2)), responseOf(15, nAction, 1, 0, mpps), policy.ClassControl,
			[]any{"action_type", 2}, refusedAs(15, mpps, nAction, 1, 0x0124, "not permitted", el(0x1000, ui("1.2")), us(0x1008, 2))},
		{"dicom:N-CREATE", dimse(15, cs(el(2, ui(mpps)), us(0x100, nCreate), us(0x110, 1), us(0x800, 1), el(0x1000, ui("1.2"))), ex(tagModality, "CS", "CT")+ex(tagPatientID, "LO", "4711")),
			responseOf(15, nCreate, 1, 0x0116, mpps), policy.ClassWrite,
			[]any{"modality", "CT", "patient_id", "4711"}, refusedAs(15, mpps, nCreate, 1, 0x0124, "not permitted", el(0x1000, ui("1.2")))},
		{"dicom:N-CREATE", dimse(25, cs(el(2, ui(filmBox)), us(0x100, nCreate), us(0x110, 1), us(0x800, 1)), el(0x20100010, `STANDARD\1,1`)),
			responseOf(25, nCreate, 1, 0, filmBox), policy.ClassWrite,
			[]any{"sop_class_uid", filmBox, "abstract_syntax", printer, "anomalies", []string{"class_mismatch"}},
			refusedAs(25, filmBox, nCreate, 1, 0x0124, "not permitted")},
		{"dicom:N-SET", on(nSet, 1, ex(0x00400252, "CS", "COMPLETED "), us(0x800, 1), el(0x1001, ui("1.2"))), responseOf(15, nSet, 1, 0, mpps), policy.ClassWrite,
			[]any{"sop_instance_uid", "1.2"}, refusedAs(15, mpps, nSet, 1, 0x0124, "not permitted", el(0x1000, ui("1.2")))},
		{"dicom:N-GET", on(nGet, 1, "", us(0x800, noDataSet), el(0x1001, ui("1.2")), el(0x1005, "\x10\x00\x20\x00\x20\x00\x0d\x00")),
			dimse(15, cs(el(2, ui(mpps)), us(0x100, nGet|responseBit), us(0x120, 1), us(0x800, 1), us(0x900, 0)), ex(tagPatientID, "LO", "4711")), policy.ClassRead,
			[]any{"attribute_tags", []string{"0010,0020", "0020,000D"}}, refusedAs(15, mpps, nGet, 1, 0x0124, "not permitted", el(0x1000, ui("1.2")))},
		{"dicom:N-DELETE", on(nDelete, 1, "", us(0x800, noDataSet), el(0x1001, ui("1.2"))), responseOf(15, nDelete, 1, 0, mpps), policy.ClassAdmin,
			nil, refusedAs(15, mpps, nDelete, 1, 0x0124, "not permitted", el(0x1000, ui("1.2")))},
		{"dicom:N-DELETE", dimse(25, cs(el(3, ui(filmBox)), us(0x100, nDelete), us(0x110, 1), us(0x800, noDataSet), el(0x1001, ui("1.2"))), ""), responseOf(25, nDelete, 1, 0, filmBox), policy.ClassWrite,
			nil, refusedAs(25, filmBox, nDelete, 1, 0x0124, "not permitted", el(0x1000, ui("1.2")))},
		{"dicom:0x0666", on(0x0666, 1, "", us(0x800, noDataSet)), responseOf(15, 0x0666, 1, 0x0211, mpps), policy.ClassUnknown,
			[]any{"command", 0x0666}, refusedAs(15, mpps, 0x0666, 1, 0x0211, "not permitted")},
	}
	for _, test := range tests {
		ids := []byte{1}
		if id := test.request[10]; id != 1 {
			ids = append(ids, id)
		}
		conformance.Run(t, standing(ids...), `{}`,
			after(test.name+" allowed").
				Forward(test.request).Reverse(test.response).
				Forward(test.request).Reverse(test.response).
				WantOperation(test.name, test.class, test.facts...).
				WantOperation(test.name, test.class, test.facts...).
				WantForward(test.request+test.request).
				WantReverse(test.response+test.response),
			after(test.name+" refused").
				Forward(test.request).Forward(echoRQ(2)).Reverse(echoRSP(2)).Forward(releaseRQ).Reverse(releaseRP).Refused(2).
				WantOperation(test.name, test.class, test.facts...).
				WantOperation("dicom:C-ECHO", policy.ClassSession).
				WantRefusal(2, test.refusal).
				WantForward(echoRQ(2)+releaseRQ).
				WantReverse(test.refusal+echoRSP(2)+releaseRP))
	}
}

// TestDevice has what the device asks.
func TestDevice(t *testing.T) {
	event := responseOf(11, nEventReport, 9, 0, storageCommitment)
	instance := "1.2.840.10008.1.20.1.1"
	conformance.Run(t, Protocol(), `{}`,
		associated("C-GET with sub-operations", 3, 9).
			Forward(getRQ(1)).Reverse(storeRQ(1, image(ex))).Forward(storeRSP(1, 0)).Reverse(getRSP(1, statusPending)).
			Reverse(storeRQ(2, image(ex))).Forward(storeRSP(2, 0)).Reverse(getRSP(1, 0)).Forward(releaseRQ).Reverse(releaseRP).
			WantOperation("dicom:C-GET", policy.ClassRead).
			WantOperation("dicom:C-STORE", policy.ClassWrite, append(imageFacts, "within", "dicom:C-GET")...).
			WantOperation("dicom:C-STORE", policy.ClassWrite).
			WantForward(associateRQ(3, 9)+getRQ(1)+storeRSP(1, 0)+storeRSP(2, 0)+releaseRQ).
			WantReverse(associateAC(3, 9)+storeRQ(1, image(ex))+getRSP(1, statusPending)+storeRQ(2, image(ex))+getRSP(1, 0)+releaseRP),
		associated("a sub-operation refused", 3, 9).
			Forward(getRQ(1)).Reverse(storeRQ(1, image(ex))).Reverse(storeRQ(2, image(ex))).Forward(storeRSP(2, 0)).
			Reverse(getRSP(1, 0xb000)).Refused(sdk.Reverse.Operation(1)).
			WantOperation("dicom:C-GET", policy.ClassRead).
			WantOperation("dicom:C-STORE", policy.ClassWrite).WantOperation("dicom:C-STORE", policy.ClassWrite).
			WantRefusal(sdk.Reverse.Operation(1), storeRefused(1)).
			WantForward(associateRQ(3, 9)+getRQ(1)+storeRefused(1)+storeRSP(2, 0)).
			WantReverse(associateAC(3, 9)+storeRQ(2, image(ex))+getRSP(1, 0xb000)),
		associated("event report", 1, 11).
			Forward(commitRQ("1.2")).Reverse(responseOf(11, nAction, 3, 0, storageCommitment)).Reverse(commitRSP).Forward(event).
			WantOperation("dicom:N-ACTION", policy.ClassWrite).
			WantOperation("dicom:N-EVENT-REPORT", policy.ClassNotify, "event_type", 1, "anomalies", nil, "within", nil,
				"transaction_uid", "1.2.9", "because", `1.2.9\CT7`, "expects", nil).
			WantForward(associateRQ(1, 11)+commitRQ("1.2")+event),
		associated("event report refused", 1, 11).
			Reverse(commitRSP).Forward(echoRQ(1)).Reverse(echoRSP(1)).Refused(sdk.Reverse.Operation(1)).
			WantOperation("dicom:N-EVENT-REPORT", policy.ClassNotify).
			WantOperation("dicom:C-ECHO", policy.ClassSession).
			WantRefusal(sdk.Reverse.Operation(1), refusedAs(11, storageCommitment, nEventReport, 9, 0x0124, "not permitted", el(0x1000, ui(instance)), us(0x1002, 1))).
			WantReverse(associateAC(1, 11)+echoRSP(1)),
		associated("a role nobody negotiated").
			Reverse(echoRQ(1)).Forward(echoRSP(1)).
			WantOperation("dicom:C-ECHO", policy.ClassSession, "anomalies", []string{"role_missing"}),
		associated("a refusal waits for the client's own message", 3, 9).
			Forward(getRQ(1)).Forward(half(2)).Reverse(storeRQ(1, image(ex))).
			Forward(data(pdv(3, 2, "rest"))).Refused(sdk.Reverse.Operation(1)).
			WantOperation("dicom:C-GET", policy.ClassRead).
			WantOperation("dicom:C-STORE", policy.ClassWrite).WantOperation("dicom:C-STORE", policy.ClassWrite).
			WantRefusal(sdk.Reverse.Operation(1), storeRefused(1)).
			WantForward(associateRQ(3, 9)+getRQ(1)+half(2)+data(pdv(3, 2, "rest"))+storeRefused(1)),
	)
}

// half is a store of which the last fragment is missing.
func half(id int) string {
	return data(pdv(3, 3, storeCommand(id, ctStorage, object))) + data(pdv(3, 0, image(ex)))
}

// TestCancel has C-CANCEL, and what crosses it.
func TestCancel(t *testing.T) {
	conformance.Run(t, Protocol(), `{}`,
		associated("cancelled", 1, 5).
			Forward(findRQ(1)).Reverse(findRSP(1, statusPending)).Forward(cancelRQ(5, 1)).Reverse(findRSP(1, 0xfe00)).
			WantOperation("dicom:C-FIND", policy.ClassQuery).
			WantOperation("dicom:C-CANCEL", policy.ClassSession, "message_id_responded_to", 1, "message_id", nil, "anomalies", nil).
			WantForward(associateRQ(1, 5)+findRQ(1)+cancelRQ(5, 1)),
		associated("cancelled too late", 1, 5).
			Forward(findRQ(1)).Reverse(findRSP(1, 0)).Forward(cancelRQ(5, 1)).Forward(echoRQ(2)).Reverse(echoRSP(2)).
			WantOperation("dicom:C-FIND", policy.ClassQuery).
			WantOperation("dicom:C-CANCEL", policy.ClassSession).
			WantOperation("dicom:C-ECHO", policy.ClassSession),
		associated("cancelled in a context that was not accepted", 1, 5).
			Forward(findRQ(1)).Forward(cancelRQ(7, 1)).Reverse(findRSP(1, 0)).
			WantOperation("dicom:C-FIND", policy.ClassQuery).
			WantOperation("dicom:C-CANCEL", policy.ClassSession, "abstract_syntax", nil, "anomalies", []string{"context_unknown"}).
			WantForward(associateRQ(1, 5)+findRQ(1)+cancelRQ(7, 1)),
		associated("cancel refused in the middle of a response", 1, 5).
			Forward(findRQ(1)).Reverse(findRSP(1, statusPending)[:150]).Forward(cancelRQ(5, 1)).
			Reverse(findRSP(1, statusPending)[150:]).Reverse(findRSP(1, 0)).Refused(3).
			WantOperation("dicom:C-FIND", policy.ClassQuery).
			WantOperation("dicom:C-CANCEL", policy.ClassSession).
			WantRefusal(3, "").
			WantForward(associateRQ(1, 5)+findRQ(1)),
	)
}

// TestEnds has the ways an association ends.
func TestEnds(t *testing.T) {
	conformance.Run(t, Protocol(), `{}`,
		associated("release collision").
			Forward(releaseRQ).Reverse(releaseRQ).Forward(releaseRP).Reverse(releaseRP).
			WantForward(associateRQ()+releaseRQ+releaseRP).WantReverse(associateAC()+releaseRQ+releaseRP),
		associated("released with a response on its way", 1, 5).
			Forward(findRQ(1)+releaseRQ).Reverse(findRSP(1, statusPending)+findRSP(1, 0)+releaseRP).
			WantOperation("dicom:C-FIND", policy.ClassQuery),
		associated("refused and released at once").
			Forward(echoRQ(1)+releaseRQ).Reverse(releaseRP).Refused(2).
			WantOperation("dicom:C-ECHO", policy.ClassSession).
			WantRefusal(2, echoRefused(1)).
			WantReverse(associateAC()+echoRefused(1)+releaseRP),
		associated("aborted in the middle of a store").
			Forward(half(1)+userAbort).
			WantForward(associateRQ()+half(1)+userAbort).
			WantOperation("dicom:C-STORE", policy.ClassWrite),
		associated("aborted in the middle of a refused store").
			Forward(half(1)+userAbort).Refused(2).
			WantOperation("dicom:C-STORE", policy.ClassWrite).
			WantRefusal(2, "").
			WantForward(associateRQ()+userAbort),
		associated("aborted before it is understood").
			Forward(data(pdv(3, 3, storeCommand(1, ctStorage, object)))+userAbort).
			WantInvalid("dicom:malformed", policy.ClassUnknown).
			WantRefusal(2, "").
			WantForward(associateRQ()+userAbort),
		associated("aborted by the device").
			Forward(echoRQ(1)).Reverse(userAbort).Forward(echoRQ(2)).Refused(3).
			WantOperation("dicom:C-ECHO", policy.ClassSession).WantOperation("dicom:C-ECHO", policy.ClassSession).
			WantRefusal(3, "").
			WantReverse(associateAC()+userAbort),
		associated("closed in the middle of a refused store").
			Forward(half(1)).ForwardEnds().Refused(2).
			WantOperation("dicom:C-STORE", policy.ClassWrite).
			WantRefusal(2, ""),
		conformance.Named("rejected by the device").
			Forward(associateRQ()).Reverse(short(pduAssociateRJ, 0, 1, 1, 3)).
			WantOperation("dicom:A-ASSOCIATE", policy.ClassSession).
			WantReverse(short(pduAssociateRJ, 0, 1, 1, 3)),
		conformance.Named("aborted by the device at once").
			Forward(associateRQ()).Reverse(userAbort).
			WantOperation("dicom:A-ASSOCIATE", policy.ClassSession).
			WantReverse(userAbort),
		conformance.Named("rejected, then aborted").
			Forward(associateRQ()).Forward(userAbort).Refused(1).
			WantOperation("dicom:A-ASSOCIATE", policy.ClassSession).
			WantRefusal(1, short(pduAssociateRJ, 0, 1, 1, 1)).
			WantForward("").WantReverse(short(pduAssociateRJ, 0, 1, 1, 1)),
		conformance.Named("rejected, and goes on").
			Forward(associateRQ()).Forward(releaseRQ).Refused(1).
			WantOperation("dicom:A-ASSOCIATE", policy.ClassSession).
			WantInvalid("dicom:malformed", policy.ClassUnknown).
			WantRefusal(1, short(pduAssociateRJ, 0, 1, 1, 1)).
			WantEnd().WantForward(""),
	)
}

// A C-MOVE and its stores say the same of each other, whichever side asks.
func TestMovement(t *testing.T) {
	mover := association{calling: "KIM", called: "PACS"}
	own, toMover, toOther := mover, association{calling: "PACS", called: "KIM"}, association{calling: "PACS", called: "WS4"}
	move := func(to string, id uint16) *command { return &command{field: cMove, destination: to, messageID: id} }
	store := func(originator string, id uint16) *command {
		return &command{field: cStore, originator: originator, originatorID: id, originated: true}
	}
	for _, x := range []struct {
		asked     string
		followed  string
		belonging bool
	}{
		{mover.expects(sdk.Forward, move("WS4", 7)), toOther.because(sdk.Forward, store("KIM", 7)), true},
		{mover.expects(sdk.Forward, move("KIM", 7)), toMover.because(sdk.Forward, store("KIM", 7)), true},
		{mover.expects(sdk.Reverse, move("WS4", 7)), toOther.because(sdk.Forward, store("PACS", 7)), true},
		{mover.expects(sdk.Forward, move("PACS", 7)), own.because(sdk.Forward, store("KIM", 7)), true},
		{mover.expects(sdk.Forward, move("WS4", 7)), toOther.because(sdk.Forward, store("KIM", 8)), false},
		{mover.expects(sdk.Forward, move("WS4", 7)), toMover.because(sdk.Forward, store("KIM", 7)), false},
		{mover.expects(sdk.Forward, move("WS4", 7)), toOther.because(sdk.Forward, store("FOX", 7)), false},
		{mover.expects(sdk.Forward, move("WS4", 7)), toOther.because(sdk.Reverse, store("KIM", 7)), false},
	} {
		if (x.asked == x.followed) != x.belonging || x.asked == "" || x.followed == "" {
			t.Errorf("%q and %q", x.asked, x.followed)
		}
	}
	if got := toOther.because(sdk.Forward, &command{field: cStore}); got != "" {
		t.Errorf("a push of its own says %q", got)
	}
	for _, half := range []*command{{field: cStore, originator: "KIM"}, {field: cStore, originated: true}} {
		if got := toOther.because(sdk.Forward, half); got == "" {
			t.Error("half of a reference passes for none")
		}
	}
}

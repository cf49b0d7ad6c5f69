package dicom

import (
	"encoding/binary"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"cordon/plugins/sdk"
	"cordon/plugins/sdk/conformance"
	"cordon/policy"
)

func rejectedWith(result, source, reason byte) string {
	return short(pduAssociateRJ, 0, result, source, reason)
}

// TestRejected has the ways an association is rejected.
func TestRejected(t *testing.T) {
	why := func(cause policy.Cause, obligations ...string) sdk.Refusal {
		return sdk.Refusal{Code: "7QF-21", Cause: cause, Reason: "not permitted", Obligations: obligations}
	}
	for _, test := range []struct {
		name   string
		why    sdk.Refusal
		answer string
	}{
		{"by policy", why(policy.CausePolicy), rejectedWith(1, 1, 1)},
		{"for doubt", why(policy.CauseDoubt), rejectedWith(2, 3, 1)},
		{"for the calling AE title", why(policy.CausePolicy, "dicom:calling-ae-title-not-recognized"), rejectedWith(1, 1, 3)},
		{"for the called AE title", why(policy.CausePolicy, "dicom:called-ae-title-not-recognized", "dicom:other"), rejectedWith(1, 1, 7)},
	} {
		conformance.Run(t, Protocol(), `{}`, conformance.Named(test.name).
			Forward(associateRQ()).RefusedWith(test.why, 1).
			WantOperation("dicom:A-ASSOCIATE", policy.ClassSession).
			WantRefusal(1, test.answer).WantForward("").WantReverse(test.answer))
	}

	usual := item(itemApplication, dicomApplication) + proposed(1, verification, implicitLittle) + userInfo(0)
	rq := func(s string) string { return pdu(pduAssociateRQ, s) }
	for _, test := range []struct {
		name, settings, sent, answer string
	}{
		{"another called AE title", `{"called_ae":"CT7"}`, associateRQ(), rejectedWith(1, 1, 7)},
		{"none of the called AE titles", `{"called_ae":["CT7","PAC"]}`, associateRQ(), rejectedWith(1, 1, 7)},
		{"called AE title with a path", `{}`, rq(fixed("../../PACS", "CT7") + usual), rejectedWith(1, 1, 7)},
		{"calling AE title with a path", `{}`, rq(fixed("PACS", `A\B`) + usual), rejectedWith(1, 1, 3)},
		{"calling AE title with a slash", `{}`, rq(fixed("PACS", `A/B`) + usual), rejectedWith(1, 1, 3)},
		{"calling AE title with a line break", `{}`, rq(fixed("PACS", "A\nB") + usual), rejectedWith(1, 1, 3)},
		{"no calling AE title", `{}`, rq(fixed("PACS", "") + usual), rejectedWith(1, 1, 3)},
		{"protocol version 2", `{}`, rq("\x00\x02" + fixed("PACS", "CT7")[2:] + usual), rejectedWith(1, 2, 2)},
		{"another application context", `{}`, rq(fixed("PACS", "CT7") + item(itemApplication, "1.2.3") + proposed(1, verification, implicitLittle) + userInfo(0)), rejectedWith(1, 1, 2)},
		{"abstract syntax with a path", `{}`, rq(fixed("PACS", "CT7") + item(itemApplication, dicomApplication) + proposed(1, "../..", implicitLittle) + userInfo(0)), rejectedWith(1, 1, 1)},
		{"anomaly the service refuses", `{"refuse":["ae_padding"]}`, rq(fixed("PACS", "CT7")[:20] + "CT7" + strings.Repeat("\x00", 45) + usual), rejectedWith(1, 1, 1)},
	} {
		conformance.Run(t, Protocol(), test.settings, conformance.Named(test.name).Forward(test.sent).
			WantInvalid("dicom:A-ASSOCIATE", policy.ClassSession).
			WantRefusal(1, test.answer).WantForward("").WantReverse(test.answer))
	}

	for name, sent := range map[string]string{
		"without contexts":            rq(fixed("PACS", "CT7") + item(itemApplication, dicomApplication) + userInfo(0)),
		"without user information":    rq(fixed("PACS", "CT7") + item(itemApplication, dicomApplication) + proposed(1, verification, implicitLittle)),
		"with a context twice":        rq(fixed("PACS", "CT7") + proposed(1, verification, implicitLittle) + usual),
		"with an even context":        rq(fixed("PACS", "CT7") + proposed(2, verification, implicitLittle) + usual),
		"without a transfer syntax":   rq(fixed("PACS", "CT7") + proposed(3, verification) + usual),
		"with two abstract syntaxes":  rq(fixed("PACS", "CT7") + item(itemProposed, "\x03\x00\x00\x00"+item(itemAbstract, "1.2")+item(itemAbstract, "1.3")+item(itemTransfer, implicitLittle)) + usual),
		"with an item beyond its end": rq(fixed("PACS", "CT7") + usual + "\x20\x00\xff\xff\x01"),
		"with half an item":           rq(fixed("PACS", "CT7") + usual + "\x20\x00"),
		"with two maximum lengths":    rq(fixed("PACS", "CT7") + item(itemApplication, dicomApplication) + proposed(1, verification, implicitLittle) + userInfo(0, item(itemMaxPDU, be32(1)))),
		"with a short window":         rq(fixed("PACS", "CT7") + item(itemApplication, dicomApplication) + proposed(1, verification, implicitLittle) + userInfo(0, item(itemAsync, "ab"))),
		"with a role of half a UID":   rq(fixed("PACS", "CT7") + item(itemApplication, dicomApplication) + proposed(1, verification, implicitLittle) + userInfo(0, item(itemRole, "\x00\xff1.2\x01\x01"))),
		"with an identity cut short":  rq(fixed("PACS", "CT7") + item(itemApplication, dicomApplication) + proposed(1, verification, implicitLittle) + userInfo(0, item(itemUserIdentity, "\x01\x00\x00\xff"+"jane"))),
		"of no length":                rq(""),
		"too long":                    "\x01\x00\x7f\xff\xff\xff",
		"of another protocol":         "GET / HTTP/1.1\r\n\r\n",
	} {
		reason := byte(abortInvalid)
		if name == "of another protocol" {
			reason = abortUnrecognized
		}
		conformance.Run(t, Protocol(), `{}`, conformance.Named("request "+name).Forward(sent).
			WantInvalid("dicom:malformed", policy.ClassUnknown).
			WantRefusal(1, aborted(reason)).WantEnd().WantForward("").WantReverse(aborted(reason)))
	}
}

// TestAssociationFacts has what policy is told of an association.
func TestAssociationFacts(t *testing.T) {
	identity := func(kind byte, first, second string) string {
		return item(itemUserIdentity, string([]byte{kind, 0})+be16(len(first))+first+be16(len(second))+second)
	}
	for _, test := range []struct {
		name  string
		items []string
		facts []any
	}{
		{"usual", []string{roles}, []any{
			"called_ae", "PACS", "calling_ae", "CT7", "app_context", nil, "impl_class_uid", "1.2.3", "impl_version", "TEST_1", "max_pdu", 16384,
			"abstract_syntaxes", []string{verification, ctStorage}, "transfer_syntaxes", []string{implicitLittle, explicitLE},
			"scp_role", []string{ctStorage}, "async_invoked", nil, "user_identity_type", nil, "user_identity_verified", nil, "anomalies", nil}},
		{"window", []string{item(itemAsync, "\x00\x04\x00\x00")}, []any{"async_invoked", 4, "async_performed", 0, "scp_role", nil}},
		{"name", []string{identity(1, "jane", "")}, []any{"user_identity_type", "username", "user_identity", "jane", "user_identity_verified", "no"}},
		{"passcode", []string{identity(2, "jane", "hunter2")}, []any{"user_identity_type", "username+passcode", "user_identity", "jane"}},
		{"ticket", []string{identity(3, "secret", "")}, []any{"user_identity_type", "kerberos", "user_identity", nil}},
		{"assertion", []string{identity(4, "<secret/>", "")}, []any{"user_identity_type", "saml", "user_identity", nil}},
		{"token", []string{identity(5, "secret", "")}, []any{"user_identity_type", "jwt", "user_identity", nil}},
		{"name with odd bytes", []string{identity(1, "ja\x00\xff", "")}, []any{"user_identity", `ja\x00\xFF`, "anomalies", []string{"charset"}}},
		{"unknown items", []string{item(0x70, "abc"), item(0x56, "abc")}, []any{"anomalies", nil}},
	} {
		sent := associateWith(test.items...)
		conformance.Run(t, Protocol(), `{}`, conformance.Named(test.name).Forward(sent).
			WantOperation("dicom:A-ASSOCIATE", policy.ClassSession, test.facts...).WantForward(sent))
		p := play(t, `{}`, sent)
		if text, err := json.Marshal(lastOperation(p).Operation); err != nil || strings.Contains(string(text), "secret") || strings.Contains(string(text), "hunter2") {
			t.Errorf("%s: policy is told %s (%v)", test.name, text, err)
		}
	}
	conformance.Run(t, Protocol(), `{}`, conformance.Named("who, in every operation").
		Forward(associateWith(identity(2, "jane", "hunter2"))).Reverse(acceptWith()).Forward(echoRQ(1)).
		WantOperation("dicom:A-ASSOCIATE", policy.ClassSession).
		WantOperation("dicom:C-ECHO", policy.ClassSession, "called_ae", "PACS", "calling_ae", "CT7", "user_identity", "jane"))
}

// TestStatus has the status for each service and cause.
func TestStatus(t *testing.T) {
	doubt := sdk.Refusal{Code: "7QF-21", Cause: policy.CauseDoubt, Reason: "temporarily unavailable"}
	unknown := sdk.Refusal{Code: "7QF-21", Cause: policy.CausePolicy, Reason: "not permitted", Obligations: []string{"dicom:move-destination-unknown"}}
	denied := sdk.Refusal{Code: "7QF-21", Cause: policy.CausePolicy, Reason: "not permitted"}
	for _, test := range []struct {
		field    uint16
		settings string
		why      sdk.Refusal
		status   uint16
	}{
		{cStore, `{}`, denied, 0x0124}, {cFind, `{}`, denied, 0x0124}, {cMove, `{}`, denied, 0x0124}, {cEcho, `{}`, denied, 0x0124}, {nSet, `{}`, denied, 0x0124},
		{cStore, `{"denied_status":"A700"}`, denied, 0xa700}, {cFind, `{"denied_status":"A700"}`, denied, 0xa700}, {cMove, `{"denied_status":"A700"}`, denied, 0x0124},
		{cStore, `{}`, doubt, 0xa700}, {cFind, `{}`, doubt, 0xa700}, {cMove, `{}`, doubt, 0xa702}, {cGet, `{}`, doubt, 0xa702}, {cEcho, `{}`, doubt, 0x0110}, {nAction, `{}`, doubt, 0x0110},
		{cMove, `{}`, unknown, 0xa801}, {cGet, `{}`, unknown, 0x0124}, {0x0777, `{}`, denied, 0x0211},
	} {
		set, err := parseSettings(json.RawMessage(test.settings))
		if err != nil {
			t.Fatal(err)
		}
		s := newSession(set)
		x := &exchange{context: 1, command: command{field: test.field, messageID: 7}, why: &test.why}
		if got := s.status(x); got != test.status {
			t.Errorf("command %04X, %s, %s: status %04X, want %04X", test.field, test.settings, test.why.Cause, got, test.status)
		}
	}
}

// TestComment: the decision code is never cut.
func TestComment(t *testing.T) {
	for _, reason := range []string{"", "not permitted", strings.Repeat("long ", 50), "a\\b\nc\xff"} {
		got := comment(&sdk.Refusal{Code: "7QF-21", Reason: reason})
		if !strings.HasSuffix(got, "7QF-21") || len(got) > 64 || strings.ContainsAny(got, "\\\n") || strings.Contains(got, "\xff") {
			t.Errorf("comment for %q: %q", reason, got)
		}
	}
}

// TestSmallPDUs: a refusal comes in PDUs its asker takes.
func TestSmallPDUs(t *testing.T) {
	for _, most := range []int{0, 12, 60, 128, 16384} {
		s := newSession(&settings{deniedStatus: statusNotAuthorized})
		s.association.maxPDU[sdk.Reverse] = int64(most)
		x := &exchange{op: 1, context: 3, command: command{field: cStore, messageID: 7, sopClass: ctStorage, sopInstance: object},
			why: &sdk.Refusal{Code: "7QF-21", Cause: policy.CausePolicy, Reason: "not permitted"}}
		b := s.answer(x)
		if err := Answer(b); err != nil {
			t.Errorf("at most %d bytes: %v", most, err)
		}
		for rest := b; len(rest) > 0; {
			n := int(binary.BigEndian.Uint32(rest[2:]))
			if most > 0 && n > most {
				t.Errorf("PDU of %d bytes, at most %d", n, most)
			}
			rest = rest[6+n:]
		}
	}
}

// TestQuirks has what is tolerated, and named.
func TestQuirks(t *testing.T) {
	plain := el(2, ui(verification)) + us(0x100, cEcho) + us(0x110, 1) + us(0x800, noDataSet)
	rsp := echoRSP(1)
	for _, test := range []struct {
		name, command, anomaly string
	}{
		{"no group length", plain, "group_length"},
		{"wrong group length", el(0, le32(99)) + plain, "group_length"},
		{"UID padded with a space", cs(el(2, verification+" ") + us(0x100, cEcho) + us(0x110, 1) + us(0x800, noDataSet)), "uid_padding"},
		{"UID of odd length", cs(el(2, verification) + us(0x100, cEcho) + us(0x110, 1) + us(0x800, noDataSet)), "odd_length"},
		{"AE title padded with NUL", cs(el(2, ui(verification)) + us(0x100, cEcho) + us(0x110, 1) + us(0x800, noDataSet) + el(0x1030, "CT7\x00")), "ae_padding"},
		{"another class", cs(el(2, "1.2.3\x00") + us(0x100, cEcho) + us(0x110, 1) + us(0x800, noDataSet)), "class_mismatch"},
	} {
		sent := data(pdv(1, 3, test.command))
		conformance.Run(t, Protocol(), `{}`, associated(test.name).Forward(sent).Reverse(rsp).
			WantOperation("dicom:C-ECHO", policy.ClassSession, "anomalies", []string{test.anomaly}).
			WantForward(associateRQ()+sent))
		p := play(t, `{"refuse":["`+test.anomaly+`"]}`, associateRQ(), associateAC(), sent)
		if op := lastOperation(p); !op.Invalid {
			t.Errorf("%s: not refused by the setting", test.name)
		}
	}
	conformance.Run(t, Protocol(), `{}`,
		associated("more than the window, one message ID").
			Forward(echoRQ(1)+echoRQ(1)).Reverse(rsp+rsp).Forward(echoRQ(2)).Reverse(echoRSP(2)).Forward(echoRQ(3)).
			WantOperation("dicom:C-ECHO", policy.ClassSession, "anomalies", nil).
			WantOperation("dicom:C-ECHO", policy.ClassSession, "anomalies", nil).
			WantOperation("dicom:C-ECHO", policy.ClassSession, "anomalies", []string{"async_window", "shared_message_id"}).
			WantOperation("dicom:C-ECHO", policy.ClassSession, "anomalies", nil))
	conformance.Run(t, Protocol(), `{}`,
		conformance.Named("within the window").
			Forward(associateWith(item(itemAsync, "\x00\x02\x00\x01"))).Reverse(acceptWith(item(itemAsync, "\x00\x02\x00\x01"))).
			Forward(echoRQ(1)+echoRQ(2)).Reverse(echoRSP(2)+rsp).Forward(echoRQ(3)).
			WantOperation("dicom:A-ASSOCIATE", policy.ClassSession).
			WantOperation("dicom:C-ECHO", policy.ClassSession).WantOperation("dicom:C-ECHO", policy.ClassSession).
			WantOperation("dicom:C-ECHO", policy.ClassSession, "anomalies", nil))
}

// TestPaths: a name that could be a path does not pass in a command, in either direction
// (CVE-2022-2119, CVE-2022-2120).
func TestPaths(t *testing.T) {
	for _, bad := range []string{"../../x", `..\x`, "/etc/passwd", "1.2.3/4", "1.2\n", "1.2.3.x", strings.Repeat("1", 66), "1\x001 "} {
		sent := dimse(3, storeCommand(1, ctStorage, bad), image(ex))
		for _, turns := range [][]string{{associateRQ(), associateAC(), sent}, {associateRQ(), associateAC(), "", sent}} {
			if op := lastOperation(play(t, `{}`, turns...)); op.Operation.Name != "dicom:C-STORE" || !op.Invalid || op.Operation.Attributes.Get("sop_instance_uid") != nil {
				t.Errorf("C-STORE of %q: %+v", bad, op)
			}
		}
	}
	for _, bad := range []string{"../x", `a\b`, "a/b", "a\x01", "..", strings.Repeat("A", 17)} {
		p := play(t, `{}`, associateRQ(1, 7), associateAC(1, 7), moveRQ(1, bad))
		if op := lastOperation(p); op.Operation.Name != "dicom:C-MOVE" || !op.Invalid || op.Operation.Attributes.Get("move_destination") != nil {
			t.Errorf("C-MOVE to %q: %+v", bad, op)
		}
		p = play(t, `{}`, associateRQ(), associateAC(), "", dimse(3, storeCommand(1, ctStorage, object, el(0x1030, lo(bad))), image(ex)))
		if op := lastOperation(p); !op.Invalid {
			t.Errorf("C-STORE from %q: %+v", bad, op)
		}
	}
}

func TestSettings(t *testing.T) {
	for _, bad := range []string{`{"x":1}`, `[]`, `{"called_ae":""}`, `{"called_ae":["a/b"]}`, `{"called_ae":" A"}`, `{"called_ae":3}`, `{"called_ae":"01234567890123456"}`,
		`{"denied_status":"0122"}`, `{"denied_status":1}`, `{"max_pdu":1}`, `{"max_pdu":99999999}`, `{"max_pdu":"1"}`, `{"head_limit":131073}`, `{"head_limit":0}`, `{"refuse":["x"]}`, `{"refuse":"charset"}`} {
		if _, err := parseSettings(json.RawMessage(bad)); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
	set, err := parseSettings(json.RawMessage(`{"called_ae":"CT7","denied_status":"A700","max_pdu":65536,"head_limit":8192,"refuse":["charset","head_cut"]}`))
	if err != nil || !slices.Equal(set.calledAE, []string{"CT7"}) || set.deniedStatus != 0xa700 || set.maxPDU != 65536 || set.headLimit != 8192 || set.refuse != charset|headCut {
		t.Errorf("settings %+v, %v", set, err)
	}
}

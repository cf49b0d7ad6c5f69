package dicom

import (
	"fmt"
	"strings"
	"testing"

	"cordon/plugins/sdk"
	"cordon/plugins/sdk/conformance"
	"cordon/policy"
)

// TestTransferSyntaxes reads one object's head in every encoding.
func TestTransferSyntaxes(t *testing.T) {
	encodings := []struct {
		context byte
		set     string
	}{{17, image(im)}, {3, image(ex)}, {19, image(big)}, {21, squeeze(image(ex))}, {23, image(ex)}}
	for _, e := range encodings {
		ids := []byte{1, e.context}
		sent := dimse(e.context, storeCommand(1, ctStorage, object), e.set)
		conformance.Run(t, Protocol(), `{}`, associated(contexts[e.context/2].transfer, ids...).Forward(sent).
			WantOperation("dicom:C-STORE", policy.ClassWrite, append(imageFacts, "transfer_syntax", contexts[e.context/2].transfer)...).
			WantForward(associateRQ(ids...)+sent))
	}
}

// TestFragments: however a message is cut into PDVs and PDUs, it is one operation.
func TestFragments(t *testing.T) {
	command, set := storeCommand(1, ctStorage, object), image(ex)
	cuts := map[string]string{
		"command and data in one PDU": data(pdv(3, 3, command), pdv(3, 2, set)),
		"all in pieces, in one PDU":   data(pdv(3, 1, command[:10]), pdv(3, 1, ""), pdv(3, 3, command[10:]), pdv(3, 0, set[:7]), pdv(3, 0, ""), pdv(3, 0, set[7:200]), pdv(3, 2, set[200:])),
		"command ends within a PDU":   data(pdv(3, 1, command[:30])) + data(pdv(3, 3, command[30:]), pdv(3, 0, set[:20])) + data(pdv(3, 0, set[20:])) + data(pdv(3, 2, "")),
		"reserved control bits":       data(pdv(3, 0xf3, command)) + data(pdv(3, 0x82, set)),
	}
	small := ""
	for i := 0; i < len(command); i += 11 {
		control := byte(1)
		if i+11 >= len(command) {
			control = 3
		}
		small += data(pdv(3, control, command[i:min(i+11, len(command))]))
	}
	for i := 0; i < len(set); i += 11 {
		control := byte(0)
		if i+11 >= len(set) {
			control = 2
		}
		small += data(pdv(3, control, set[i:min(i+11, len(set))]))
	}
	cuts["pieces of 11 bytes"] = small
	for name, sent := range cuts {
		conformance.Run(t, standing(), `{}`,
			after(name).Forward(sent).Reverse(storeRSP(1, 0)).
				WantOperation("dicom:C-STORE", policy.ClassWrite, imageFacts...).
				WantForward(sent),
			after(name+", refused").Forward(sent).Forward(echoRQ(2)).Refused(2).
				WantOperation("dicom:C-STORE", policy.ClassWrite).WantOperation("dicom:C-ECHO", policy.ClassSession).
				WantRefusal(2, storeRefused(1)).
				WantForward(echoRQ(2)))
	}
}

// nested is a data set with a sequence of the depth given in front of the patient, items and
// sequences without a length.
func nested(depth int) string {
	open, closed := "\xfe\xff\x00\xe0\xff\xff\xff\xff", "\xfe\xff\x0d\xe0\x00\x00\x00\x00\xfe\xff\xdd\xe0\x00\x00\x00\x00"
	sq := "\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff"
	return strings.Repeat(sq+open, depth) + ex(0x00081150, "UI", "1.2\x00") + strings.Repeat(closed, depth)
}

// TestHeads has heads that are understood, or are not, and what becomes of them.
func TestHeads(t *testing.T) {
	patient := ex(tagPatientID, "LO", "4711")
	class, instance := ex(tagSOPClass, "UI", ui(ctStorage)), ex(tagSOPInstance, "UI", ui(object))
	none := []any{"patient_id", nil}
	known := []any{"patient_id", "4711", "anomalies", nil}
	with := func(anomaly string, facts ...any) []any { return append(facts, "anomalies", []string{anomaly}) }
	tests := []struct {
		name, set string
		status    int // 0: it passes
		facts     []any
	}{
		{"nothing wanted", ex(0x7fe00010, "OW", "abcd"), 0, none},
		{"only a patient", patient, 0, known},
		{"group lengths", ex(0x00080000, "UL", "\x04\x00\x00\x00") + patient, 0, known},
		{"private elements", ex(0x00090010, "LO", "ACME") + ex(0x00091001, "UN", "abcd") + patient, 0, known},
		{"sequence with lengths", ex(0x00081140, "SQ", "\xfe\xff\x00\xe0\x08\x00\x00\x00"+ex(0x00081150, "UI", "")) + patient, 0, known},
		{"sequence without lengths", nested(1) + patient, 0, known},
		{"sequences in sequences", nested(7) + patient, 0, known},
		{"patient in a sequence", strings.Replace(nested(1), ex(0x00081150, "UI", "1.2\x00"), ex(tagPatientID, "LO", "0815"), 1) + patient, 0, known},
		{"unknown sequence", "\x09\x00\x01\x10UN\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" + el(0x00081150, "1.2\x00") + "\xfe\xff\x0d\xe0\x00\x00\x00\x00\xfe\xff\xdd\xe0\x00\x00\x00\x00" + patient, 0, known},
		{"UID padded with spaces", instance[:len(instance)-1] + " " + patient, 0, with("uid_padding", "patient_id", "4711")},
		{"odd length", ex(tagPatientID, "LO", "471"), 0, with("odd_length", "patient_id", "471")},
		{"UTF-8", ex(tagCharacterSet, "CS", "ISO_IR 192") + ex(tagPatientID, "LO", "ä1 "), 0, []any{"patient_id", "ä1", "anomalies", nil}},
		{"not UTF-8", ex(tagCharacterSet, "CS", "ISO_IR 192") + ex(tagPatientID, "LO", "\xe41"), 0, with("charset", "patient_id", `\xE41`)},
		{"other character set", ex(tagCharacterSet, "CS", "ISO_IR 13 ") + ex(tagPatientID, "LO", "\xb1\xb2\\1\\2"), 0, with("charset", "patient_id", `\xB1\xB2\x5C1\x5C2`)},
		{"long element before the patient", ex(0x00091001, "OB", strings.Repeat("x", minHead)) + patient, 0, with("head_cut", none...)},
		{"element longer than the data set", ex(0x00091001, "OB", strings.Repeat("x", 100))[:50], 0, with("head_unreadable", none...)},

		{"another class", ex(tagSOPClass, "UI", ui("1.2.840.10008.5.1.4.1.1.4")), 0xa900, nil},
		{"another instance", class + ex(tagSOPInstance, "UI", ui("1.2.3")), 0xa900, nil},
		{"two instances", class + ex(tagSOPInstance, "UI", ui(object+`\`+object)), 0xa900, nil},
		{"patient twice", patient + patient, 0xc000, nil},
		{"out of order", patient + instance, 0xc000, nil},
		{"item outside of a sequence", "\xfe\xff\x00\xe0\x00\x00\x00\x00" + patient, 0, with("head_unreadable", none...)},
		{"end outside of a sequence", "\xfe\xff\xdd\xe0\x00\x00\x00\x00" + patient, 0, with("head_unreadable", none...)},
		{"element instead of an item", "\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff" + patient, 0, with("head_unreadable", none...)},
		{"item longer than its sequence", nestedIn("\x08\x00\x40\x11SQ\x00\x00\x10\x00\x00\x00", 0x20), 0xc000, nil},
		{"sequence without end", nested(1)[:30], 0, with("head_unreadable", none...)},
		{"sequence bomb", nested(100), 0xc000, nil},
		{"patient that is a sequence", "\x10\x00\x20\x00SQ\x00\x00\x00\x00\x00\x00", 0xc000, nil},
		{"patient without a length", "\x10\x00\x20\x00UT\x00\x00\xff\xff\xff\xff", 0, with("head_unreadable", none...)},
		{"patient that is too long", ex(tagPatientID, "LO", strings.Repeat("1", maxValue+2)), 0xc000, nil},
		{"unknown VR behind the patient", patient + ex(0x00100030, "ZZ", "19700101"), 0, with("head_unreadable", none...)},
		{"unknown VR", ex(0x00080020, "ZZ", "20260101"), 0, with("head_unreadable", none...)},
		{"implicit where explicit was agreed", image(im), 0, with("head_unreadable", none...)},
		{"command element", ex(0x00000100, "US", "\x01\x00") + patient, 0xc000, nil},
		{"file header", ex(0x00020010, "UI", ui(explicitLE)) + patient, 0xc000, nil},
		{"study with a path", ex(tagStudy, "UI", "../1"), 0xc000, nil},
		{"half an element", patient[:5], 0, with("head_unreadable", none...)},
	}
	for _, test := range tests {
		d := after(test.name).Forward(storeRQ(1, test.set))
		if test.status == 0 {
			d = d.WantOperation("dicom:C-STORE", policy.ClassWrite, test.facts...).WantForward(storeRQ(1, test.set))
		} else {
			d = d.WantInvalid("dicom:C-STORE", policy.ClassWrite, test.facts...).WantForward("")
			reason := invalidReason(t, associateRQ(), associateAC(), storeRQ(1, test.set))
			room := 63 - len("7QF-21")
			d = d.WantRefusal(2, refusalPDU(3, el(2, ui(ctStorage)), us(0x100, cStore|responseBit), us(0x120, 1), us(0x800, noDataSet),
				us(0x900, test.status), el(0x902, lo(reason[:min(len(reason), room)]+" 7QF-21")), el(0x1000, ui(object))))
		}
		conformance.Run(t, standing(), `{"head_limit":4096}`, d)
	}
}

// nestedIn is a sequence header with an item of some length in it.
func nestedIn(header string, length int) string {
	return header + "\xfe\xff\x00\xe0" + le32(length) + strings.Repeat("\x00", length)
}

// invalidReason is why the last operation of a dialogue is invalid.
func invalidReason(t *testing.T, turns ...string) string {
	t.Helper()
	p := play(t, `{"head_limit":4096}`, turns[0], turns[1])
	p.show(sdk.Forward, turns[2])
	for _, s := range p.steps {
		if s.Kind == sdk.StepOperation && s.Invalid {
			return s.Reason
		}
	}
	t.Errorf("no operation is invalid")
	return ""
}

// TestDeflated has deflated data sets that are not what they say.
func TestDeflated(t *testing.T) {
	bomb := squeeze(ex(0x00091001, "OB", strings.Repeat("\x00", 16<<20)) + ex(tagPatientID, "LO", "4711"))
	noise := squeeze(image(ex) + strings.Repeat(fmt.Sprint(image(ex)), 3))
	tests := []struct {
		name, set string
		invalid   bool
		anomalies any
	}{
		{"bomb", bomb, false, []string{"head_cut"}},
		{"cut", noise[:100], false, []string{"head_unreadable"}},
		{"not deflated", image(ex), false, []string{"head_unreadable"}},
		{"more behind it", squeeze(ex(tagPatientID, "LO", "4711")) + "abcd", false, []string{"head_unreadable"}},
	}
	for _, test := range tests {
		p := play(t, `{}`, associateRQ(1, 21), associateAC(1, 21), dimse(21, storeCommand(1, ctStorage, object), test.set))
		op := lastOperation(p)
		if op == nil || op.Invalid != test.invalid || !test.invalid && fmt.Sprint(op.Operation.Attributes.Get("anomalies")) != fmt.Sprint(test.anomalies) {
			t.Errorf("%s: %+v", test.name, op)
		}
	}
	h := newHead(deflated, &command{field: cStore}, minHead)
	h.feed([]byte(bomb))
	if h.state != cut || len(h.buf) > minHead {
		t.Errorf("bomb: state %d, %d bytes inflated", h.state, len(h.buf))
	}
}

func lastOperation(p *played) *sdk.Step {
	for i := len(p.steps) - 1; i >= 0; i-- {
		if p.steps[i].Kind == sdk.StepOperation {
			return &p.steps[i]
		}
	}
	return nil
}

// TestQueries has identifiers that are refused, and what is told of others.
func TestQueries(t *testing.T) {
	find := func(set string) string {
		return dimse(5, cs(el(2, ui(studyFind)), us(0x100, cFind), us(0x110, 1), us(0x700, 0), us(0x800, 1)), set)
	}
	level := el(tagLevel, "STUDY ")
	many := ""
	for i := range 40 {
		many += `\1.2.3.` + fmt.Sprint(i)
	}
	long := el(0x00090010, "ACME") + el(0x00091001, strings.Repeat("x", 5000))
	tests := []struct {
		name, set string
		invalid   bool
		facts     []any
	}{
		{"all asterisks", level + el(0x00100010, "** ") + el(tagPatientID, "*"), false, []any{"query_breadth", 0, "return_keys", 2, "query_keys", nil}},
		{"wildcards", level + el(0x00100010, "D* "), false, []any{"query_breadth", 1, "query_keys", []string{"0010,0010"}}},
		{"asterisk as UID", level + el(tagStudy, "* "), false, []any{"study_instance_uid", nil, "query_breadth", 0}},
		{"list of UIDs", level + el(tagStudy, "1.2"+many[:len(many)-len(many)%2-1]), false, nil},
		{"instances", el(tagSOPInstance, `1.2\1.3`) + level, false, []any{"sop_instance_uid", []string{"1.2", "1.3"}}},
		{"keys behind the series", level + el(0x00201208, "") + el(0x0040a730, "1 "), false, []any{"query_keys", []string{"0040,A730"}, "return_keys", 1}},
		{"path as UID", level + el(tagStudy, "../../etc "), true, nil},
		{"longer than the limit", level + long, true, nil},
		{"cut", level + el(0x00100010, "DOE^JANE")[:10], false, []any{"query_level", nil, "query_keys", nil, "anomalies", []string{"head_unreadable"}}},
		{"path as AE title", level + el(tagScheduledStep, "\xfe\xff\x00\xe0"+le32(14)+el(tagScheduledAE, "../../")), true, nil},
	}
	for _, test := range tests {
		d := after(test.name).Forward(find(test.set))
		if test.invalid {
			d = d.WantInvalid("dicom:C-FIND", policy.ClassQuery).WantForward("").
				WantRefusal(2, refusalPDU(5, el(2, ui(studyFind)), us(0x100, cFind|responseBit), us(0x120, 1), us(0x800, noDataSet),
					us(0x900, 0xc000), el(0x902, lo(commentOf(invalidReason(t, associateRQ(1, 5), associateAC(1, 5), find(test.set)))))))
		} else {
			d = d.WantOperation("dicom:C-FIND", policy.ClassQuery, test.facts...)
		}
		conformance.Run(t, standing(1, 5), `{"head_limit":4096}`, d)
	}
}

func commentOf(reason string) string { return reason[:min(len(reason), 63-6)] + " 7QF-21" }

// TestReferences: a list that cannot be told whole is not told in part.
func TestReferences(t *testing.T) {
	var instances []string
	for i := range 600 {
		instances = append(instances, fmt.Sprintf("1.2.840.113619.2.55.3.604688119.971.1234567890.%d", i))
	}
	for _, n := range []int{100, 600} {
		p := play(t, `{}`, associateRQ(1, 11), associateAC(1, 11), commitRQ(instances[:n]...))
		a := lastOperation(p).Operation.Attributes
		list, _ := a.Get("referenced_sop_instances").([]string)
		if told := n == 100; told != (len(list) == n) || !told && list != nil || a.Get("referenced_count") != int64(n) {
			t.Errorf("%d references: %d are told, count %v, anomalies %v", n, len(list), a.Get("referenced_count"), a.Get("anomalies"))
		}
	}
}

package dicom

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"strings"
)

// What the tests need to write DICOM. The bytes of a message are text here, as package
// conformance takes them.

const (
	verification = "1.2.840.10008.1.1"
	ctStorage    = "1.2.840.10008.5.1.4.1.1.2"
	studyFind    = "1.2.840.10008.5.1.4.1.2.2.1"
	studyMove    = "1.2.840.10008.5.1.4.1.2.2.2"
	studyGet     = "1.2.840.10008.5.1.4.1.2.2.3"
	worklist     = "1.2.840.10008.5.1.4.31"
	mpps         = "1.2.840.10008.3.1.2.3.3"
	printer      = "1.2.840.10008.5.1.1.9"
	filmBox      = "1.2.840.10008.5.1.1.2"
	explicitLE   = "1.2.840.10008.1.2.1"
	jpegLossless = "1.2.840.10008.1.2.4.70"
	object       = "1.2.3.4.5"

	tagReferencedClass = 0x00081150
)

// contexts of the usual association, all accepted; the number is half of the id.
var contexts = []struct{ abstract, transfer string }{
	{verification, implicitLittle},      // 1
	{ctStorage, explicitLE},             // 3
	{studyFind, implicitLittle},         // 5
	{studyMove, implicitLittle},         // 7
	{studyGet, explicitLE},              // 9
	{storageCommitment, implicitLittle}, // 11
	{worklist, implicitLittle},          // 13
	{mpps, explicitLE},                  // 15
	{ctStorage, implicitLittle},         // 17
	{ctStorage, explicitBig},            // 19
	{ctStorage, deflated},               // 21
	{ctStorage, jpegLossless},           // 23
	{printer, implicitLittle},           // 25
}

func be16(n int) string { return string(binary.BigEndian.AppendUint16(nil, uint16(n))) }
func be32(n int) string { return string(binary.BigEndian.AppendUint32(nil, uint32(n))) }
func le16(n int) string { return string(binary.LittleEndian.AppendUint16(nil, uint16(n))) }
func le32(n int) string { return string(binary.LittleEndian.AppendUint32(nil, uint32(n))) }

func pdu(kind byte, content string) string {
	return string([]byte{kind, 0}) + be32(len(content)) + content
}

func item(kind byte, content string) string {
	return string([]byte{kind, 0}) + be16(len(content)) + content
}

func title16(s string) string { return s + strings.Repeat(" ", 16-len(s)) }

// fixed is the part of a request or acceptance before its items.
func fixed(called, calling string) string {
	return "\x00\x01\x00\x00" + title16(called) + title16(calling) + strings.Repeat("\x00", 32)
}

func userInfo(maxPDU int, more ...string) string {
	return item(itemUser, item(itemMaxPDU, be32(maxPDU))+item(itemClassUID, "1.2.3")+strings.Join(more, "")+item(itemVersion, "TEST_1"))
}

func proposed(id byte, abstract string, transfer ...string) string {
	s := string([]byte{id, 0, 0, 0}) + item(itemAbstract, abstract)
	for _, t := range transfer {
		s += item(itemTransfer, t)
	}
	return item(itemProposed, s)
}

func result(id, result byte, transfer string) string {
	return item(itemResult, string([]byte{id, 0, result, 0})+item(itemTransfer, transfer))
}

func roleItem(abstract string, user, provider byte) string {
	return item(itemRole, be16(len(abstract))+abstract+string([]byte{user, provider}))
}

var roles = roleItem(ctStorage, 1, 1)

// associateRQ is a request for the contexts with these ids; for the first two if there are
// none. It is short, for the kit cuts it at every byte.
func associateRQ(ids ...byte) string {
	return pdu(pduAssociateRQ, proposals(ids)+item(itemUser, item(itemMaxPDU, be32(16384))+rolesOf(ids)))
}

func associateAC(ids ...byte) string {
	return pdu(pduAssociateAC, results(ids)+item(itemUser, item(itemMaxPDU, be32(32768))+rolesOf(ids)))
}

// associateWith and acceptWith have all user items, and more.
func associateWith(userItems ...string) string {
	return pdu(pduAssociateRQ, proposals(nil)+userInfo(16384, userItems...))
}

func acceptWith(userItems ...string) string {
	return pdu(pduAssociateAC, results(nil)+userInfo(32768, userItems...))
}

func proposals(ids []byte) string {
	s := fixed("PACS", "CT7") + item(itemApplication, dicomApplication)
	for _, id := range orUsual(ids) {
		s += proposed(id, contexts[id/2].abstract, contexts[id/2].transfer)
	}
	return s
}

func results(ids []byte) string {
	s := fixed("PACS", "CT7") + item(itemApplication, dicomApplication)
	for _, id := range orUsual(ids) {
		s += result(id, 0, contexts[id/2].transfer)
	}
	return s
}

// rolesOf proposes or accepts that the client stores what a C-GET gets.
func rolesOf(ids []byte) string {
	if bytes.IndexByte(ids, 9) < 0 {
		return ""
	}
	return roles
}

func orUsual(ids []byte) []byte {
	if len(ids) == 0 {
		return []byte{1, 3}
	}
	return ids
}

func short(kind byte, b ...byte) string { return pdu(kind, string(b)) }

var (
	releaseRQ = short(pduReleaseRQ, 0, 0, 0, 0)
	releaseRP = short(pduReleaseRP, 0, 0, 0, 0)
	userAbort = short(pduAbort, 0, 0, 0, 0)
)

// pdv is one fragment; kind is a set of control bits.
func pdv(context, control byte, content string) string {
	return be32(len(content)+2) + string([]byte{context, control}) + content
}

func data(pdvs ...string) string { return pdu(pduData, strings.Join(pdvs, "")) }

// el is an element of a command set, or of an implicit little endian data set.
func el(tag uint32, value string) string {
	return le16(int(tag>>16)) + le16(int(tag&0xffff)) + le32(len(value)) + value
}

func even(s string, pad byte) string {
	if len(s)%2 != 0 {
		s += string(pad)
	}
	return s
}

func ui(s string) string { return even(s, 0) }
func lo(s string) string { return even(s, ' ') }

// cs is a command set with its group length.
func cs(elements ...string) string {
	s := strings.Join(elements, "")
	return el(0, le32(len(s))) + s
}

func us(element uint32, n int) string { return el(element, le16(n)) }

// dimse is a message: a command and a data set, in PDUs of their own.
func dimse(context byte, command, dataSet string) string {
	s := data(pdv(context, 3, command))
	for len(dataSet) > 16000 {
		s += data(pdv(context, 0, dataSet[:16000]))
		dataSet = dataSet[16000:]
	}
	if dataSet != "" {
		s += data(pdv(context, 2, dataSet))
	}
	return s
}

func echoRQ(id int) string {
	return dimse(1, cs(el(2, ui(verification)), us(0x100, cEcho), us(0x110, id), us(0x800, noDataSet)), "")
}

func storeCommand(id int, class, instance string, more ...string) string {
	return cs(el(2, ui(class)), us(0x100, cStore), us(0x110, id), us(0x700, 0), us(0x800, 1), el(0x1000, ui(instance))+strings.Join(more, ""))
}

func storeRQ(id int, dataSet string) string {
	return dimse(3, storeCommand(id, ctStorage, object), dataSet)
}

func responseOf(context byte, command, id, status int, class string) string {
	return dimse(context, cs(el(2, ui(class)), us(0x100, command|responseBit), us(0x120, id), us(0x800, noDataSet), us(0x900, status)), "")
}

func storeRSP(id, status int) string { return responseOf(3, cStore, id, status, ctStorage) }
func echoRSP(id int) string          { return responseOf(1, cEcho, id, 0, verification) }

// ex is an element of an explicit little endian data set.
func ex(tag uint32, vr, value string) string {
	head := le16(int(tag>>16)) + le16(int(tag&0xffff)) + vr
	if strings.Contains("OB OW SQ UN UT", vr) {
		return head + "\x00\x00" + le32(len(value)) + value
	}
	return head + le16(len(value)) + value
}

// image is the data set of an object, and what policy is told of it.
func image(el func(tag uint32, vr, value string) string) string {
	return el(0x00080005, "CS", "ISO_IR 100") + el(tagSOPClass, "UI", ui(ctStorage)) + el(tagSOPInstance, "UI", ui(object)) +
		el(tagAccession, "SH", lo("A17")) + el(tagModality, "CS", "CT") + el(tagStation, "SH", "CT07") +
		el(0x00100010, "PN", lo("DOE^JANE")) + el(tagPatientID, "LO", "4711") + el(tagIssuer, "LO", lo("H\xf6SP")) +
		el(tagStudy, "UI", ui("1.2.3.1")) + el(tagSeries, "UI", ui("1.2.3.2")) + el(0x00200013, "IS", "1 ") +
		el(0x7fe00010, "OW", strings.Repeat("\x12\x34", 20))
}

var imageFacts = []any{
	"called_ae", "PACS", "calling_ae", "CT7", "abstract_syntax", ctStorage, "command", cStore,
	"sop_class_uid", ctStorage, "sop_instance_uid", object, "priority", "medium",
	"accession_number", "A17", "modality", "CT", "station_name", "CT07", "patient_id", "4711", "issuer_of_patient_id", "HöSP",
	"study_instance_uid", "1.2.3.1", "series_instance_uid", "1.2.3.2", "anomalies", nil,
}

// refusalPDU is the answer to a refused request.
func refusalPDU(context byte, elements ...string) string {
	return data(pdv(context, 3, cs(elements...)))
}

const comment21 = "not permitted 7QF-21"

func storeRefused(id int) string {
	return refusalPDU(3, el(2, ui(ctStorage)), us(0x100, cStore|responseBit), us(0x120, id), us(0x800, noDataSet),
		us(0x900, statusNotAuthorized), el(0x902, lo(comment21)), el(0x1000, ui(object)))
}

func echoRefused(id int) string {
	return refusalPDU(1, el(2, ui(verification)), us(0x100, cEcho|responseBit), us(0x120, id), us(0x800, noDataSet),
		us(0x900, statusNotAuthorized), el(0x902, lo(comment21)))
}

// im and big are ex for the other encodings.
func im(tag uint32, _, value string) string { return el(tag, value) }

func big(tag uint32, vr, value string) string {
	head := be16(int(tag>>16)) + be16(int(tag&0xffff)) + vr
	if strings.Contains("OB OW SQ UN UT", vr) {
		return head + "\x00\x00" + be32(len(value)) + value
	}
	return head + be16(len(value)) + value
}

// squeeze deflates.
func squeeze(s string) string {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.DefaultCompression)
	w.Write([]byte(s))
	w.Close()
	return even(b.String(), 0)
}

func studyKeys(el func(tag uint32, vr, value string) string) string {
	return el(0x00080020, "DA", "20260101") + el(tagAccession, "SH", "") + el(tagLevel, "CS", "STUDY ") +
		el(0x00100010, "PN", "* ") + el(tagPatientID, "LO", "4711") + el(tagStudy, "UI", "")
}

func worklistKeys(el func(tag uint32, vr, value string) string) string {
	step := el(tagScheduledAE, "AE", lo("CT7")) + el(0x00400002, "DA", "20260101") + el(0x00400007, "LO", "")
	return el(0x00100010, "PN", "") + el(tagPatientID, "LO", "") + el(tagScheduledStep, "SQ", "\xfe\xff\x00\xe0"+le32(len(step))+step)
}

func request3(context byte, field, id int, class, dataSet string, more ...string) string {
	return dimse(context, cs(el(2, ui(class)), us(0x100, field), us(0x110, id)+strings.Join(more, "")), dataSet)
}

func findRQ(id int) string {
	return request3(5, cFind, id, studyFind, studyKeys(im), us(0x700, 0), us(0x800, 1))
}

func getRQ(id int) string {
	return request3(9, cGet, id, studyGet, ex(tagLevel, "CS", "STUDY ")+ex(tagStudy, "UI", "1.2.3.1\x00"), us(0x700, 0), us(0x800, 1))
}

func moveRQ(id int, destination string) string {
	return request3(7, cMove, id, studyMove, el(tagLevel, "STUDY ")+el(tagStudy, "1.2.3.1\x00"), el(0x600, lo(destination)), us(0x700, 0), us(0x800, 1))
}

// findRSP has an identifier if it is pending.
func findRSP(id, status int) string {
	if status == statusPending {
		return dimse(5, cs(el(2, ui(studyFind)), us(0x100, cFind|responseBit), us(0x120, id), us(0x800, 1), us(0x900, status)), studyKeys(im))
	}
	return responseOf(5, cFind, id, status, studyFind)
}

func getRSP(id, status int) string  { return responseOf(9, cGet, id, status, studyGet) }
func moveRSP(id, status int) string { return responseOf(7, cMove, id, status, studyMove) }

func cancelRQ(context byte, id int) string {
	return dimse(context, cs(us(0x100, cCancel), us(0x120, id), us(0x800, noDataSet)), "")
}

func commitRQ(instances ...string) string {
	list := ""
	for _, i := range instances {
		s := el(tagReferencedClass, ui(ctStorage)) + el(tagReferenced, ui(i))
		list += "\xfe\xff\x00\xe0" + le32(len(s)) + s
	}
	return dimse(11, cs(el(3, ui(storageCommitment)), us(0x100, nAction), us(0x110, 3), us(0x800, 1), el(0x1001, ui("1.2.840.10008.1.20.1.1")), us(0x1008, 1)),
		el(0x00081195, "1.2.9\x00")+el(tagReferencedItems, list))
}

// commitRSP is the event report of a storage commitment.
var commitRSP = dimse(11, cs(el(2, ui(storageCommitment)), us(0x100, nEventReport), us(0x110, 9), us(0x800, 1), el(0x1000, ui("1.2.840.10008.1.20.1.1")), us(0x1002, 1)),
	el(0x00081195, "1.2.9\x00"))

package dicom

import (
	"strings"
	"testing"
)

func TestAnswer(t *testing.T) {
	commandOf := func(elements ...string) string { return refusalPDU(3, elements...) }
	class, field, id, none := el(2, ui(ctStorage)), us(0x100, cStore|responseBit), us(0x120, 7), us(0x800, noDataSet)
	status := us(0x900, 0x0124)
	set := cs(class, field, id, none, status)
	good := map[string]string{
		"nothing":        "",
		"a store":        storeRefused(1),
		"an echo":        echoRefused(1),
		"a move":         refusedAs(7, studyMove, cMove, 1, 0xa801, "not permitted", zeroCounts),
		"an event":       refusedAs(11, storageCommitment, nEventReport, 1, 0x0110, "x", el(0x1000, "1.2\x00"), us(0x1002, 1)),
		"in pieces":      data(pdv(3, 1, set[:10])) + data(pdv(3, 1, set[10:11])) + data(pdv(3, 3, set[11:])),
		"without class":  commandOf(field, id, none, status),
		"cannot process": commandOf(field, id, none, us(0x900, 0xc000)),
	}
	for name, b := range good {
		if err := Answer([]byte(b)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	bad := map[string]string{
		"a request":                echoRQ(1),
		"a store with data":        storeRQ(1, image(ex)),
		"an abort":                 aborted(6),
		"a release":                releaseRQ,
		"an association":           associateRQ(),
		"success":                  commandOf(class, field, id, none, us(0x900, 0)),
		"pending":                  commandOf(class, field, id, none, us(0x900, 0xff00)),
		"pending, with warning":    commandOf(class, field, id, none, us(0x900, 0xff01)),
		"a warning":                commandOf(class, field, id, none, us(0x900, 0xb000)),
		"attribute list warning":   commandOf(class, field, id, none, us(0x900, 0x0107)),
		"value warning":            commandOf(class, field, id, none, us(0x900, 0x0116)),
		"a warning of class 1":     commandOf(class, field, id, none, us(0x900, 0x0001)),
		"cancel":                   commandOf(class, field, id, none, us(0x900, 0xfe00)),
		"a data set promised":      commandOf(class, field, id, us(0x800, 1), status),
		"a data set":               storeRefused(1) + data(pdv(3, 2, "abcd")),
		"two responses":            storeRefused(1) + storeRefused(2),
		"two in one PDU":           data(pdv(3, 3, set), pdv(3, 3, set)),
		"not a response":           commandOf(class, us(0x100, cStore), id, none, status),
		"no status":                commandOf(class, field, id, none),
		"no message ID":            commandOf(class, field, none, status),
		"no field":                 commandOf(class, id, none, status),
		"no data set type":         commandOf(class, field, id, status),
		"no group length":          data(pdv(3, 3, class+field+id+none+status)),
		"wrong group length":       data(pdv(3, 3, el(0, le32(9))+class+field+id+none+status)),
		"out of order":             commandOf(field, class, id, none, status),
		"status twice":             commandOf(class, field, id, none, us(0x900, 0x0124), us(0x900, 0)),
		"unknown element":          commandOf(class, field, id, none, status, us(0x1005, 1)),
		"a message ID of its own":  commandOf(class, field, us(0x110, 1), id, none, status),
		"another group":            commandOf(class, field, id, none, status, el(0x00080018, "1.2\x00")),
		"a path":                   commandOf(class, field, id, none, status, el(0x1000, "../../")),
		"an instance of nothing":   commandOf(class, field, id, none, status, el(0x1000, "")),
		"comment with a NUL":       commandOf(class, field, id, none, status, el(0x902, "a\x00")),
		"comment with a backslash": commandOf(class, field, id, none, status, el(0x902, `a\`)),
		"long comment":             commandOf(class, field, id, none, status, el(0x902, strings.Repeat("a", 66))),
		"long UID":                 commandOf(class, field, id, none, status, el(0x1000, strings.Repeat("1", 66))),
		"odd length":               commandOf(class, field, id, none, status, el(0x902, "a")),
		"counts":                   commandOf(class, field, id, none, status, us(0x1021, 9)),
		"status of four bytes":     commandOf(class, field, id, none, el(0x900, "\x24\x01\x00\x00")),
		"cut":                      storeRefused(1)[:40],
		"cut in a piece":           data(pdv(3, 1, set[:10])),
		"data fragment":            data(pdv(3, 2, set)),
		"even context":             data(pdv(2, 3, set)),
		"context 0":                data(pdv(0, 3, set)),
		"two contexts":             data(pdv(3, 1, set[:10])) + data(pdv(5, 3, set[10:])),
		"reserved control bits":    data(pdv(3, 0x83, set)),
		"reserved byte":            "\x04\x01" + storeRefused(1)[2:],
		"PDU longer than it is":    "\x04\x00\x00\x00\xff\xff" + storeRefused(1)[6:],
		"long":                     data(pdv(3, 1, set[:10])) + strings.Repeat(data(pdv(3, 1, "")), 100) + data(pdv(3, 3, set[10:])),
		"empty piece":              data(pdv(3, 1, "")) + data(pdv(3, 3, set)),
		"a byte":                   "\x04",
	}
	for name, b := range bad {
		if Answer([]byte(b)) == nil {
			t.Errorf("%s: %q is accepted", name, b)
		}
	}
}

// What opened an association may hear that it is over; what was called hears nothing of the kind.
func TestAnswerCaller(t *testing.T) {
	rejections := []rejection{rejectNoReason, rejectAppContext, rejectCallingAE, rejectCalledAE, rejectVersion, rejectTemporarily}
	good := []string{"", storeRefused(1)}
	for _, r := range rejections {
		good = append(good, string(r.pdu()))
	}
	for _, reason := range []byte{0, 1, 2, 4, 5, 6} {
		good = append(good, string(abortPDU(reason)))
	}
	for _, b := range good {
		if err := AnswerCaller([]byte(b)); err != nil {
			t.Errorf("%q: %v", b, err)
		}
	}
	for _, b := range good[2:] {
		if Answer([]byte(b)) == nil {
			t.Errorf("%q is accepted for a device that was called", b)
		}
	}
	reject, abort := string(rejectNoReason.pdu()), string(abortPDU(6))
	for name, b := range map[string]string{
		"an acceptance":             associateAC(1),
		"a request":                 associateRQ(1),
		"a release":                 releaseRQ,
		"a response to a release":   releaseRP,
		"success":                   storeRSP(1, 0),
		"two rejections":            reject + reject,
		"a rejection and more":      reject + storeRefused(1),
		"a rejection cut":           reject[:9],
		"a rejection as data":       "\x04" + reject[1:],
		"a rejection's length":      reject[:5] + "\x05" + reject[6:],
		"a result that is none":     reject[:7] + "\x00" + reject[8:],
		"a source that is none":     reject[:8] + "\x04" + reject[9:],
		"a reason of another":       reject[:8] + "\x03\x07",
		"a reserved reason":         reject[:9] + "\x04",
		"a reserved byte":           reject[:6] + "\x01" + reject[7:],
		"an abort by the client":    abort[:8] + "\x00\x00",
		"an abort's reserved byte":  abort[:7] + "\x01" + abort[8:],
		"an abort's reserved cause": abort[:9] + "\x03",
		"an abort's unknown cause":  abort[:9] + "\x07",
	} {
		if AnswerCaller([]byte(b)) == nil {
			t.Errorf("%s: %q is accepted", name, b)
		}
	}
}

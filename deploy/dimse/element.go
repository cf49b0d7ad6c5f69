package dimse

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
)

// SOP classes (PS3.4, PS3.6 A).
const (
	Verification           = "1.2.840.10008.1.1"
	CTImageStorage         = "1.2.840.10008.5.1.4.1.1.2"
	StudyRootFind          = "1.2.840.10008.5.1.4.1.2.2.1"
	StudyRootMove          = "1.2.840.10008.5.1.4.1.2.2.2"
	StudyRootGet           = "1.2.840.10008.5.1.4.1.2.2.3"
	PerformedProcedureStep = "1.2.840.10008.3.1.2.3.3"
)

// Element is one of a data set: the tag as 0xGGGGEEEE, the value as it is sent, without
// padding. Sequences are not for this package.
type Element struct {
	Tag   uint32
	VR    string
	Value string
}

// DataSet is elements in ascending order.
type DataSet []Element

// encode is the data set in a transfer syntax. What is not Implicit VR Little Endian is
// taken for explicit.
func (d DataSet) encode(syntax string) []byte {
	var b []byte
	for _, e := range d {
		value := e.Value
		if len(value)%2 == 1 {
			if e.VR == "UI" || e.VR == "OB" {
				value += "\x00"
			} else {
				value += " "
			}
		}
		b = appendHead(b, e.Tag, e.VR, uint32(len(value)), syntax)
		b = append(b, value...)
	}
	return b
}

// appendHead appends tag, VR if explicit, and length (PS3.5 7.1).
func appendHead(b []byte, tag uint32, vr string, length uint32, syntax string) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(tag>>16))
	b = binary.LittleEndian.AppendUint16(b, uint16(tag))
	if syntax == ImplicitVRLittleEndian {
		return binary.LittleEndian.AppendUint32(b, length)
	}
	b = append(b, vr...)
	if strings.Contains("OB OD OF OL OV OW SQ SV UC UN UR UT UV", vr) {
		return binary.LittleEndian.AppendUint32(append(b, 0, 0), length)
	}
	return binary.LittleEndian.AppendUint16(b, uint16(length))
}

// Object is a SOP instance.
type Object struct {
	SOPClass, SOPInstance string
	Elements              DataSet // what is behind (0008,0018) and before the pixel data
	Pixels                int64   // bytes of pixel data, all zero; even, less than 4 GiB - 1
}

// CTImage is an image of an invented patient, with so many bytes of pixel data.
func CTImage(instance, patient string, pixels int64) Object {
	return Object{SOPClass: CTImageStorage, SOPInstance: instance, Pixels: pixels, Elements: DataSet{
		{0x00080020, "DA", "20261122"},
		{0x00080030, "TM", "120000"},
		{0x00080050, "SH", "A" + patient},
		{0x00080060, "CS", "CT"},
		{0x00100010, "PN", "DEMO^PATIENT"},
		{0x00100020, "LO", patient},
		{0x0020000D, "UI", "2.25.1." + patient},
		{0x0020000E, "UI", "2.25.2." + patient},
	}}
}

// StudyKeys ask for the studies of a patient.
func StudyKeys(patient string) DataSet {
	return DataSet{{0x00080052, "CS", "STUDY"}, {0x00100020, "LO", patient}, {0x0020000D, "UI", ""}}
}

// head is the object's data set without its pixel data.
func (o Object) head() DataSet {
	return append(DataSet{{0x00080016, "UI", o.SOPClass}, {0x00080018, "UI", o.SOPInstance}}, o.Elements...)
}

// data is the object's data set. No more than its head is ever in memory.
func (o Object) data(syntax string) io.Reader {
	b := o.head().encode(syntax)
	if o.Pixels == 0 {
		return bytes.NewReader(b)
	}
	b = appendHead(b, 0x7FE00010, "OW", uint32(o.Pixels), syntax)
	return io.MultiReader(bytes.NewReader(b), io.LimitReader(zeros{}, o.Pixels))
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

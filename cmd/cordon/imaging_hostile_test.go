package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"testing"

	"cordon/cmd/cordon/exit"
	"cordon/deploy/dimse"
)

// PDU types (PS3.8 9.3).
const (
	associateRQ = 1
	associateAC = 2
	associateRJ = 3
	dataTF      = 4
	releaseRQ   = 5
	releaseRP   = 6
	abort       = 7
)

// tellHostile sends what no polite client does, with a good certificate. Each time the
// answer is the protocol's own or the end of the connection, and a polite client, right
// behind, and Orthanc notice nothing.
func tellHostile(t *testing.T, cordon string) {
	archive := startOrthanc(t, nil)
	s := newArchive(t, cordon, archive.port, "--set", "called_ae=PACS")
	d := s.serve(t)

	verify := presentationContext(1, dimse.Verification, dimse.ImplicitVRLittleEndian)
	store := presentationContext(3, dimse.CTImageStorage, dimse.ImplicitVRLittleEndian)
	good := associateRequest("PACS", "KIM", verify, store)
	var many [][]byte
	for n := range 129 {
		many = append(many, presentationContext(byte(2*n+1), dimse.Verification, dimse.ImplicitVRLittleEndian))
	}
	echo := pdv(1, 3, commandSet(field(0x0002, dimse.Verification), field(0x0100, 0x30), field(0x0110, 1), field(0x0800, 0x101)))
	storing := func(instance string, dataSetType int) []byte {
		return commandSet(field(0x0002, dimse.CTImageStorage), field(0x0100, 1), field(0x0110, 1), field(0x0700, 0), field(0x0800, dataSetType), field(0x1000, instance))
	}
	cut := bytes.Clone(good)
	binary.BigEndian.PutUint16(cut[6+68+2:], 0xFFFF) // the application context's length

	for _, c := range []struct {
		name  string
		first []byte // instead of, or as, the A-ASSOCIATE-RQ
		then  []byte // once that is accepted
		reply string // types of PDUs that may answer; "" is none, the connection ends
	}{
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: pacs\r\n\r\n"), nil, "\x07"},
		{"TLS in TLS", []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), nil, "\x07"},
		{"an unknown PDU", pdu(9, make([]byte, 4)), nil, "\x07"},
		{"data before an association", pdu(dataTF, echo), nil, "\x07"},
		{"a release before an association", pdu(releaseRQ, make([]byte, 4)), nil, "\x07"},
		{"a request of 4 GiB", []byte{associateRQ, 0, 0xFF, 0xFF, 0xFF, 0xFF}, nil, "\x07"},
		{"an empty request", pdu(associateRQ, nil), nil, "\x07"},
		{"an item beyond its request", cut, nil, "\x07"},
		{"no context", associateRequest("PACS", "KIM"), nil, "\x03\x07"},
		{"an even context id", associateRequest("PACS", "KIM", presentationContext(2, dimse.Verification, dimse.ImplicitVRLittleEndian)), nil, "\x03\x07"},
		{"a context id twice", associateRequest("PACS", "KIM", verify, verify), nil, "\x03\x07"},
		{"129 contexts", associateRequest("PACS", "KIM", many...), nil, "\x03\x07"},
		{"a path for an AE title", associateRequest("PACS", "../../tmp/x", verify), nil, "\x03\x07"},
		{"a control character in an AE title", associateRequest("PACS", "KIM\r\nX", verify), nil, "\x03\x07"},

		{"a second request", good, good, "\x07"},
		{"an acceptance", good, append([]byte{associateAC}, good[1:]...), "\x07"},
		{"a release nobody asked for", good, pdu(releaseRP, make([]byte, 4)), "\x07"},
		{"a PDU of 4 GiB", good, []byte{dataTF, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 2, 1, 3}, "\x07"},
		{"an empty PDU", good, pdu(dataTF, nil), "\x07"},
		{"a PDV beyond its PDU", good, pdu(dataTF, append([]byte{0, 0, 1, 0}, echo[4:]...)), "\x07"},
		{"a PDV without a header", good, pdu(dataTF, []byte{0, 0, 0, 1, 1}), "\x07"},
		{"a context nobody proposed", good, pdu(dataTF, pdv(99, 3, echo[6:])), "\x07"},
		{"data without a command", good, pdu(dataTF, pdv(3, 2, make([]byte, 16))), "\x07"},
		{"a command of another group", good, pdu(dataTF, pdv(1, 3, []byte("\x08\x00\x00\x01\x02\x00\x00\x00\x30\x00"))), "\x07"},
		{"a command that descends", good, pdu(dataTF, pdv(1, 3, commandSet(field(0x0110, 1), field(0x0100, 0x30), field(0x0800, 0x101)))), "\x07"},
		{"an element beyond its command", good, pdu(dataTF, pdv(1, 3, []byte("\x00\x00\x00\x01\xff\xff\xff\x7f\x30\x00"))), "\x07"},
		{"an empty command", good, pdu(dataTF, pdv(1, 3, nil)), "\x07"},
		{"an answer to nothing", good, pdu(dataTF, pdv(1, 3, commandSet(field(0x0100, 0x8030), field(0x0120, 1), field(0x0800, 0x101), field(0x0900, 0)))), "\x07"},
		{"a path for a SOP instance", good, pdu(dataTF, append(pdv(3, 3, storing("../../../../tmp/x", 0)), pdv(3, 2, make([]byte, 16))...)), "\x07\x04"},
		{"data that was not announced", good, pdu(dataTF, append(pdv(3, 3, storing("1.2.3", 0x101)), pdv(3, 2, make([]byte, 16))...)), "\x07"},
		{"a data set that is none", good, pdu(dataTF, append(pdv(3, 3, storing("1.2.3", 0)), pdv(3, 2, bytes.Repeat([]byte{0xFF}, 64))...)), "\x07\x04"},
		{"another instance in the data set", good, pdu(dataTF, append(pdv(3, 3, storing("1.2.3", 0)),
			pdv(3, 2, append([]byte("\x08\x00\x16\x00\x1a\x00\x00\x00"+dimse.CTImageStorage+"\x00"), "\x08\x00\x18\x00\x06\x00\x00\x001.2.4\x00"...))...)), "\x07\x04"},
		{"an unknown command", good, pdu(dataTF, pdv(1, 3, commandSet(field(0x0100, 0x99), field(0x0110, 1), field(0x0800, 0x101)))), "\x07\x04"},
	} {
		conn := s.dial(t, "kim")
		if _, err := conn.Write(c.first); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if c.then != nil {
			if kind, _ := readPDU(conn); kind != associateAC {
				t.Fatalf("%s: a good request is answered with PDU %d", c.name, kind)
			}
			conn.Write(c.then)
		}
		kind, body := readPDU(conn)
		if strings.IndexByte(c.reply, kind) < 0 {
			t.Errorf("%s: answered with PDU %d: % x", c.name, kind, body)
		}
		if kind == dataTF && !refuses(body) {
			t.Errorf("%s: answered with % x", c.name, body)
		}
		conn.Close()

		polite := s.dial(t, "kim")
		a, err := dimse.Associate(polite, dimse.Request{CalledAE: "PACS", CallingAE: "KIM", SOPClasses: []string{dimse.Verification}})
		if err != nil {
			t.Fatalf("after %s, a polite client: %v", c.name, err)
		}
		answer, err := a.Echo()
		if err != nil || answer.Status != dimse.Success || a.Release() != nil {
			t.Errorf("after %s, a polite client is answered %v (%v)", c.name, answer, err)
		}
		polite.Close()
	}
	if n := archive.count(t); n != 0 {
		t.Errorf("the archive holds %d objects", n)
	}
	if code := d.stop(t); code != exit.Done {
		t.Errorf("the gateway exited with %d", code)
	}
}

// readPDU returns the next PDU. Its type is 0 if there is none.
func readPDU(r io.Reader) (kind byte, body []byte) {
	head := make([]byte, 6)
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, nil
	}
	length := binary.BigEndian.Uint32(head[2:])
	if length > mebibyte {
		return head[0], nil
	}
	body = make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		return 0, nil
	}
	return head[0], body
}

// refuses reports whether the body of a P-DATA-TF is one response whose status is a
// failure.
func refuses(body []byte) bool {
	at := bytes.Index(body, []byte("\x00\x00\x00\x09\x02\x00\x00\x00")) // (0000,0900)
	if at < 0 || len(body) < at+10 {
		return false
	}
	status := binary.LittleEndian.Uint16(body[at+8:])
	return status != 0 && status&0xF000 != 0xB000 && status&0xFF00 != 0xFF00
}

func pdu(kind byte, body []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind, 0}, uint32(len(body))), body...)
}

// pdv is a presentation data value. flags: 1 is a command, 2 its end.
func pdv(context, flags byte, value []byte) []byte {
	return append(append(binary.BigEndian.AppendUint32(nil, uint32(len(value)+2)), context, flags), value...)
}

func item(kind byte, body []byte) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{kind, 0}, uint16(len(body))), body...)
}

func presentationContext(id byte, abstract, transfer string) []byte {
	return item(0x20, append(append([]byte{id, 0, 0, 0}, item(0x30, []byte(abstract))...), item(0x40, []byte(transfer))...))
}

func associateRequest(called, calling string, contexts ...[]byte) []byte {
	body := fmt.Appendf([]byte{0, 1, 0, 0}, "%-16s%-16s%s", called, calling, make([]byte, 32))
	body = append(body, item(0x10, []byte("1.2.840.10008.3.1.1.1"))...)
	body = append(body, bytes.Join(contexts, nil)...)
	user := append(item(0x51, []byte{0, 0, 0x40, 0}), item(0x52, []byte("1.2.3.4"))...)
	return pdu(associateRQ, append(body, item(0x50, user)...))
}

// field is an element of a command set: a UID, or a number of 16 bits.
func field(element uint16, value any) []byte {
	var v []byte
	switch value := value.(type) {
	case int:
		v = binary.LittleEndian.AppendUint16(nil, uint16(value))
	case string:
		v = []byte(value)
		if len(v)%2 != 0 {
			v = append(v, 0)
		}
	}
	b := binary.LittleEndian.AppendUint16([]byte{0, 0}, element)
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(v))), v...)
}

// command is a command set without its group length, which may be absent.
func commandSet(elements ...[]byte) []byte { return bytes.Join(elements, nil) }

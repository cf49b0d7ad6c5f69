package dimse

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
)

// pipe is a connection whose peer has said all it will say.
type pipe struct {
	io.Reader
	answer bytes.Buffer
}

func (p *pipe) Write(b []byte) (int, error) { return p.answer.Write(b) }

// recorder keeps what a client says to a device.
type recorder struct {
	io.ReadWriter
	said *bytes.Buffer
}

func (r recorder) Write(b []byte) (int, error) { r.said.Write(b); return r.ReadWriter.Write(b) }

// proposing is an A-ASSOCIATE-RQ for verification, context 1, and queries, context 3.
func proposing() []byte {
	var said bytes.Buffer
	Associate(recorder{&pipe{Reader: strings.NewReader("")}, &said}, Request{CalledAE: "PACS-1", CallingAE: "CT-2", SOPClasses: []string{Verification, StudyRootFind}})
	return said.Bytes()
}

// requesting is an A-ASSOCIATE-RQ of the items given.
func requesting(items []byte) string {
	b := append(make([]byte, negotiationHeader), items...)
	return string(append(binary.BigEndian.AppendUint32([]byte{pduAssociateRQ, 0}, uint32(len(b))), b...))
}

// data is a P-DATA-TF of fragments.
func data(fragments ...[]byte) []byte {
	b := bytes.Join(fragments, nil)
	return append(binary.BigEndian.AppendUint32([]byte{pduData, 0}, uint32(len(b))), b...)
}

func cut(id, control byte, value string) []byte {
	return append(append(binary.BigEndian.AppendUint32(nil, uint32(len(value)+2)), id, control), value...)
}

func echoing() string {
	return string(operation{field: cEcho, class: Verification}.command(1).encode())
}

// TestHostileClient shows the device bytes that no client should send.
func TestHostileClient(t *testing.T) {
	open := string(proposing())
	unended := operation{field: cStore, class: CTImageStorage, data: DataSet{}.data}.command(1).encode()
	for _, c := range []struct{ name, sent, want string }{
		{"nothing", "", ""},
		{"an echo and a release", open + string(data(cut(1, 3, echoing()))) + "\x05\x00\x00\x00\x00\x04\x00\x00\x00\x00", ""},
		{"an abort", open + "\x07\x00\x00\x00\x00\x04\x00\x00\x02\x06", "aborted by the peer (source 2, reason 6)"},
		{"another protocol", "GET / HTTP/1.1\r\n\r\n", "type 71"},
		{"data without an association", string(data(cut(1, 3, echoing()))), "type 4 has no place"},
		{"an endless request", "\x01\x00\xff\xff\xff\xff", "are more than 131072"},
		{"a cut request", open[:len(open)-1], "unexpected EOF"},
		{"a request without names", "\x01\x00\x00\x00\x00\x02\x00\x01", errNegotiation.Error()},
		{"an item too long", strings.Replace(open, "\x10\x00\x00\x15", "\x10\x00\xff\x15", 1), errNegotiation.Error()},
		{"a cut maximum length", strings.Replace(open, "\x51\x00\x00\x04", "\x51\x00\x00\x03", 1), errNegotiation.Error()},
		{"a tiny maximum length", strings.Replace(open, "\x51\x00\x00\x04\x00\x00\x40\x00", "\x51\x00\x00\x04\x00\x00\x00\x07", 1), "only 7 bytes"},
		{"129 contexts", requesting(bytes.Repeat(item(nil, itemProposed, []byte{1, 0, 0, 0}), maxContexts+1)), errNegotiation.Error()},
		{"129 roles", requesting(item(nil, itemUser, bytes.Repeat(item(nil, itemRole, []byte{0, 0, 1, 1}), maxRequestedRoles+1))), errNegotiation.Error()},
		{"a role longer than its item", requesting(item(nil, itemUser, item(nil, itemRole, []byte{0, 9, 1, 1}))), errNegotiation.Error()},
		{"a context without an id", requesting(item(nil, itemProposed, []byte{1})), errNegotiation.Error()},
		{"a second request", open + open, "type 1 has no place"},
		{"a long release", open + "\x05\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00", "5 bytes, not 4"},
		{"a PDU too long", open + "\x04\x00\x00\x00\x40\x01", "16385 bytes, more than 16384"},
		{"a PDU without a fragment", open + "\x04\x00\x00\x00\x00\x01\x00", "ends inside"},
		{"a fragment too long", open + "\x04\x00\x00\x00\x00\x06\x00\x00\x00\x03\x01\x03", "a fragment of 3 bytes"},
		{"a fragment too short", open + "\x04\x00\x00\x00\x00\x06\x00\x00\x00\x01\x01\x03", "a fragment of 1 bytes"},
		{"data first", open + string(data(cut(1, 2, "x"))), "mixed"},
		{"two contexts in a command", open + string(data(cut(1, 1, "ab"), cut(3, 3, "cd"))), "mixed"},
		{"an endless command", open + strings.Repeat(string(data(cut(1, 1, strings.Repeat("x", 16000)))), 5), "more than 65536"},
		{"an unknown context", open + string(data(cut(5, 3, echoing()))), "context 5, which was not accepted"},
		{"another group", open + string(data(cut(1, 3, "\x08"+echoing()[1:]))), errCommand.Error()},
		{"an element too long", open + string(data(cut(1, 3, "\x00\x00\x00\x01\xff\xff\xff\xff"))), errCommand.Error()},
		{"an empty command", open + string(data(cut(1, 3, ""))), "without command field"},
		{"a response", open + string(data(cut(1, 3, string(answerTo(command{}, Success).encode())))), "8000 answers nothing"},
		{"a command in a data set", open + string(data(cut(1, 3, string(unended)), cut(1, 3, echoing()))), "a data set that is mixed"},
		{"an object without data", open + string(data(cut(1, 3, string(operation{field: cStore}.command(1).encode())))), "without a data set"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := (&SCP{}).Serve(&pipe{Reader: strings.NewReader(c.sent)})
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// TestHostileDevice shows the client bytes that no device should send.
func TestHostileDevice(t *testing.T) {
	accepting := &pipe{Reader: bytes.NewReader(proposing())}
	(&SCP{}).Serve(accepting)
	open := accepting.answer.String()
	open = open[:6+int(open[5])] // without the abort
	answer := func(field, to, status uint16) string {
		c := answerTo(command{}, status)
		c.setNumber(commandField, field)
		c.setNumber(respondedTo, to)
		return string(data(cut(1, 3, string(c.encode()))))
	}
	large := answerTo(command{}, Pending)
	large.setNumber(commandField, cEcho|response)
	large.setNumber(respondedTo, 1)
	large.setNumber(dataSetType, hasDataSet)
	match := string(data(cut(1, 0, strings.Repeat("x", 16000))))
	for _, c := range []struct{ name, sent, want string }{
		{"a success", open + answer(cEcho|response, 1, Success), ""},
		{"nothing", "", "EOF"},
		{"a request", string(proposing()), "type 1 has no place"},
		{"a rejection", "\x03\x00\x00\x00\x00\x04\x00\x01\x01\x03", "rejected (1/1/3): calling AE title not recognized"},
		{"a short rejection", "\x03\x00\x00\x00\x00\x03\x00\x01\x01", "3 bytes, not 4"},
		{"a context that was not proposed", strings.Replace(open, "\x21\x00\x00\x1b\x01", "\x21\x00\x00\x1b\x05", 1), "context 5 was not proposed"},
		{"an abort", open + "\x07\x00\x00\x00\x00\x04\x00\x00\x00\x00", "aborted by the peer"},
		{"an answer to something else", open + answer(cEcho|response, 2, Success), "no answer to message 1"},
		{"an answer in another context", open + strings.Replace(answer(cEcho|response, 1, Success), "\x01\x03", "\x03\x03", 1), "no answer to message 1"},
		{"another answer", open + answer(cStore|response, 1, Success), "no answer to message 1"},
		{"a request of its own", open + answer(cEcho, 1, Success), "no answer to message 1"},
		{"a match too large", open + string(data(cut(1, 3, string(large.encode())))) + strings.Repeat(match, 5), "more than 65536 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := Associate(&pipe{Reader: strings.NewReader(c.sent)}, Request{SOPClasses: []string{Verification, StudyRootFind}})
			if err == nil {
				_, err = a.Echo()
			}
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// TestMatches asks for more than a client keeps.
func TestMatches(t *testing.T) {
	client, device := net.Pipe()
	ended := make(chan error)
	go func() { ended <- (&SCP{Objects: make([]Object, maxMatches+1)}).Serve(device) }()
	a, err := Associate(client, Request{SOPClasses: []string{StudyRootFind}})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.Find(StudyRootFind, nil); err == nil || !strings.Contains(err.Error(), "more than 1024 matches") {
		t.Error(err)
	}
	client.Close()
	<-ended
}

func FuzzServe(f *testing.F) {
	open := string(proposing())
	f.Add([]byte(open))
	f.Add([]byte(open + string(data(cut(1, 3, echoing()))) + "\x05\x00\x00\x00\x00\x04\x00\x00\x00\x00"))
	f.Add([]byte(open + string(data(cut(1, 1, echoing()[:9]), cut(1, 3, echoing()[9:])))))
	f.Fuzz(func(t *testing.T, b []byte) {
		p := &pipe{Reader: bytes.NewReader(b)}
		(&SCP{Objects: []Object{CTImage("1.2.3", "1", 10)}}).Serve(p)
		if p.answer.Len() > 0 && p.answer.Bytes()[0] != pduAssociateAC {
			t.Errorf("the first answer is of type %d", p.answer.Bytes()[0])
		}
	})
}

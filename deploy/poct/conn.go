package poct

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"time"
)

// Element is an element of a message: an object with fields in it, or a field with a value.
type Element struct {
	XMLName  xml.Name
	Value    string    `xml:"V,attr,omitempty"`
	System   string    `xml:"SN,attr,omitempty"`
	Elements []Element `xml:",any"`
}

// Field returns a field: Field("DTV.command_cd", "LOCK").
func Field(name, value string) Element {
	return Element{XMLName: xml.Name{Local: name}, Value: value}
}

// Object returns an object of fields and other objects.
func Object(name string, inner ...Element) Element {
	return Element{XMLName: xml.Name{Local: name}, Elements: inner}
}

// Get returns the value of the first field of that name inside of e, or "".
func (e *Element) Get(name string) string {
	for i := range e.Elements {
		inner := &e.Elements[i]
		if inner.XMLName.Local == name {
			return inner.Value
		}
		if v := inner.Get(name); v != "" {
			return v
		}
	}
	return ""
}

// Kind is a message's: "OBS.R01".
func (e *Element) Kind() string { return e.XMLName.Local }

// Conn exchanges messages over a connection.
type Conn struct {
	w    io.Writer
	in   *xml.Decoder
	last int // control id
}

// NewConn speaks over c, which stays the caller's. Its control ids begin behind last.
func NewConn(c io.ReadWriter, last int) *Conn {
	return &Conn{w: c, in: xml.NewDecoder(c), last: last}
}

// Receive waits for a message.
func (c *Conn) Receive() (Element, error) {
	var m Element
	if err := c.in.Decode(&m); err != nil {
		return m, fmt.Errorf("receive a message: %w", err)
	}
	return m, nil
}

// Send sends a message in one write and returns its control id.
func (c *Conn) Send(kind string, objects ...Element) (id string, err error) {
	c.last++
	id = strconv.Itoa(c.last)
	header := Object("HDR", Field("HDR.message_type", kind), Field("HDR.control_id", id),
		Field("HDR.version_id", "POCT1"), Field("HDR.creation_dttm", time.Now().Format(time.RFC3339)))
	b := bytes.NewBufferString(xml.Header)
	if err := xml.NewEncoder(b).Encode(Object(kind, append([]Element{header}, objects...)...)); err != nil {
		return "", fmt.Errorf("write %s: %w", kind, err)
	}
	if _, err := c.w.Write(append(b.Bytes(), "\r\n"...)); err != nil {
		return "", fmt.Errorf("send %s: %w", kind, err)
	}
	return id, nil
}

// Acknowledge answers a message: "AA", or "AE" with a note.
func (c *Conn) Acknowledge(m *Element, code, note string) error {
	fields := []Element{Field("ACK.type_cd", code), Field("ACK.ack_control_id", m.Get("HDR.control_id"))}
	if note != "" {
		fields = append(fields, Field("ACK.note_txt", note))
	}
	_, err := c.Send("ACK.R01", Object("ACK", fields...))
	return err
}

// Ask sends a message and waits for its ACK.R01. What comes instead is an error, and so is
// the acknowledgement of another message.
func (c *Conn) Ask(kind string, objects ...Element) (Answer, error) {
	id, err := c.Send(kind, objects...)
	if err != nil {
		return Answer{}, err
	}
	m, err := c.Receive()
	if err != nil {
		return Answer{}, fmt.Errorf("%s: %w", kind, err)
	}
	if m.Kind() != "ACK.R01" || m.Get("ACK.ack_control_id") != id {
		return Answer{}, fmt.Errorf("%s %s is answered by %s of %q", kind, id, m.Kind(), m.Get("ACK.ack_control_id"))
	}
	return Answer{m.Get("ACK.type_cd"), m.Get("ACK.note_txt")}, nil
}

// Answer is what an ACK.R01 says.
type Answer struct{ Code, Note string }

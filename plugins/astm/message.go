package astm

import (
	"bytes"

	"cordon/policy"
)

// delimiters are a message's own, from its header.
type delimiters struct{ field, repeat, component, escape byte }

var standardDelimiters = delimiters{'|', '\\', '^', '&'}

// message is a message as far as the receiver has acknowledged it. It is not changed: each
// frame that is acknowledged puts another in its place.
type message struct {
	delimiters
	open bool   // its terminator has not come
	ends string // what ends its records: "\r", "\n" or "\r\n"; "": none has come
	rest []byte // of the record that the next frame goes on with
	header
	patients  []string // whom the latest patient record is about
	specimens []string // what the latest order record is about
}

// header are the facts that hold for a whole message.
type header struct{ sender, receiver, processing, version, control string }

// reading is what a frame says.
type reading struct {
	operation policy.Operation
	next      *message
	begins    bool // with a message's header
	quirks    anomaly
	wrong     string
}

// read reads the text of a frame, which goes on where m ends; m may be nil. With last no
// record goes on in the next frame.
func (set *settings) read(m *message, text []byte, last bool) reading {
	f := facts{room: maxRoom}
	f.delimiters = standardDelimiters // until a header says otherwise
	if m != nil {
		f.message = *m
	}
	if len(f.rest) > 0 {
		text = append(f.rest[:len(f.rest):len(f.rest)], text...)
	} else {
		f.begins = f.typeOf(text) == 'H'
	}
	f.rest = nil
	for len(text) > 0 && f.wrong == "" {
		record, rest, whole := f.cut(text, last)
		switch {
		case whole:
			f.record(record, true)
		case last:
			f.quirks |= missingRecordEnd
			f.record(record, true)
			if !f.ended { // a receiver that joins texts would go on with it in the next frame
				f.fail("record without its end")
			}
		default:
			f.record(record, false)
			f.rest = bytes.Clone(record)
			if len(record) > set.maxFrame {
				f.fail("record that is too long")
			}
		}
		text = rest
	}
	if f.heaviest.weight == 0 {
		f.heaviest = kindOf(0)
		f.fail("frame without a record")
	}
	next := &f.message
	if f.ended {
		next = nil
	}
	return reading{f.operation(), next, f.begins, f.quirks, f.wrong}
}

// cut takes a record off text. It is whole if its end is there: not yet if the frame that
// follows may begin with the second half of it.
func (f *facts) cut(text []byte, last bool) (record, rest []byte, whole bool) {
	i := bytes.IndexAny(text, "\r\n")
	if i < 0 || !last && f.ends == "\r\n" && i == len(text)-1 && text[i] == cr {
		return text, nil, false
	}
	n := 1
	if text[i] == cr && i+1 < len(text) && text[i+1] == lf {
		n = 2
	}
	if ends := string(text[i : i+n]); f.ends == "" {
		f.ends = ends
	} else if f.ends != ends {
		f.fail("records that end in different ways")
	}
	switch f.ends {
	case "\n":
		f.quirks |= lfEnds
	case "\r\n":
		f.quirks |= crlfEnds
	}
	return text[:i], text[i+n:], true
}

// readDelimiters takes the delimiters from a header: H|\^&
func (f *facts) readDelimiters(record []byte) {
	if len(record) < 5 || len(record) > 5 && record[5] != record[1] {
		f.fail("header without its delimiters")
		return
	}
	d := delimiters{record[1], record[2], record[3], record[4]}
	all := record[1:5]
	for i, c := range all {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if c <= ' ' || c > '~' || letter || c >= '0' && c <= '9' || bytes.IndexByte(all[:i], c) >= 0 {
			f.fail("delimiters that nobody can tell from text or from each other")
			return
		}
	}
	if d != standardDelimiters {
		f.quirks |= oddDelimiters
	}
	f.delimiters = d
}

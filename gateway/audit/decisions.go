package audit

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"strconv"

	"cordon/policy"
)

// Decisions yields the entries of one span of an Extent, for reading millions of them: the
// same Entry is yielded each time, and it and its Input are valid until the next one. An
// entry of whatever kind that cannot be read, or a span that ends early, is a *Damage and
// the last thing yielded.
func (r *Reader) Decisions(s Span) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		c, err := r.cursor(s.From)
		if err != nil {
			yield(nil, err)
			return
		}
		defer c.close()
		var e Entry
		for c.next < s.To {
			rec, err := c.read()
			switch {
			case err == io.EOF:
				err = &Damage{c.next, fmt.Sprintf("missing or damaged; there were %d entries a moment ago", s.To)}
			case err == nil && rec.index < s.From:
				continue
			case err == nil && !e.readDecision(rec):
				if e, err = ParseEntry(rec.json); err != nil {
					err = &Damage{rec.index, err.Error()}
				}
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(&e, nil) {
				return
			}
		}
	}
}

// readDecision reads an entry in the form appendJSON gives to decisions, at a tenth of
// encoding/json's cost. Any other form, escaped strings too, it leaves to ParseEntry.
func (e *Entry) readDecision(rec record) bool {
	_, rest, _ := bytes.Cut(rec.json, []byte(`","kind":`))
	f := form{rest: rest, ok: true}
	last := *e
	*e = Entry{Index: rec.index, Time: rec.time, Code: string(rec.code), Kind: KindDecision}
	f.must(`"decision"`)
	if f.may(`,"gateway":`) {
		e.Gateway = f.text(last.Gateway)
	}
	if f.may(`,"input":`) {
		e.Input = f.object()
	}
	d := &e.Decision
	f.must(`,"decision":{"allow":`)
	if d.Allow = f.may("true"); !d.Allow {
		f.must("false")
	}
	if f.may(`,"reason":`) {
		d.Reason = f.text(last.Decision.Reason)
	}
	if f.may(`,"rule":`) {
		d.Rule = f.text(last.Decision.Rule)
	}
	if f.may(`,"obligations":[`) {
		d.Obligations = append(d.Obligations, f.text(""))
		for f.may(",") {
			d.Obligations = append(d.Obligations, f.text(""))
		}
		f.must("]")
	}
	if f.may(`,"valid_until":`) {
		d.ValidUntil = f.number()
	}
	if f.may(`,"cause":`) {
		d.Cause = policy.Cause(f.text(string(last.Decision.Cause)))
	}
	if f.may(`,"policy":`) {
		d.Revision = f.text(last.Decision.Revision)
	}
	if f.may(`,"data":`) {
		d.Data = f.text(last.Decision.Data)
	}
	f.must("}")
	if f.may(`,"note":`) {
		e.Note = f.text("")
	}
	f.must("}")
	return f.ok && len(f.rest) == 0
}

// form reads JSON of a known form from the left. ok turns false at the first surprise.
type form struct {
	rest []byte
	ok   bool
}

func (f *form) may(literal string) bool {
	rest, found := bytes.CutPrefix(f.rest, []byte(literal))
	if found {
		f.rest = rest
	}
	return found
}

func (f *form) must(literal string) { f.ok = f.may(literal) && f.ok }

// text reads a string without escapes. last is returned if it is the same: most values
// repeat from one entry to the next.
func (f *form) text(last string) string {
	f.must(`"`)
	end := bytes.IndexByte(f.rest, '"')
	if end < 0 || bytes.IndexByte(f.rest[:end], '\\') >= 0 {
		f.ok = false
		return ""
	}
	b := f.rest[:end]
	f.rest = f.rest[end+1:]
	if string(b) == last {
		return last
	}
	return string(b)
}

func (f *form) number() int64 {
	n := 0
	for n < len(f.rest) && f.rest[n] >= '0' && f.rest[n] <= '9' {
		n++
	}
	v, err := strconv.ParseInt(string(f.rest[:n]), 10, 64)
	f.ok = f.ok && err == nil
	f.rest = f.rest[n:]
	return v
}

// object reads a JSON object whole, by its braces outside strings.
func (f *form) object() []byte {
	b, depth := f.rest, 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '{':
			depth++
		case '}':
			depth--
		case '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
		}
		if depth == 0 {
			if b[0] != '{' || i >= len(b) {
				break
			}
			f.rest = b[i+1:]
			return b[: i+1 : i+1]
		}
	}
	f.ok = false
	return nil
}

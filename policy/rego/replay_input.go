package rego

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"cordon/policy"
)

// A recorded question counts as read only if encoding it again gives what was recorded:
// then a policy is asked exactly what it would have been asked. What differs was written by
// another version, and may lack a fact that the policy wants to know.

// readRecorded reads the JSON form of a policy.Request into r. lacks are the leaves that the
// record does not have. buf is room for work and returned for the next time.
func readRecorded(recorded, buf []byte, r *policy.Request) (lacks []leaf, _ []byte, err error) {
	if readForm(string(recorded), r) {
		if buf = r.AppendJSON(buf[:0]); bytes.Equal(buf, recorded) {
			return nil, buf, nil
		}
	}
	*r = policy.Request{}
	if !json.Valid(recorded) { // a decoder would stop behind the first value
		return nil, buf, errors.New("not JSON")
	}
	d := json.NewDecoder(bytes.NewReader(recorded))
	d.DisallowUnknownFields()
	if err := d.Decode(r); err != nil {
		return nil, buf, errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	if buf = r.AppendJSON(buf[:0]); bytes.Equal(buf, recorded) {
		return nil, buf, nil
	}
	lacks, err = compareRecorded(recorded, buf)
	return lacks, buf, err
}

// compareRecorded returns the leaves that are in what was read and not in what was
// recorded. Any other difference is an error.
func compareRecorded(recorded, read []byte) (lacks []leaf, err error) {
	var a, b map[string]any
	for _, x := range []struct {
		text []byte
		to   *map[string]any
	}{{recorded, &a}, {read, &b}} {
		d := json.NewDecoder(bytes.NewReader(x.text))
		d.UseNumber()
		if err := d.Decode(x.to); err != nil {
			return nil, err
		}
	}
	for l, at := range leafPaths {
		was, found := find(a, at)
		is, _ := find(b, at)
		switch {
		case !found:
			lacks = append(lacks, leaf(l))
		case !sameJSON(was, is):
			return nil, fmt.Errorf("%s cannot be read as it was written", at)
		}
	}
	return lacks, nil
}

func find(document map[string]any, path string) (any, bool) {
	var at any = document
	for name := range strings.SplitSeq(path, ".") {
		m, ok := at.(map[string]any)
		if !ok {
			return nil, false
		}
		if at, ok = m[name]; !ok {
			return nil, false
		}
	}
	return at, true
}

func sameJSON(a, b any) bool {
	x, err := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err == nil && err2 == nil && bytes.Equal(x, y)
}

// reads reports whether a decision depends on a leaf, or on an entry of it.
func (k *keyPlan) reads(l leaf) bool {
	if l == leafNow {
		return k.clock
	}
	for _, p := range k.parts {
		if p.leaf == l || p.leaf == leafLabel && l == leafDeviceLabels || p.leaf == leafAttribute && l == leafOperationAttributes {
			return true
		}
	}
	return false
}

// readForm reads the form policy.Request.AppendJSON writes, without escapes, at a tenth of
// encoding/json's cost. It accepts more than that form; readRecorded makes sure.
func readForm(s string, r *policy.Request) bool {
	f := form{rest: s, ok: true}
	r.Phase = policy.Phase(f.text(`{"phase":`))

	r.Subject.ID = f.text(`,"subject":{"id":`)
	r.Subject.Kind = f.text(`,"kind":`)
	r.Subject.Roles = f.texts(`,"roles":`)
	r.Subject.Groups = f.texts(`,"groups":`)
	f.must(`,"mfa":`)
	if r.Subject.MFA = f.may("true"); !r.Subject.MFA {
		f.must("false")
	}

	r.Device.ID = f.text(`},"device":{"id":`)
	r.Device.Class = f.text(`,"class":`)
	r.Device.Profile = f.text(`,"profile":`)
	r.Device.Segment = f.text(`,"segment":`)
	f.must(`,"labels":{`)
	r.Device.Labels = map[string]string{}
	for before := ""; f.ok && !f.may("}"); before = "," {
		name := f.text(before)
		r.Device.Labels[name] = f.text(":")
	}
	r.Device.State = f.text(`,"state":`)

	r.Service.Name = f.text(`},"service":{"name":`)
	r.Service.Protocol = f.text(`,"protocol":`)

	r.Session.ID = f.text(`},"session":{"id":`)
	r.Session.Direction = f.text(`,"direction":`)
	r.Session.Client = f.text(`,"client":`)
	r.Session.TLS = f.text(`,"tls":`)

	r.Operation.Name = f.text(`},"operation":{"name":`)
	r.Operation.Class = policy.Class(f.text(`,"class":`))
	f.must(`,"attributes":{`)
	r.Operation.Attributes = r.Operation.Attributes[:0]
	for before := ""; f.ok && !f.may("}"); before = "," {
		name := f.text(before)
		f.must(":")
		// Attributes are found by their order, which encoding them again would not restore.
		if n := len(r.Operation.Attributes); n > 0 && r.Operation.Attributes[n-1].Name >= name {
			return false
		}
		r.Operation.Attributes = append(r.Operation.Attributes, policy.Attribute{Name: name, Value: f.value()})
	}

	f.must(`},"now_ns":`)
	r.NowNs = f.number()
	f.must("}")
	return f.ok && f.rest == ""
}

// form reads JSON of a known form from the left. ok turns false at the first surprise.
type form struct {
	rest string
	ok   bool
}

func (f *form) may(literal string) bool {
	rest, found := strings.CutPrefix(f.rest, literal)
	if found {
		f.rest = rest
	}
	return found
}

func (f *form) must(literal string) { f.ok = f.may(literal) && f.ok }

// text reads a string behind a literal.
func (f *form) text(before string) string {
	f.must(before)
	f.must(`"`)
	end := strings.IndexByte(f.rest, '"')
	if end < 0 || strings.IndexByte(f.rest[:end], '\\') >= 0 {
		f.ok = false
		return ""
	}
	s := f.rest[:end]
	f.rest = f.rest[end+1:]
	return s
}

func (f *form) texts(before string) []string {
	f.must(before)
	f.must("[")
	list := []string{}
	for before := ""; f.ok && !f.may("]"); before = "," {
		list = append(list, f.text(before))
	}
	return list
}

func (f *form) number() int64 {
	n := 0
	for n < len(f.rest) && (f.rest[n] == '-' || f.rest[n] >= '0' && f.rest[n] <= '9') {
		n++
	}
	v, err := strconv.ParseInt(f.rest[:n], 10, 64)
	f.ok = f.ok && err == nil
	f.rest = f.rest[n:]
	return v
}

// value reads what an attribute may hold.
func (f *form) value() any {
	switch {
	case strings.HasPrefix(f.rest, `["`) || strings.HasPrefix(f.rest, "[]"):
		return f.texts("")
	case strings.HasPrefix(f.rest, `"`):
		return f.text("")
	case !f.may("["):
		return f.number()
	}
	list := []int64{f.number()}
	for f.ok && f.may(",") {
		list = append(list, f.number())
	}
	f.must("]")
	return list
}

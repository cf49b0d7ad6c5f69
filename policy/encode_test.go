package policy

import (
	"encoding/json"
	"reflect"
	"testing"
)

// full is a request in which every field has a value.
func full() Request {
	return Request{
		Phase:   PhaseOperation,
		Subject: Subject{ID: "dr.kim", Kind: KindUser, Roles: []string{"nurse", "radiologist"}, Groups: []string{"ward-4"}, MFA: true},
		Device:  Device{ID: "mon-7", Class: "monitor/bedside", Profile: "contec-cms8000", Segment: "icu", Labels: map[string]string{"ward": "4", "owner": "icu"}, State: StateActive},
		Service: Service{Name: "results", Protocol: "hl7"},
		Session: Session{ID: "4f1a-1", Direction: Inbound, Client: "10.1.2.3", TLS: "1.3"},
		Operation: Operation{Name: "hl7:ORU^R01", Class: ClassWrite, Attributes: Attributes{
			{"codes", []int64{1, -2}}, {"patient_ids", []string{"a", "b"}}, {"size", int64(1 << 60)}, {"version", "2.5.1"}}},
		NowNs: 1 << 60,
	}
}

// same compares what a reader gets of a request from both encoders.
func same(t *testing.T, r *Request) {
	t.Helper()
	b := r.AppendJSON(nil)
	want, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var x, y any
	if err := json.Unmarshal(b, &x); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	if err := json.Unmarshal(want, &y); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(x, y) {
		t.Errorf("AppendJSON gives\n%s\nencoding/json\n%s", b, want)
	}
}

func TestAppendJSON(t *testing.T) {
	r := full()
	same(t, &r)
	var back Request
	if err := json.Unmarshal(r.AppendJSON(nil), &back); err != nil || !reflect.DeepEqual(back, r) {
		t.Errorf("read back: %+v, %v", back, err)
	}
}

func FuzzAppendJSON(f *testing.F) {
	f.Add("dr.kim", "a\"b\\c\n\x00", "\xff\u2028 é", int64(-1))
	f.Fuzz(func(t *testing.T, a, b, c string, n int64) {
		r := full()
		r.Subject.ID, r.Subject.Roles, r.Device.Labels = a, []string{b, c}, map[string]string{"k": c}
		r.Operation.Attributes = nil
		r.Operation.Attributes.Set("s", a)
		r.Operation.Attributes.Set("list", []string{c, a})
		r.Operation.Attributes.Set("n", n)
		same(t, &r)
	})
}

func TestAttributes(t *testing.T) {
	var a Attributes
	for _, name := range []string{"b", "a", "c", "b"} {
		a.Set(name, name+"!")
	}
	if len(a) != 3 || a.Get("b") != "b!" || a.Get("d") != nil {
		t.Errorf("attributes = %v", a)
	}
	for _, bad := range []string{`{"a":1.5}`, `{"a":{}}`, `{"a":[1,"x"]}`, `{"a":null}x`, `[]`} {
		if err := new(Attributes).UnmarshalJSON([]byte(bad)); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}

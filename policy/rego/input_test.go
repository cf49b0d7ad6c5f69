package rego

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"

	"cordon/policy"
)

// TestInputIsJSON holds the input of a decision to the one its record has.
func TestInputIsJSON(t *testing.T) {
	odd := request("nurse")
	odd.NowNs = math.MaxInt64
	odd.Subject.ID, odd.Device.Labels["\xff<&>"] = "a\xff\xfe\u2028b\x00", "ü\xc3"
	odd.Operation.Attributes.Set("list", []string{"a", "\xff"})
	odd.Operation.Attributes.Set("numbers", []int64{-1, math.MinInt64})
	odd.Operation.Attributes.Set("number", int64(7))
	list := []*policy.Request{request("radiologist"), odd}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		list = append(list, draw(rnd))
	}
	for _, r := range list {
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		want, err := ast.ValueFromReader(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if got := input(r); got.Compare(want) != 0 {
			t.Errorf("decided on %s\nrecorded   %s", got, want)
		}
	}
}

// inputShape is as much of JSON Schema as input.schema.json uses.
type inputShape struct {
	Type                 string
	Enum                 []string
	Required             []string
	Properties           map[string]inputShape
	Items                *inputShape
	AdditionalProperties json.RawMessage
}

func readSchema(t *testing.T) inputShape {
	var s inputShape
	d := json.NewDecoder(strings.NewReader(inputSchema))
	if err := d.Decode(&s); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSchemaNamesEveryField walks the request and the schema side by side.
func TestSchemaNamesEveryField(t *testing.T) {
	var walk func(string, reflect.Type, inputShape)
	walk = func(at string, rt reflect.Type, s inputShape) {
		var names []string
		for i := range rt.NumField() {
			f := rt.Field(i)
			name := f.Tag.Get("json")
			names = append(names, name)
			sub, ok := s.Properties[name]
			if !ok {
				t.Errorf("%s%s is not in the schema", at, name)
				continue
			}
			want := map[reflect.Kind]string{reflect.Struct: "object", reflect.String: "string", reflect.Bool: "boolean", reflect.Int64: "integer", reflect.Map: "object", reflect.Slice: "array"}[f.Type.Kind()]
			if f.Type == reflect.TypeFor[policy.Attributes]() {
				want = "object"
			}
			if sub.Type != want {
				t.Errorf("%s%s is %s, in the schema %s", at, name, want, sub.Type)
			}
			if f.Type.Kind() == reflect.Struct {
				walk(at+name+".", f.Type, sub)
			}
		}
		slices.Sort(names)
		slices.Sort(s.Required)
		if got := sortedNames(s.Properties); !slices.Equal(got, names) || !slices.Equal(s.Required, names) || string(s.AdditionalProperties) != "false" {
			t.Errorf("%s: properties %v, required %v, fields %v", at, got, s.Required, names)
		}
	}
	walk("", reflect.TypeFor[policy.Request](), readSchema(t))
}

// TestSchemaEnums holds the lists of words to the vocabulary.
func TestSchemaEnums(t *testing.T) {
	root := readSchema(t).Properties
	classes := []string{""}
	for _, c := range policy.Classes {
		classes = append(classes, string(c))
	}
	for name, c := range map[string]struct{ got, want []string }{
		"phase":     {root["phase"].Enum, []string{string(policy.PhaseConnect), string(policy.PhaseOperation)}},
		"kind":      {root["subject"].Properties["kind"].Enum, []string{policy.KindUser, policy.KindService, policy.KindVendor, policy.KindDevice}},
		"state":     {root["device"].Properties["state"].Enum, []string{policy.StateActive, policy.StateQuarantined, policy.StateMaintenance, policy.StateLearning}},
		"direction": {root["session"].Properties["direction"].Enum, []string{policy.Inbound, policy.Outbound}},
		"class":     {root["operation"].Properties["class"].Enum, classes},
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("%s: %v, want %v", name, c.got, c.want)
		}
	}
}

func BenchmarkInput(b *testing.B) {
	r := request("radiologist")
	b.ReportAllocs()
	for b.Loop() {
		input(r)
	}
}

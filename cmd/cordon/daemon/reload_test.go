package daemon

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"cordon/cmd/cordon/config"
)

// What a running process cannot change is named. Every field of a device is either told to
// policy or among that.
func TestNeedRestart(t *testing.T) {
	live := []string{"Profile", "Class", "Criticality", "Labels", "State"}
	some := map[reflect.Type]reflect.Value{
		reflect.TypeFor[string]():            reflect.ValueOf("other"),
		reflect.TypeFor[netip.Addr]():        reflect.ValueOf(netip.MustParseAddr("10.0.0.9")),
		reflect.TypeFor[[]netip.Addr]():      reflect.ValueOf([]netip.Addr{netip.MustParseAddr("10.0.0.9")}),
		reflect.TypeFor[map[string]string](): reflect.ValueOf(map[string]string{"ward": "4"}),
		reflect.TypeFor[[]config.Service]():  reflect.ValueOf([]config.Service{{Name: "results"}}),
		reflect.TypeFor[[]config.CallOut]():  reflect.ValueOf([]config.CallOut{{}}),
		reflect.TypeFor[config.Gateway]():    reflect.ValueOf(config.Gateway{Name: "other"}),
		reflect.TypeFor[config.Identity]():   reflect.ValueOf(config.Identity{TrustDomain: "other"}),
		reflect.TypeFor[[]config.Plugin]():   reflect.ValueOf([]config.Plugin{{}}),
		reflect.TypeFor[[]config.Segment]():  reflect.ValueOf([]config.Segment{{}}),
		reflect.TypeFor[[]config.Device]():   reflect.ValueOf([]config.Device{{ID: "a"}, {ID: "b"}}),
		reflect.TypeFor[config.Audit]():      reflect.ValueOf(config.Audit{Dir: "other"}),
		reflect.TypeFor[config.Approval]():   reflect.ValueOf(config.Approval{Authors: []string{"security"}}),
		reflect.TypeFor[config.Bundle]():     reflect.ValueOf(config.Bundle{From: "bundles"}),
		reflect.TypeFor[time.Duration]():     reflect.ValueOf(48 * time.Hour),
		reflect.TypeFor[config.Limits]():     reflect.ValueOf(config.Limits{Sessions: 1}),
		reflect.TypeFor[config.BreakGlass](): reflect.ValueOf(config.BreakGlass{Roles: []string{"other"}}),
		reflect.TypeFor[config.Alarms]():     reflect.ValueOf(config.Alarms{Syslog: "unix:///dev/log"}),
		reflect.TypeFor[config.Metrics]():    reflect.ValueOf(config.Metrics{Listen: "127.0.0.1:9464"}),
	}
	try := func(field reflect.StructField, whole *config.Config, in reflect.Value, mayChange bool) {
		value, known := some[field.Type]
		if !known {
			t.Errorf("%s: no other value to try", field.Name)
			return
		}
		in.FieldByIndex(field.Index).Set(value)
		names := NeedHandover(&config.Config{Devices: []config.Device{{ID: "a"}}}, whole)
		if (len(names) == 0) != mayChange {
			t.Errorf("%s changed: %q need a new process", field.Name, names)
		}
	}
	for field := range fieldsOf(reflect.TypeFor[config.Device]()) {
		c := &config.Config{Devices: []config.Device{{ID: "a"}}}
		try(field, c, reflect.ValueOf(&c.Devices[0]).Elem(), slices.Contains(live, field.Name))
	}
	for field := range fieldsOf(reflect.TypeFor[config.Policy]()) {
		c := &config.Config{Devices: []config.Device{{ID: "a"}}}
		try(field, c, reflect.ValueOf(&c.Policy).Elem(), field.Name == "Dir")
	}
	for field := range fieldsOf(reflect.TypeFor[config.Config]()) {
		if field.Name == "Version" || field.Name == "Policy" { // there is one; of the other, each field is above
			continue
		}
		c := &config.Config{Devices: []config.Device{{ID: "a"}}}
		try(field, c, reflect.ValueOf(c).Elem(), false)
	}
}

// fieldsOf yields the exported fields of a struct.
func fieldsOf(of reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range of.NumField() {
			if f := of.Field(i); f.IsExported() && !yield(f) {
				return
			}
		}
	}
}

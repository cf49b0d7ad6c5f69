package rego

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"cordon/policy"
)

func explain(t *testing.T, e *Engine, r *policy.Request) *Explanation {
	t.Helper()
	in, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	x, err := e.Explain(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// TestExplainShipped asks after decisions of the shipped policy.
func TestExplainShipped(t *testing.T) {
	e := patient(t, shippedDir(t))
	for _, c := range []struct {
		name    string
		change  func(r *policy.Request)
		comment string // of the first rule
		source  string // of its failed condition; "" if it held
		values  string
	}{
		{"allowed", func(r *policy.Request) {}, "An operation that the table permits.", "", ""},
		{"allowed in maintenance", func(r *policy.Request) {
			r.Subject.Roles, r.Operation.Class, r.Device.State = []string{"biomed"}, policy.ClassAdmin, policy.StateMaintenance
		}, "An operation that is permitted while the device is being serviced.", "", ""},
		{"session", func(r *policy.Request) { r.Phase, r.Operation = policy.PhaseConnect, policy.Operation{} },
			"Opening a session: one of the roles, or a grant, permits anything on the device.", "", ""},
		{"class", func(r *policy.Request) { r.Subject.Roles = []string{"nurse"} },
			"An operation that the table permits.", "class in data.roles[role][device_class]",
			`input.device.id="mon-7" input.operation.class="write" input.operation.name="hl7:ORU^R01" input.service.protocol="hl7" input.session.direction="inbound" input.subject.id="dr.kim" input.subject.kind="user" device_class="monitor/*" role="nurse"`},
		{"kind", func(r *policy.Request) { r.Subject.Kind = policy.KindVendor },
			"An operation that the table permits.", "some role in roles",
			`input.subject.kind="vendor" input.subject.roles=["radiologist"]`},
		{"state", func(r *policy.Request) { r.Device.State = policy.StateQuarantined },
			"An operation that the table permits.", "in_use", `input.device.state="quarantined"`},
		{"no such device for the role", func(r *policy.Request) { r.Phase, r.Device.Class = policy.PhaseConnect, "pump/infusion" },
			"Opening a session: one of the roles, or a grant, permits anything on the device.", "served",
			`input.device.class="pump/infusion" input.device.state="active" input.subject.id="dr.kim" input.subject.kind="user" input.subject.roles=["radiologist"]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := request("radiologist")
			c.change(r)
			x := explain(t, e, r)
			if d := e.Decide(t.Context(), r); d.Allow != x.Decision.Allow || d.Reason != x.Decision.Reason {
				t.Errorf("explains %+v, decided %+v", x.Decision, d)
			}
			if x.Decision.Allow != (c.source == "") || len(x.Rulings) == 0 {
				t.Fatalf("%+v", x)
			}
			first := x.Rulings[0]
			if first.Comment != c.comment || first.File != "cordon.rego" || first.Line == 0 {
				t.Errorf("rule %+v", first)
			}
			if c.source == "" {
				if first.Failed != nil || len(x.Rulings) != 1 {
					t.Errorf("rulings of an allowed request: %+v", x.Rulings)
				}
				return
			}
			if len(x.Rulings) != 7 {
				t.Errorf("%d rules explained, not 7", len(x.Rulings))
			}
			var values []string
			for _, v := range first.Failed.Values {
				values = append(values, v.Name+"="+v.Value)
			}
			if got := strings.Join(values, " "); first.Failed.Source != c.source || got != c.values {
				t.Errorf("failed at %q with %s\nwant      %q with %s", first.Failed.Source, got, c.source, c.values)
			}
			if line := sourceLine(e.folder.text(first.Failed.File), first.Failed.Line); line != c.source {
				t.Errorf("line %d is %q", first.Failed.Line, line)
			}
		})
	}
}

// TestExplainArchived explains with the policy as it was, after it was edited.
func TestExplainArchived(t *testing.T) {
	before := load(t, map[string]string{"p.rego": "package cordon\n# Writers.\nallow if input.operation.class in data.may\n", "data.yaml": "may: [write]"})
	after, err := LoadArchive(before.Archive())
	if err != nil {
		t.Fatal(err)
	}
	if after.Revision() != before.Revision() || after.Data() != before.Data() || string(after.Archive()) != string(before.Archive()) {
		t.Error("another policy came back")
	}
	if x := explain(t, after, request("any")); !x.Decision.Allow || x.Rulings[0].Comment != "Writers." {
		t.Errorf("%+v", x)
	}
	edited := load(t, map[string]string{"p.rego": "package cordon\n# Writers.\nallow if input.operation.class in data.may\n", "data.yaml": "may: [read]"})
	if edited.Revision() != before.Revision() || edited.Data() == before.Data() {
		t.Error("digests do not tell rules from data")
	}
	for name, b := range map[string][]byte{"cut off": before.Archive()[:700], "no archive": []byte("package cordon"), "empty": nil} {
		if _, err := LoadArchive(b); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestExplainDoubt names what the rules ran into, which a decision never does.
func TestExplainDoubt(t *testing.T) {
	e := load(t, map[string]string{"p.rego": "package cordon\nallow := true if input.subject.mfa\nallow := false if input.phase == \"operation\"\n"})
	x := explain(t, e, request("any"))
	if x.Decision.Cause != policy.CauseDoubt || !strings.Contains(x.Error, "p.rego:") || strings.Contains(x.Decision.Reason, "p.rego") {
		t.Errorf("%+v", x)
	}
}

// TestExplainBounds feeds what no record holds.
func TestExplainBounds(t *testing.T) {
	rules := "package cordon\n"
	for i := range 50 {
		rules += fmt.Sprintf("allow if input.subject.id == \"%d\"\n", i)
	}
	e := load(t, map[string]string{"p.rego": rules})
	r := request("any")
	r.Subject.ID = strings.Repeat("ä", 10_000)
	x := explain(t, e, r)
	if len(x.Rulings) != maxRulings || len(x.Rulings[0].Failed.Values[0].Value) > maxValue+len("…") {
		t.Errorf("%d rules", len(x.Rulings))
	}
	for _, bad := range []string{"", "{", "7", "[]"} {
		if _, err := e.Explain(t.Context(), []byte(bad)); err == nil {
			t.Errorf("explained %q", bad)
		}
	}
	if x, err := e.Explain(t.Context(), []byte(`{}`)); err != nil || x.Decision.Allow {
		t.Errorf("%+v %v", x, err)
	}
}

package rego

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"cordon/policy"
)

// dicomRequest is one that a nurse makes of a CT.
func dicomRequest(name string, class policy.Class, attributes ...string) *policy.Request {
	r := request("nurse")
	r.Subject.ID, r.Device.ID, r.Device.Class, r.Service.Protocol = "nurse.ito", "ct-2", "imaging/ct", "dicom"
	r.Operation = policy.Operation{Name: name, Class: class}
	for i := 0; i < len(attributes); i += 2 {
		r.Operation.Attributes.Set(attributes[i], attributes[i+1])
	}
	return r
}

// TestRepairs finds edits of the shipped policy, and what they are is what allows.
func TestRepairs(t *testing.T) {
	for _, c := range []struct {
		name string
		ask  func() *policy.Request
		want []string // the edits of each repair of the data, in order
		also []string // other repairs
	}{
		{"a class of operation", func() *policy.Request { return request("nurse") },
			[]string{"roles.nurse.monitor/bedside write", "roles.nurse.monitor/* write", "roles.nurse.* write"}, []string{"role physician", "role radiologist"}},
		{"a session", func() *policy.Request {
			r := request("nurse")
			r.Phase, r.Operation, r.Device.Class = policy.PhaseConnect, policy.Operation{}, "pump/infusion"
			return r
		}, []string{"roles.nurse.pump/infusion query", "roles.nurse.pump/* query", "roles.nurse.* query"}, []string{"role biomed"}},
		{"a query of a CT", func() *policy.Request { return dicomRequest("dicom:C-FIND", policy.ClassQuery) },
			[]string{"roles.nurse.imaging/ct query, dicom_services.nurse find", "roles.nurse.imaging/* query, dicom_services.nurse find", "roles.nurse.* query, dicom_services.nurse find"}, []string{"role biomed", "role physician", "role radiologist"}},
		{"an association", func() *policy.Request {
			r := dicomRequest("dicom:A-ASSOCIATE", policy.ClassSession, "calling_ae", "WARD-4")
			r.Subject.Roles = []string{"physician"}
			return r
		}, []string{"ae_titles.user/nurse.ito WARD-4"}, nil},
		{"an association of a stranger to the device", func() *policy.Request {
			return dicomRequest("dicom:A-ASSOCIATE", policy.ClassSession, "calling_ae", "WARD-4")
		}, []string{"roles.nurse.imaging/ct session, ae_titles.user/nurse.ito WARD-4", "roles.nurse.imaging/* session, ae_titles.user/nurse.ito WARD-4", "roles.nurse.* session, ae_titles.user/nurse.ito WARD-4"}, nil},
		{"where to move to", func() *policy.Request {
			r := dicomRequest("dicom:C-MOVE", policy.ClassRead, "move_destination", "ROOM")
			r.Subject.Roles = []string{"physician"}
			return r
		}, []string{"ae_titles.user/nurse.ito ROOM", "move_destinations.ct-2 ROOM"}, nil},
		{"maintenance", func() *policy.Request {
			r := request("biomed")
			r.Operation.Class = policy.ClassAdmin
			return r
		}, []string{"roles.biomed.monitor/bedside admin", "roles.biomed.monitor/* admin", "roles.biomed.* admin"}, []string{"state maintenance"}},
		{"a stranger", func() *policy.Request {
			r := request("nurse")
			r.Subject.Kind = policy.KindVendor
			return r
		}, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := patient(t, shippedDir(t))
			r := c.ask()
			if d := e.Decide(t.Context(), r); d.Allow {
				t.Fatal("it is allowed as it is")
			}
			start := time.Now()
			found, err := e.Repairs(t.Context(), r, Around{})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("in %v", time.Since(start))
			var got, also []string
			for _, p := range found {
				var edits []string
				data := true
				for _, x := range p.Edits {
					if x.Kind != EditData {
						data = false
						edits = append(edits, x.Kind+" "+x.Value)
						continue
					}
					edits = append(edits, strings.Join(x.Path, ".")+" "+x.Value)
					if x.File != "data.yaml" || x.Line == 0 || !strings.Contains(x.After, x.Value) {
						t.Errorf("%+v has no place", x)
					}
				}
				if data {
					got = append(got, strings.Join(edits, ", "))
				} else {
					also = append(also, strings.Join(edits, ", "))
				}
				then := *r
				for _, x := range p.Edits {
					assume(&then, x)
				}
				if d := p.engine.Decide(t.Context(), &then); !d.Allow {
					t.Errorf("%s does not allow it: %s", edits, d.Reason)
				}
			}
			slices.Sort(also)
			if !slices.Equal(got, c.want) || !slices.Equal(also, c.also) {
				t.Errorf("got  %q and %q\nwant %q and %q", got, also, c.want, c.also)
			}
		})
	}
}

// TestRepairLabels finds the label that a rule asks for among those of other devices.
func TestRepairLabels(t *testing.T) {
	e := patient(t, write(t, map[string]string{"p.rego": `package cordon
default allow := false
allow if input.device.labels.ward in data.wards[input.subject.id]
`, "data.json": `{"wards": {"dr.kim": ["3"], "dr.lee": ["3"]}}`}))
	r := request("nurse")
	found, err := e.Repairs(t.Context(), r, Around{Labels: map[string][]string{"ward": {"3", "4"}, "owner": {"x"}}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range found {
		got = append(got, p.Edits[0].Kind+" "+strings.Join(p.Edits[0].Path, ".")+" "+p.Edits[0].Value)
		if p.Edits[0].File != "" {
			t.Errorf("%+v names a place in JSON", p.Edits[0])
		}
	}
	// What the list lacks is not a string of the request: labels are free text.
	if !slices.Equal(got, []string{"label ward 3"}) {
		t.Errorf("found %q", got)
	}
}

// TestGuard names what no edit of data may allow.
func TestGuard(t *testing.T) {
	e := patient(t, shippedDir(t))
	for _, c := range []struct {
		change func(*policy.Request)
		want   string
	}{
		{func(*policy.Request) {}, ""},
		{func(r *policy.Request) { r.Device.State = policy.StateQuarantined }, "device mon-7 is quarantined"},
		{func(r *policy.Request) { r.Operation.Class = policy.ClassUnknown }, "allow_unknown"},
		{func(r *policy.Request) { r.Device.Profile, r.Service.Protocol = "contec-cms8000", "stream" }, "virtual patch cms8000-datagrams"},
	} {
		r := request("nurse")
		c.change(r)
		if got := e.Guard(t.Context(), r); !strings.Contains(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("guard %q, want %q", got, c.want)
		}
		if c.want == "" {
			continue
		}
		// And no search finds a way round it.
		if found, err := e.Repairs(t.Context(), r, Around{}); err != nil || len(found) > 0 && r.Operation.Class != policy.ClassUnknown {
			t.Errorf("%s: %d repairs, %v", c.want, len(found), err)
		}
	}
}

// TestWeigh ranks repairs by what they would have changed besides.
func TestWeigh(t *testing.T) {
	e := patient(t, shippedDir(t))
	h, other := e.NewHistory(), e.NewHistory()
	record := func(h *History, r *policy.Request, index int64) {
		d := e.Decide(t.Context(), r)
		if err := h.Add(t.Context(), &Recorded{Index: index, Code: fmt.Sprintf("C%d", index), Input: r.AppendJSON(nil), Decision: d}); err != nil {
			t.Fatal(err)
		}
	}
	asked := request("nurse")
	for i, who := range []string{"dr.kim", "n.a", "n.a", "n.b"} {
		r := request("nurse")
		r.Subject.ID = who
		if i > 0 {
			r.Device.Class, r.Device.ID = "monitor/central", "mon-9"
		}
		record(map[bool]*History{false: h, true: other}[i%2 == 0], r, int64(i))
	}
	allowed := request("radiologist")
	record(other, allowed, 9)
	h.Join(other)
	found, err := e.Repairs(t.Context(), asked, Around{})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Weigh(t.Context(), asked, found); err != nil {
		t.Fatal(err)
	}
	if p := found[0]; p.Edits[0].Path[2] != "monitor/bedside" || p.Effect.Asked != 1 || p.Effect.Allowed != 0 || p.Effect.Questions != 5 {
		t.Errorf("first %+v", p)
	}
	wide := found[slices.IndexFunc(found, func(p Repair) bool { return p.Edits[0].Kind == EditData && p.Edits[0].Path[2] == "monitor/*" })]
	if x := wide.Effect; x.Asked != 1 || x.Allowed != 3 || x.People != 2 || x.Denied != 0 || !slices.Equal(x.Examples, []string{"C1", "C3"}) {
		t.Errorf("wide %+v", x)
	}
	// A role is for one person, and the others' questions stay as they were.
	role := found[slices.IndexFunc(found, func(p Repair) bool { return p.Edits[0].Kind == EditRole })]
	if x := role.Effect; x.Asked != 1 || x.Allowed != 0 {
		t.Errorf("role %+v", x)
	}
	for i := 1; i < len(found); i++ {
		if found[i].Effect.Allowed < found[i-1].Effect.Allowed {
			t.Errorf("%d comes after %d", found[i].Effect.Allowed, found[i-1].Effect.Allowed)
		}
	}
}

// TestEditYAML writes edits as a person would, and what they mean is what was tried.
func TestEditYAML(t *testing.T) {
	for _, c := range []struct {
		text, path, value string
		want              string // the file; "" if it is not edited
		line              int
	}{
		{"a:\n  nu: [x, y] # why\n", "a nu", "z", "a:\n  nu: [x, y, z] # why\n", 2},
		{"a:\n  nu: []\n", "a nu", "z", "a:\n  nu: [z]\n", 2},
		{"a:\n  nu: [é, y]\n", "a nu", "z", "a:\n  nu: [é, y, z]\n", 2},
		{"a:\n  nu:\n    - x\n    - y\n", "a nu", "z", "a:\n  nu:\n    - x\n    - y\n    - z\n", 5},
		{"a:\n  nu:\n    - x", "a nu", "z", "a:\n  nu:\n    - x\n    - z\n", 4},
		{"a:\n  m: [x]\n", "a nu", "z", "a:\n  m: [x]\n  nu: [z]\n", 3},
		{"a:\n  # of m\n  m:\n    k: [x]\nb: 1\n", "a nu k", "z", "a:\n  # of m\n  m:\n    k: [x]\n  nu:\n    k: [z]\nb: 1\n", 5},
		{"a: {} # none\nb: 1\n", "a user/dr.kim", "KIM WS", "a: # none\n  user/dr.kim: [\"KIM WS\"]\nb: 1\n", 1},
		{"a: {m: [x]}\n", "a *", "no", "a: {m: [x], \"*\": [\"no\"]}\n", 1},
		{"a:\n  \"*\": [x]\n", "a *", "z", "a:\n  \"*\": [x, z]\n", 2},
		{"b: 1\n", "a nu", "z", "", 0},
		{"a: 1\n", "a nu", "z", "", 0},
		{"a:\r\n  nu: [x]\r\n", "a nu", "z", "a:\r\n  nu: [x, z]\r\n", 2},
	} {
		path := strings.Split(c.path, " ")
		files := []Source{{"data.yaml", []byte(c.text)}}
		x := Edit{Kind: EditData, Path: path, Value: c.value}
		got := x.write(files)
		if c.want == "" {
			if x.File != "" || !bytes.Equal(got[0].Text, files[0].Text) {
				t.Errorf("%q became %q", c.text, got[0].Text)
			}
			continue
		}
		if string(got[0].Text) != c.want || x.Line != c.line || x.File != "data.yaml" {
			t.Errorf("%q became %q at line %d, want %q at %d", c.text, got[0].Text, x.Line, c.want, c.line)
		}
		// What is told to be done by hand is what was done.
		by := strings.Split(strings.TrimSuffix(strings.ReplaceAll(c.text, "\r\n", "\n"), "\n"), "\n")
		if x.Before != "" {
			by = slices.Delete(by, x.Line-1, x.Line+strings.Count(x.Before, "\n"))
		}
		by = slices.Insert(by, x.Line-1, x.After)
		if hand := strings.Join(by, "\n") + "\n"; hand != strings.ReplaceAll(c.want, "\r\n", "\n") {
			t.Errorf("%q becomes %q by hand, want %q", c.text, hand, c.want)
		}
		before, _ := readData(files)
		after, problems := readData(got)
		if len(problems) > 0 || !sameJSON(after, addTo(before, path, c.value)) {
			t.Errorf("%q means %v (%v)", c.want, after, problems)
		}
	}
}

// TestRepairWithoutPlace edits data that cannot be edited by a line: the repair stands, and no
// line is shown that would not do.
func TestRepairWithoutPlace(t *testing.T) {
	const rules = `package cordon
default allow := false
allow if input.device.id in data.friends[input.subject.id]
`
	e := patient(t, write(t, map[string]string{"p.rego": rules, "data.yaml": "friends:\r\n  dr.kim:\n    - mon-1\n"})) // lines end in two ways
	found, err := e.Repairs(t.Context(), request("nurse"), Around{})
	if err != nil || len(found) != 1 || found[0].Edits[0].Value != "mon-7" {
		t.Fatalf("found %+v, %v", found, err)
	}
	if x := found[0].Edits[0]; x.Place != (Place{}) {
		t.Errorf("it is said to be written as %+v", x)
	}
}

// TestRepairOfWorkspace searches in the policy that decides, and names the lines of the one that people edit.
func TestRepairOfWorkspace(t *testing.T) {
	const rules = "package cordon\ndefault allow := false\nallow if input.device.id in data.friends[input.subject.id]\n"
	e := patient(t, write(t, map[string]string{"p.rego": rules, "data.yaml": "friends:\n  dr.kim: [mon-1]\n"}))
	for _, c := range []struct {
		data string
		want Place
	}{
		{"# Edited.\nwards: [icu]\nfriends:\n  dr.kim: [mon-1, mon-2]\n", Place{"data.yaml", 4, "  dr.kim: [mon-1, mon-2]", "  dr.kim: [mon-1, mon-2, mon-7]", false}},
		{"friends:\n  dr.lee: [mon-1]\n", Place{"data.yaml", 3, "", "  dr.kim: [mon-7]", false}},
		{"friends:\n  dr.kim: [mon-7]\n", Place{"data.yaml", 0, "", "", true}},
	} {
		w := patient(t, write(t, map[string]string{"p.rego": rules, "data.yaml": c.data}))
		found, err := e.Repairs(t.Context(), request("nurse"), Around{Workspace: w})
		if err != nil || len(found) != 1 || found[0].Edits[0].Value != "mon-7" {
			t.Fatalf("found %+v, %v", found, err)
		}
		if x := found[0].Edits[0]; x.Place != c.want {
			t.Errorf("in %q it goes to %+v, want %+v", c.data, x.Place, c.want)
		}
	}
}

// TestRepairOfLargeData searches in the data of a large site, and stays within its bounds.
func TestRepairOfLargeData(t *testing.T) {
	dir := shippedDir(t)
	var titles strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&titles, "  user/u-%d: [WS-%d]\n", i, i)
	}
	file := dir + "/data.yaml"
	text := strings.Replace(string(mustRead(t, file)), "ae_titles: {}\n", "ae_titles:\n"+titles.String(), 1)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	found, err := patient(t, dir).Repairs(t.Context(), dicomRequest("dicom:A-ASSOCIATE", policy.ClassSession, "calling_ae", "WARD-4"), Around{})
	if err != nil || len(found) != 3 {
		t.Errorf("%d found, %v", len(found), err)
	}
	t.Logf("in %v", time.Since(start))
}

// TestRepairsNameNoPatient keeps what tells of patients out of proposals.
func TestRepairsNameNoPatient(t *testing.T) {
	r := request("nurse")
	if atoms := atomsOf(r); slices.Contains(atoms, "4711") || !slices.Contains(atoms, "2.5.1") {
		t.Errorf("strings of a request: %q", atoms)
	}
}

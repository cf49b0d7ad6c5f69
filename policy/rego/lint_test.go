package rego

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// A policy that no check finds anything in. Each case below changes one thing.
var clean = map[string]string{
	"cordon.rego": `package cordon

default allow := false

allow if {
	input.device.state == "active"
	some role in roles
	input.operation.class in data.roles[role][input.device.class]
	data.ae_titles != null
	data.dicom_services != null
	data.move_destinations != null
	data.maintenance != null
}

roles contains role if {
	some role in input.subject.roles
	data.kinds[role] == input.subject.kind
}

reason := "no" if not allow
`,
	"cordon_test.rego": `package cordon_test

import data.cordon

test_nobody if not cordon.allow with input as {}
`,
	"data.yaml": `roles:
  nurse:
    monitor/*: [read, query]
  biomed:
    "*": [read]
maintenance:
  biomed:
    "*": [control]
kinds: {nurse: user, biomed: user}
dicom_services:
  nurse: [find]
ae_titles:
  user/kim: [KIM-WS]
move_destinations:
  ct-2: [ROOM]
`,
}

var cleanSite = Site{Devices: []SiteDevice{{"mon-7", "monitor/bedside", []string{"hl7"}}, {"ct-2", "imaging/ct", []string{"dicom"}}}}

// TestLint shows for each check a policy that it finds something in, and where.
func TestLint(t *testing.T) {
	shown := map[string]bool{}
	for _, c := range []struct {
		code     string
		file     string
		old, new string
		site     func(*Site)
		want     string // place and part of the message
	}{
		{code: "policy.lint.allow", file: "cordon.rego", old: "reason :=", new: "allow := true\n\nreason :=", want: "cordon.rego:20:1: allow holds for everybody"},
		{code: "policy.lint.allow", file: "cordon.rego", old: "reason :=", new: "allow if true\n\nreason :=", want: "cordon.rego:20:1: allow holds for everybody"},
		{code: "policy.lint.default", file: "cordon.rego", old: "default allow := false\n", new: "", want: "cordon.rego:4:1: allow has no default"},
		{code: "policy.lint.reason", file: "cordon.rego", old: "reason := \"no\" if not allow\n", new: "", want: "no rule says the reason"},
		{code: "policy.lint.word", file: "cordon.rego", old: `"active"`, new: `"aktive"`, want: `cordon.rego:6:24: input.device.state is never "aktive" (did you mean "active"?)`},
		{code: "policy.lint.word", file: "cordon.rego", old: `input.device.state == "active"`, new: `input.session.direction in {"inbound", "outgoing"}`, want: `cordon.rego:6:41: input.session.direction is never "outgoing"`},
		{code: "policy.lint.word", file: "cordon.rego", old: `input.device.state == "active"`, new: `count([1 | "opration" == input.phase]) == 0`, want: `input.phase is never "opration" (did you mean "operation"?)`},
		{code: "policy.lint.clock", file: "cordon.rego", old: `input.device.state == "active"`, new: "input.now_ns < 7", want: "cordon.rego:6:2: the answer depends on the time"},
		{code: "policy.lint.unreached", file: "cordon.rego", old: "reason :=", new: "forgotten if input.subject.mfa\n\nreason :=", want: "cordon.rego:20:1: no answer depends on forgotten"},
		{code: "policy.lint.assertion", file: "cordon_test.rego", old: "test_nobody if not cordon.allow with input as {}", new: "test_nobody if not cordon.allow with input as {}\n\ntest_nothing if helper == 1\n\nhelper := 1", want: "cordon_test.rego:7:1: test_nothing asks no rule"},
		{code: "policy.lint.unread", file: "data.yaml", old: "kinds:", new: "kindz: {nurse: user}\nkinds:", want: `data.yaml:9:1: no rule reads data.kindz (did you mean "kinds"?)`},
		{code: "policy.lint.role", file: "data.yaml", old: "  nurse: [find]", new: "  nurze: [find]", want: `data.yaml:11:3: role nurze has no kind of subject, so nobody acts in it (did you mean "nurse"?)`},
		{code: "policy.lint.kind", file: "data.yaml", old: "nurse: user", new: "nurse: usr", want: `data.yaml:9:9: role nurse is for kind "usr"`},
		{code: "policy.lint.class", file: "data.yaml", old: "[read, query]", new: "[read, querry]", want: `data.yaml:3:23: "querry" is no class of operation (did you mean "query"?)`},
		{code: "policy.lint.class", file: "data.yaml", old: "[control]", new: "[unknown]", want: `data.yaml:8:11: an operation of class unknown`},
		{code: "policy.lint.service", file: "data.yaml", old: "[find]", new: "[find, retrieve]", want: `data.yaml:11:17: "retrieve" is no service of DICOM`},
		{code: "policy.lint.title", file: "data.yaml", old: "[KIM-WS]", new: "[KIM-WORKSTATION-4]", want: `data.yaml:13:14: "KIM-WORKSTATION-4" is no AE title`},
		{code: "policy.lint.title", file: "data.yaml", old: "[KIM-WS]", new: `['KIM\WS']`, want: `is no AE title`},
		{code: "policy.lint.title", file: "data.yaml", old: "user/kim", new: "dr.kim", want: `data.yaml:13:3: "dr.kim" is nobody`},
		{code: "policy.lint.broad", file: "data.yaml", old: `"*": [read]`, new: `"*": [read, write]`, want: "data.yaml:5:17: role biomed may write on every device at any time"},
		{code: "policy.lint.broad", file: "data.yaml", old: "[KIM-WS]", new: `["*"]`, want: "data.yaml:13:14: user/kim may call from any AE title"},
		{code: "policy.lint.covered", file: "data.yaml", old: "[control]", new: "[read, control]", want: "data.yaml:8:11: role biomed may read on * at any time already"},
		{code: "policy.lint.covered", file: "data.yaml", old: "[read, query]", new: "[read, query, read]", want: "read is listed twice"},
		{code: "policy.lint.covered", file: "data.yaml", old: `    "*": [read]`, new: "    \"*\": [read]\n    monitor/bedside: [read]", want: "data.yaml:6:23: role biomed may read on * already"},
		{code: "policy.lint.device", file: "data.yaml", old: "    monitor/*:", new: "    monitor/transport: [read]\n    imaging/*:", want: "data.yaml:3:5: the site has no device of class monitor/transport"},
		{code: "policy.lint.device", file: "data.yaml", old: "  ct-2:", new: "  ct-3:", want: "data.yaml:15:3: the site has no device ct-3"},
		{code: "policy.lint.unbound", file: "data.yaml", old: "ae_titles:\n  user/kim: [KIM-WS]", new: "ae_titles: {}", want: "data.yaml:12:1: device ct-2 speaks DICOM"},
	} {
		shown[c.code] = true
		t.Run(c.want, func(t *testing.T) {
			files := maps.Clone(clean)
			if c.old != "" && !strings.Contains(files[c.file], c.old) {
				t.Fatalf("%s has no %q", c.file, c.old)
			}
			files[c.file] = strings.Replace(files[c.file], c.old, c.new, 1)
			found := patient(t, write(t, files)).Lint(cleanSite)
			if len(found) != 1 || found[0].Code != c.code || !strings.Contains(said(found[0]), c.want) {
				t.Errorf("found %s", all(found))
			}
		})
	}
	for _, c := range Checks() {
		if !shown[c.Code] {
			t.Errorf("%s has no example", c.Code)
		}
	}
	if found := patient(t, write(t, clean)).Lint(cleanSite); len(found) > 0 {
		t.Errorf("in a clean policy: %s", all(found))
	}
	if found := patient(t, shippedDir(t)).Lint(Site{}); len(found) > 0 {
		t.Errorf("in the shipped policy: %s", all(found))
	}
}

func said(f Finding) string {
	if f.Hint == "" {
		return f.String()
	}
	return fmt.Sprintf("%s (%s)", f, f.Hint)
}

func all(found []Finding) string {
	var lines []string
	for _, f := range found {
		lines = append(lines, f.Code+" "+said(f))
	}
	return strings.Join(lines, "\n")
}

// TestChecksAreDocumented holds the list in the policy's README to the checks there are.
func TestChecksAreDocumented(t *testing.T) {
	text, err := shipped.ReadFile("shipped/README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), ChecksMarkdown()) {
		t.Errorf("the README does not have\n%s", ChecksMarkdown())
	}
	codes := map[string]bool{}
	for _, c := range Checks() {
		codes[c.Code] = true
	}
	if len(codes) != len(Checks()) || len(codes) < 12 || !slices.ContainsFunc(Checks(), func(c Check) bool { return !c.Warning }) {
		t.Errorf("codes: %v", codes)
	}
}

package http

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// Protocol returns the HTTP plugin.
//
// Its settings, all optional:
//
//	max_line           bytes of a request line, 256 to 8192, which is the default
//	max_head           bytes of a request's head, 1KiB to 128KiB; default 32KiB
//	max_fields         header fields of a request, 1 to 1000; default 100
//	max_body           bytes of a request's body, 0 to 1TiB, "64MiB" or a number; default
//	                   10MiB
//	paths              what requests do, by path; the first rule that fits counts:
//	                   [{"prefix": "/firmware", "class": "admin"},
//	                   {"exact": "/reboot", "method": "GET", "class": "control"}]. A rule
//	                   without method is about no TRACE, CONNECT, unregistered method or
//	                   upgrade; the method of those is "other", "upgrade-websocket" or
//	                   "upgrade"
//	fhir               {"base": "/fhir"}: below it is a FHIR server
//	path_allow         ["parameters"]: the device takes what follows ";" in a path for
//	                   parameters, and path is told without; ["empty_segments"]: it takes
//	                   "//" within a path for "/"
//	ignore_case        true: the device does not tell /A from /a, and path is told in lower
//	                   case, to the rules as well, which are written so
//	content_encodings  codings of requests that the device may be sent: ["gzip"]
//	refuse_fields      header fields that only a proxy before the device may set, such as
//	                   ["x-remote-user"]: requests with one of them are malformed
//	trailers           true: trailer fields may follow a chunked body
//	bare_lf            true: the device may end lines with LF alone
func Protocol() sdk.Protocol {
	return sdk.Protocol{
		Name:    "http",
		Version: "1.0.0",
		// Responses are held because a client may answer a 100 or 101 before the inspector has
		// seen it, and because a response that can be read as two must not reach the client.
		Modes: [2]sdk.Mode{sdk.Forward: sdk.Held, sdk.Reverse: sdk.Held},
		Configure: func(raw json.RawMessage) (func() sdk.Inspector, error) {
			set, err := parseSettings(raw)
			if err != nil {
				return nil, err
			}
			return func() sdk.Inspector { return &session{set: set} }, nil
		},
	}
}

// settings are one service's; read-only once parsed.
type settings struct {
	limits         limits
	maxBody        int64
	rules          []rule
	fhir           bool
	fhirBase       string // without a slash at its end
	pathParameters bool
	emptySegments  bool
	ignoreCase     bool
	encodings      []string
	refuseFields   []string // in lower case
	trailers       bool
	bareLF         bool
}

func parseSettings(raw json.RawMessage) (*settings, error) {
	set := &settings{limits: limits{line: 8 << 10, head: 32 << 10, fields: 100}, maxBody: 10 << 20}
	var pathAllow uint32
	err := sdk.Settings{
		"max_line":          sdk.Size(&set.limits.line, 256, 8<<10),
		"max_head":          sdk.Size(&set.limits.head, 1<<10, 128<<10),
		"max_fields":        sdk.Int(&set.limits.fields, 1, 1000),
		"max_body":          sdk.Size(&set.maxBody, 0, 1<<40),
		"paths":             set.readRules,
		"fhir":              set.readFHIR,
		"path_allow":        sdk.SomeOf(&pathAllow, "parameters", "empty_segments"),
		"content_encodings": set.readEncodings,
		"refuse_fields":     set.readRefuseFields,
		"ignore_case":       sdk.Flag(&set.ignoreCase),
		"trailers":          sdk.Flag(&set.trailers),
		"bare_lf":           sdk.Flag(&set.bareLF),
	}.Read(raw)
	if err != nil {
		return nil, err
	}
	set.pathParameters, set.emptySegments = pathAllow&1 != 0, pathAllow&2 != 0
	for _, ru := range set.rules {
		if path := ru.prefix + ru.exact; set.ignoreCase && path != strings.ToLower(path) {
			return nil, fmt.Errorf("setting \"paths\": with ignore_case, write %q in lower case", path)
		}
	}
	if set.ignoreCase && set.fhir {
		return nil, fmt.Errorf("setting \"fhir\": FHIR tells /A from /a, take out ignore_case")
	}
	return set, nil
}

func (set *settings) readFHIR(value json.RawMessage) error {
	var fhir struct {
		Base *string `json:"base"`
	}
	if err := sdk.Value(&fhir)(value); err != nil {
		return err
	}
	if fhir.Base == nil || !isPath(*fhir.Base) {
		return fmt.Errorf(`%.40s names no base path such as {"base": "/fhir"}`, value)
	}
	set.fhir, set.fhirBase = true, strings.TrimSuffix(*fhir.Base, "/")
	return nil
}

func (set *settings) readEncodings(value json.RawMessage) error {
	if err := json.Unmarshal(value, &set.encodings); err != nil {
		return err
	}
	for _, v := range set.encodings {
		if !slices.Contains([]string{"gzip", "deflate", "br", "zstd", "identity"}, v) {
			return fmt.Errorf("%q is no content coding, such as \"gzip\"", v)
		}
	}
	return nil
}

func (set *settings) readRefuseFields(value json.RawMessage) error {
	if err := json.Unmarshal(value, &set.refuseFields); err != nil {
		return err
	}
	for _, v := range set.refuseFields {
		if !isToken(v) || v != strings.ToLower(v) || strings.Contains(v, "_") {
			return fmt.Errorf("%q is no name of a header field in lower case, with - instead of _", v)
		}
	}
	return nil
}

func (set *settings) readRules(value json.RawMessage) error {
	var list []struct {
		Prefix string       `json:"prefix"`
		Exact  string       `json:"exact"`
		Method string       `json:"method"`
		Class  policy.Class `json:"class"`
	}
	if err := sdk.Value(&list)(value); err != nil {
		return err
	}
	for i, r := range list {
		path := r.Prefix + r.Exact
		switch {
		case (r.Prefix == "") == (r.Exact == ""):
			return fmt.Errorf("rule %d has either prefix or exact", i+1)
		case !isPath(path):
			return fmt.Errorf("rule %d: %q is no path: write it decoded, with a leading slash, without dot or empty segments", i+1, path)
		case !r.Class.Valid():
			return fmt.Errorf("rule %d: class %q is not one of %q", i+1, r.Class, policy.Classes)
		case r.Method != "" && !isRuleMethod(r.Method):
			return fmt.Errorf("rule %d: method %q is not known, such as \"GET\", \"other\" or \"upgrade-websocket\"", i+1, r.Method)
		}
		set.rules = append(set.rules, rule{r.Prefix, r.Exact, r.Method, r.Class})
	}
	return nil
}

func isRuleMethod(s string) bool {
	name, _ := methodOf(s)
	return name != otherName || slices.Contains([]string{otherName, upgradeName, webSocketName}, "http:"+s)
}

// isPath reports whether s is a path as requests' paths are told.
func isPath(s string) bool {
	return strings.HasPrefix(s, "/") && !strings.Contains(s, "//") && !strings.ContainsAny(s, "\\?#%;") &&
		!slices.ContainsFunc(strings.Split(s, "/"), func(segment string) bool { return segment == "." || segment == ".." })
}

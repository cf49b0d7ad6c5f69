package http

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
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
	var keys map[string]json.RawMessage
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &keys); err != nil {
			return nil, fmt.Errorf("read http settings: %w", err)
		}
	}
	for key, value := range keys {
		if err := set.key(key, value); err != nil {
			return nil, fmt.Errorf("http setting %q: %w", key, err)
		}
	}
	for _, ru := range set.rules {
		if path := ru.prefix + ru.exact; set.ignoreCase && path != strings.ToLower(path) {
			return nil, fmt.Errorf("http setting \"paths\": with ignore_case, write %q in lower case", path)
		}
	}
	if set.ignoreCase && set.fhir {
		return nil, fmt.Errorf("http setting \"fhir\": FHIR tells /A from /a, take out ignore_case")
	}
	return set, nil
}

func (set *settings) key(key string, value json.RawMessage) (err error) {
	var n int64
	switch key {
	case "max_line":
		n, err = size(value, 256, 8<<10)
		set.limits.line = int(n)
	case "max_head":
		n, err = size(value, 1<<10, 128<<10)
		set.limits.head = int(n)
	case "max_fields":
		n, err = size(value, 1, 1000)
		set.limits.fields = int(n)
	case "max_body":
		set.maxBody, err = size(value, 0, 1<<40)
	case "paths":
		set.rules, err = parseRules(value)
	case "fhir":
		var fhir struct {
			Base *string `json:"base"`
		}
		if err := strict(value, &fhir); err != nil {
			return err
		}
		if fhir.Base == nil || !isPath(*fhir.Base) {
			return fmt.Errorf(`%.40s names no base path such as {"base": "/fhir"}`, value)
		}
		set.fhir, set.fhirBase = true, strings.TrimSuffix(*fhir.Base, "/")
	case "path_allow":
		var list []string
		if err := json.Unmarshal(value, &list); err != nil {
			return err
		}
		for _, v := range list {
			switch v {
			case "parameters":
				set.pathParameters = true
			case "empty_segments":
				set.emptySegments = true
			default:
				return fmt.Errorf(`%q is neither "parameters" nor "empty_segments"`, v)
			}
		}
	case "content_encodings":
		if err := json.Unmarshal(value, &set.encodings); err != nil {
			return err
		}
		for _, v := range set.encodings {
			if !slices.Contains([]string{"gzip", "deflate", "br", "zstd", "identity"}, v) {
				return fmt.Errorf("%q is no content coding, such as \"gzip\"", v)
			}
		}
	case "refuse_fields":
		if err := json.Unmarshal(value, &set.refuseFields); err != nil {
			return err
		}
		for _, v := range set.refuseFields {
			if !isToken(v) || v != strings.ToLower(v) || strings.Contains(v, "_") {
				return fmt.Errorf("%q is no name of a header field in lower case, with - instead of _", v)
			}
		}
	case "ignore_case":
		return json.Unmarshal(value, &set.ignoreCase)
	case "trailers":
		return json.Unmarshal(value, &set.trailers)
	case "bare_lf":
		return json.Unmarshal(value, &set.bareLF)
	default:
		return fmt.Errorf("there is no such setting")
	}
	return err
}

func parseRules(value json.RawMessage) ([]rule, error) {
	var list []struct {
		Prefix string       `json:"prefix"`
		Exact  string       `json:"exact"`
		Method string       `json:"method"`
		Class  policy.Class `json:"class"`
	}
	if err := strict(value, &list); err != nil {
		return nil, err
	}
	var rules []rule
	for i, r := range list {
		path := r.Prefix + r.Exact
		switch {
		case (r.Prefix == "") == (r.Exact == ""):
			return nil, fmt.Errorf("rule %d has either prefix or exact", i+1)
		case !isPath(path):
			return nil, fmt.Errorf("rule %d: %q is no path: write it decoded, with a leading slash, without dot or empty segments", i+1, path)
		case !r.Class.Valid():
			return nil, fmt.Errorf("rule %d: class %q is not one of %q", i+1, r.Class, policy.Classes)
		case r.Method != "" && !isRuleMethod(r.Method):
			return nil, fmt.Errorf("rule %d: method %q is not known, such as \"GET\", \"other\" or \"upgrade-websocket\"", i+1, r.Method)
		}
		rules = append(rules, rule{r.Prefix, r.Exact, r.Method, r.Class})
	}
	return rules, nil
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

// strict reads one JSON value without unknown keys.
func strict(value json.RawMessage, to any) error {
	d := json.NewDecoder(bytes.NewReader(value))
	d.DisallowUnknownFields()
	return d.Decode(to)
}

// size reads a number, or a text such as "64MiB".
func size(value json.RawMessage, low, high int64) (int64, error) {
	var n int64
	if json.Unmarshal(value, &n) != nil {
		var text string
		if err := json.Unmarshal(value, &text); err != nil {
			return 0, fmt.Errorf("%.40s is not a size such as 64MiB", value)
		}
		factors := map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
		digits := text[:max(0, len(text)-3)]
		count, err := strconv.ParseInt(digits, 10, 31)
		factor := factors[text[len(digits):]]
		if err != nil || count < 0 || factor == 0 {
			return 0, fmt.Errorf("%.40q is not a size such as 64MiB", text)
		}
		n = count * factor
		if n/factor != count {
			n = high + 1
		}
	}
	if n < low || n > high {
		return 0, fmt.Errorf("%d is not between %d and %d", n, low, high)
	}
	return n, nil
}

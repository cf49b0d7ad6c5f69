package http

import (
	"slices"
	"strings"
	"unicode/utf8"

	"cordon/policy"
)

// request is a request's head.
type request struct {
	op     policy.Operation
	wrong  *fault
	method string
	minor  byte // of HTTP/1.x
	target target

	host        string
	length      int64 // of the body; 0 if it is chunked
	hasLength   bool
	chunked     bool
	closes      bool // the connection, behind the response
	keeps       bool // it, though HTTP/1.0
	upgrades    bool // Connection names Upgrade
	expects     bool // 100-continue
	upgrade     []string
	contentType string
	encoding    string
	scheme      string // of Authorization
	cookies     []string
	agent       string
	override    string // of the method
	accepts     format
	once        fieldSet // fields seen that may stand once
}

// isRequestLine reports whether a first line may begin a request: what speaks HTTP/0.9,
// HTTP/2 or no HTTP at all never sends another.
func isRequestLine(line []byte) bool {
	n := len(line) - len(" HTTP/1.x")
	return n > 0 && string(line[n:n+len(" HTTP/1.")]) == " HTTP/1." && (line[len(line)-1] == '0' || line[len(line)-1] == '1')
}

// readRequest reads a complete head. If it is wrong, op says what is known of it.
func (set *settings) readRequest(head string) *request {
	r := &request{op: policy.Operation{Name: malformedName, Class: policy.ClassUnknown}}
	line, rest := nextLine(head)
	if r.wrong = r.readLine(line); r.wrong == nil {
		r.wrong = r.readFields(rest, set.refuseFields)
	}
	if r.wrong == nil {
		r.wrong = r.check(set)
	}
	return r
}

// malformedName is the operation that cannot be understood.
const malformedName = "http:malformed"

func (r *request) readLine(line string) (wrong *fault) {
	r.minor = line[len(line)-1] - '0'
	line = line[:len(line)-len(" HTTP/1.x")]
	method, target, _ := strings.Cut(line, " ")
	if !isToken(method) || len(method) > maxMethod {
		return badMethod
	}
	r.method = method
	r.op.Name, r.op.Class = methodOf(method)
	r.target, wrong = splitTarget(method, target)
	return wrong
}

const maxMethod = 32

func (r *request) readFields(rest string, refuse []string) *fault {
	for {
		var line string
		if line, rest = nextLine(rest); line == "" {
			return nil
		}
		name, value, wrong := splitField(line)
		if wrong == nil && slices.ContainsFunc(refuse, func(f string) bool { return sameName(name, f) }) {
			wrong = refusedField
		}
		if wrong == nil {
			wrong = r.field(name, value)
		}
		if wrong != nil {
			return wrong
		}
	}
}

// fieldSet is a set of fields that may stand once.
type fieldSet uint16

const (
	seenHost fieldSet = 1 << iota
	seenLength
	seenTransfer
	seenType
	seenEncoding
	seenAuthorization
	seenExpect
	seenOverride
)

func (r *request) field(name, value string) *fault {
	var lower [maxKnown]byte
	var once fieldSet
	switch string(fieldName(name, &lower)) {
	case "host":
		if r.once&seenHost != 0 {
			return severalHosts
		}
		once, r.host = seenHost, value
	case "content-length":
		if r.once&seenLength != 0 {
			return badLength
		}
		once, r.hasLength = seenLength, true
		var ok bool
		if r.length, ok = number(value); !ok {
			return badLength
		}
	case "transfer-encoding":
		// Whoever compares it otherwise would take the body for the next request.
		if r.once&seenTransfer != 0 || value != "chunked" {
			return badTransfer
		}
		once, r.chunked = seenTransfer, true
	case "connection":
		return r.connection(value)
	case "content-type":
		once = seenType
		r.contentType, _, _ = strings.Cut(value, ";")
		r.contentType = strings.ToLower(trimSpace(r.contentType))
		if len(r.contentType) > maxName || !utf8.ValidString(r.contentType) {
			return longValue
		}
	case "content-encoding":
		if once, r.encoding = seenEncoding, strings.ToLower(value); len(value) > maxName || !isPrintable(value) {
			return longValue
		}
	case "authorization":
		once = seenAuthorization
		r.scheme, _, _ = strings.Cut(value, " ")
		if r.scheme = strings.ToLower(r.scheme); len(r.scheme) > maxMethod || !isToken(r.scheme) {
			r.scheme = "other"
		}
	case "expect":
		if once = seenExpect; !strings.EqualFold(value, "100-continue") {
			return badExpect
		}
		r.expects = true
	case "upgrade":
		eachItem(value, func(item string) bool {
			r.upgrade = append(r.upgrade, strings.ToLower(item))
			return len(r.upgrade) <= maxNames
		})
		if len(r.upgrade) > maxNames || len(value) > maxName || !utf8.ValidString(value) {
			return badUpgrade
		}
	case "cookie":
		return r.cookie(value)
	case "user-agent":
		if len(value) <= maxAgent && isPrintable(value) {
			r.agent = value
		}
	case "accept":
		r.accepts = r.accepts.prefer(value)
	case "x-http-method-override", "x-http-method", "x-method-override":
		if once, r.override = seenOverride, value; len(value) > maxMethod || !isToken(value) {
			return badMethod
		}
	default:
		if strings.IndexByte(name, '_') >= 0 && framing(name) {
			return disguised
		}
	}
	if r.once&once != 0 {
		return repeatedField
	}
	r.once |= once
	return nil
}

// maxAgent is the length of User-Agent up to which it is told.
const maxAgent = 256

func isPrintable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// connection reads the options of Connection. One that names a field makes proxies drop it.
func (r *request) connection(value string) (wrong *fault) {
	eachItem(value, func(item string) bool {
		switch {
		case sameName(item, "close"):
			r.closes = true
		case sameName(item, "keep-alive"):
			r.keeps = true
		case sameName(item, "upgrade"):
			r.upgrades = true
		case framing(item), sameName(item, "authorization"), sameName(item, "cookie"):
			wrong = nominated
		}
		return wrong == nil
	})
	return wrong
}

// cookie adds the names of RFC 6265's cookie-string.
func (r *request) cookie(value string) *fault {
	for rest := value; rest != ""; {
		pair, more, _ := strings.Cut(rest, ";")
		rest = more
		name, _, _ := strings.Cut(trimSpace(pair), "=")
		if name = trimSpace(name); name == "" {
			continue
		}
		if len(name) > maxName || !isPrintable(name) || len(r.cookies) == maxNames {
			return badCookie
		}
		r.cookies = append(r.cookies, name)
	}
	return nil
}

// check compares what was read with itself and with the service's settings, and completes
// the operation.
func (r *request) check(set *settings) *fault {
	switch {
	case r.minor == 1 && r.once&seenHost == 0:
		return noHost
	case r.host != "" && !isAuthority(r.host):
		return badHost
	case r.target.authority != "" && r.once&seenHost != 0 && !strings.EqualFold(r.target.authority, r.host):
		return otherHost
	case r.chunked && r.hasLength:
		return lengthTwice
	case r.chunked && r.minor == 0:
		return badTransfer
	}
	if r.method != "CONNECT" {
		if wrong := r.target.decodePath(set); wrong != nil {
			return wrong
		}
	}
	keys, wrong := r.target.queryKeys()
	if wrong != nil {
		return wrong
	}
	r.closes = r.closes || r.minor == 0 && !r.keeps
	r.expects = r.expects && r.hasBody()
	r.describe(set, keys)
	switch {
	case r.hasBody() && !mayHaveBody(r.method):
		return bodyForbidden
	case r.length > set.maxBody:
		return bodyLong
	case r.encoding != "" && !slices.Contains(set.encodings, r.encoding):
		return encoded
	case len(r.upgrade) > 0 && (!r.upgrades || r.hasBody() || r.minor == 0):
		return badUpgrade
	case r.switches() && r.closes && r.method != "CONNECT":
		return badUpgrade
	}
	return nil
}

func (r *request) hasBody() bool { return r.chunked || r.length > 0 }

// mayHaveBody reports whether servers agree that a method's body belongs to it (RFC 9110
// section 9.3).
func mayHaveBody(method string) bool {
	return method != "GET" && method != "HEAD" && method != "TRACE" && method != "CONNECT"
}

// switches reports whether the request asks to leave HTTP.
func (r *request) switches() bool { return len(r.upgrade) > 0 || r.method == "CONNECT" }

package http

import (
	"strings"

	"cordon/policy"
)

// methods are those of the IANA registry that servers know, and what they do. What leaves
// HTTP, or returns what proxies added, is to be allowed by name. Every other method is
// "http:other".
var methods = [...]struct {
	name  string
	class policy.Class
}{
	{"http:GET", policy.ClassRead},
	{"http:HEAD", policy.ClassRead},
	{"http:POST", policy.ClassWrite},
	{"http:PUT", policy.ClassWrite},
	{"http:OPTIONS", policy.ClassRead},
	{"http:DELETE", policy.ClassAdmin},
	{"http:PATCH", policy.ClassWrite},
	{"http:TRACE", policy.ClassUnknown},
	{"http:CONNECT", policy.ClassUnknown},
	{"http:QUERY", policy.ClassQuery},
	{"http:SEARCH", policy.ClassQuery},
	{"http:REPORT", policy.ClassQuery},
	{"http:PROPFIND", policy.ClassQuery},
	{"http:PROPPATCH", policy.ClassWrite},
	{"http:MKCOL", policy.ClassWrite},
	{"http:COPY", policy.ClassWrite},
	{"http:MOVE", policy.ClassWrite},
	{"http:LOCK", policy.ClassWrite},
	{"http:UNLOCK", policy.ClassWrite},
}

const (
	otherName     = "http:other"
	upgradeName   = "http:upgrade"
	webSocketName = "http:upgrade-websocket"
)

func methodOf(method string) (name string, class policy.Class) {
	for i := range methods {
		if m := &methods[i]; m.name[len("http:"):] == method {
			return m.name, m.class
		}
	}
	return otherName, policy.ClassUnknown
}

// rule is one of the setting paths.
type rule struct {
	prefix, exact string // one of them is set
	method        string // "": every method that stays in HTTP
	class         policy.Class
}

// matches reports whether a rule is about a path. A prefix ends where a segment does.
func (ru *rule) matches(name, path string) bool {
	switch {
	case ru.method != "" && ru.method != name[len("http:"):]:
		return false
	case ru.method == "" && (name == otherName || name == upgradeName || name == webSocketName || name == "http:TRACE" || name == "http:CONNECT"):
		return false
	case ru.exact != "":
		return path == ru.exact
	}
	rest, ok := strings.CutPrefix(path, ru.prefix)
	return ok && (rest == "" || rest[0] == '/' || strings.HasSuffix(ru.prefix, "/"))
}

// classify names the operation's class: by the first rule about its path, else as FHIR has it,
// else by its method. A request whose method the device is asked to take for another is of
// no known class.
func (r *request) classify(set *settings, keys []string, interaction *interaction) {
	if len(r.upgrade) > 0 {
		r.op.Name, r.op.Class = upgradeName, policy.ClassUnknown
		if len(r.upgrade) == 1 && r.upgrade[0] == "websocket" && r.method == "GET" {
			r.op.Name = webSocketName
		}
	}
	if r.override != "" {
		r.op.Class = policy.ClassUnknown
		return
	}
	for _, k := range keys {
		if k == "_method" {
			r.op.Class = policy.ClassUnknown
			return
		}
	}
	for i := range set.rules {
		if ru := &set.rules[i]; ru.matches(r.op.Name, r.target.path) {
			r.op.Class = ru.class
			return
		}
	}
	switch {
	case len(r.upgrade) > 0:
	case interaction != nil:
		r.op.Class = interaction.class
	}
}

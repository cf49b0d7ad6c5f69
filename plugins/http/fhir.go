package http

import (
	"strings"

	"cordon/policy"
)

// interaction is what a request is in FHIR's RESTful API (HL7 FHIR R4, 3.1.0).
type interaction struct {
	name        string
	class       policy.Class
	resource    string
	id          string
	compartment string
	operation   string
}

// interactionOf reads a path below the base. It returns nil for one that is not below it, and
// an interaction of an unknown class for one that FHIR does not define.
func (set *settings) interactionOf(r *request) *interaction {
	if !set.fhir {
		return nil
	}
	rest, ok := strings.CutPrefix(r.target.path, set.fhirBase)
	if !ok || rest != "" && rest[0] != '/' {
		return nil
	}
	rest = strings.TrimSuffix(strings.TrimPrefix(rest, "/"), "/")
	x := &interaction{name: "unknown", class: policy.ClassUnknown}
	var part [5]string
	n := 0
	for more := rest != ""; more; n++ {
		if n == len(part) {
			return x
		}
		part[n], rest, more = strings.Cut(rest, "/")
	}
	last := ""
	if n > 0 {
		last = part[n-1]
	}
	if n > 0 && isTypeName(part[0]) {
		x.resource = part[0]
		if n > 1 && isID(part[1]) {
			x.id = part[1]
		}
	}
	reads, posts := r.method == "GET" || r.method == "HEAD", r.method == "POST"
	level := n // how far the resource goes: 0 system, 1 type, 2 instance
	if n > 0 && (last[0] == '$' || last[0] == '_' || last == "metadata") {
		level--
	}
	whole := level == 0 || level == 1 && x.resource != "" || level == 2 && x.id != "" // a system, a type or an instance
	is := func(name string, class policy.Class) *interaction {
		x.name, x.class = name, class
		return x
	}
	switch {
	case n > 0 && last[0] == '$':
		x.operation = last
		switch {
		case !whole || !isTypeName(last[1:]) && !isID(last[1:]):
			return x
		case reads:
			return is("operation", policy.ClassRead)
		case posts:
			return is("operation", policy.ClassWrite)
		}
	case last == "metadata" && n == 1 && (reads || r.method == "OPTIONS"):
		return is("capabilities", policy.ClassRead)
	case last == "_search" && posts && (level == 0 || level == 1 && x.resource != ""):
		return is("search", policy.ClassQuery)
	case last == "_history" && reads && whole:
		return is("history", policy.ClassRead)
	case n == 4 && part[2] == "_history" && x.id != "" && isID(part[3]) && reads:
		return is("vread", policy.ClassRead)
	case n == 3 && x.id != "" && (isTypeName(part[2]) || part[2] == "*") && reads:
		x.compartment = x.resource + "/" + x.id
		x.id, x.resource = "", ""
		if part[2] != "*" {
			x.resource = part[2]
		}
		return is("search", policy.ClassQuery)
	case n > 2 || !whole || level != n:
	case n == 2 && reads:
		return is("read", policy.ClassRead)
	case n < 2 && reads:
		return is("search", policy.ClassQuery)
	case n == 1 && posts:
		return is("create", policy.ClassWrite)
	case n == 0 && posts:
		return is("batch", policy.ClassAdmin) // its entries may delete
	case n > 0 && r.method == "PUT":
		return is("update", policy.ClassWrite)
	case n > 0 && r.method == "PATCH":
		return is("patch", policy.ClassWrite)
	case r.method == "DELETE":
		return is("delete", policy.ClassAdmin)
	}
	return x
}

// isTypeName reports whether s can be the name of a resource's type, or of an operation.
func isTypeName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'A' && c <= 'Z' || i > 0 && (c >= 'a' && c <= 'z')) {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// isID reports whether s is a resource's logical id (FHIR R4, 2.24.0.1).
func isID(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '.') {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

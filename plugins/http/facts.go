package http

import (
	"slices"
	"strings"

	"cordon/policy"
)

// describe completes the operation: its class and its facts, in their order by name.
func (r *request) describe(set *settings, keys []string) {
	x := set.interactionOf(r)
	r.classify(set, keys, x)
	if x != nil {
		r.accepts = r.accepts.forFHIR()
	}
	host := r.host
	if host == "" {
		host = r.target.authority
	}
	a := make(policy.Attributes, 0, 16)
	text := func(name, value string) {
		if value != "" {
			a = append(a, policy.Attribute{Name: name, Value: value})
		}
	}
	list := func(name string, values []string) {
		if len(values) > 0 {
			a = append(a, policy.Attribute{Name: name, Value: values})
		}
	}
	text("authorization_scheme", r.scheme)
	text("content_encoding", r.encoding)
	if r.hasLength {
		a = append(a, policy.Attribute{Name: "content_length", Value: r.length})
	}
	text("content_type", r.contentType)
	slices.Sort(r.cookies)
	list("cookie_names", slices.Compact(r.cookies))
	if x != nil {
		text("fhir_compartment", x.compartment)
		text("fhir_id", x.id)
		text("fhir_interaction", x.name)
		text("fhir_operation", x.operation)
		text("fhir_resource", x.resource)
		if x.name == "search" {
			list("fhir_search_params", keys)
		}
	}
	text("host", strings.ToLower(host))
	text("method", r.method)
	text("method_override", r.override)
	text("path", r.target.path)
	list("query_keys", keys)
	if r.target.raw != r.target.path {
		text("raw_path", r.target.raw)
	}
	if r.chunked {
		text("transfer", "chunked")
	}
	list("upgrade", r.upgrade)
	text("user_agent", r.agent)
	if r.minor == 0 {
		text("version", "1.0")
	} else {
		text("version", "1.1")
	}
	r.op.Attributes = a
}

package rego

import (
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"

	"cordon/policy"
)

// input builds what the rules see. It is the JSON form of r, made without the
// detour over JSON; a test holds the two together.
func input(r *policy.Request) ast.Value {
	k := &inputKeys
	return ast.NewObject(
		ast.Item(k.phase, str(string(r.Phase))),
		ast.Item(k.subject, ast.ObjectTerm(
			ast.Item(k.id, str(r.Subject.ID)),
			ast.Item(k.kind, str(r.Subject.Kind)),
			ast.Item(k.roles, strs(r.Subject.Roles)),
			ast.Item(k.groups, strs(r.Subject.Groups)),
			ast.Item(k.mfa, ast.BooleanTerm(r.Subject.MFA)))),
		ast.Item(k.device, ast.ObjectTerm(
			ast.Item(k.id, str(r.Device.ID)),
			ast.Item(k.class, str(r.Device.Class)),
			ast.Item(k.profile, str(r.Device.Profile)),
			ast.Item(k.segment, str(r.Device.Segment)),
			ast.Item(k.labels, labels(r.Device.Labels)),
			ast.Item(k.state, str(r.Device.State)))),
		ast.Item(k.service, ast.ObjectTerm(
			ast.Item(k.name, str(r.Service.Name)),
			ast.Item(k.protocol, str(r.Service.Protocol)))),
		ast.Item(k.session, ast.ObjectTerm(
			ast.Item(k.id, str(r.Session.ID)),
			ast.Item(k.direction, str(r.Session.Direction)),
			ast.Item(k.client, str(r.Session.Client)),
			ast.Item(k.tls, str(r.Session.TLS)))),
		ast.Item(k.operation, ast.ObjectTerm(
			ast.Item(k.name, str(r.Operation.Name)),
			ast.Item(k.class, str(string(r.Operation.Class))),
			ast.Item(k.attributes, attributes(r.Operation.Attributes)))),
		ast.Item(k.nowNs, integer(r.NowNs)))
}

// inputKeys are the names in the input, made once. Nothing ever writes to them.
var inputKeys = struct {
	phase, subject, device, service, session, operation, nowNs *ast.Term
	id, kind, roles, groups, mfa                               *ast.Term
	class, profile, segment, labels, state                     *ast.Term
	name, protocol, direction, client, tls, attributes         *ast.Term
}{
	ast.StringTerm("phase"), ast.StringTerm("subject"), ast.StringTerm("device"), ast.StringTerm("service"), ast.StringTerm("session"), ast.StringTerm("operation"), ast.StringTerm("now_ns"),
	ast.StringTerm("id"), ast.StringTerm("kind"), ast.StringTerm("roles"), ast.StringTerm("groups"), ast.StringTerm("mfa"),
	ast.StringTerm("class"), ast.StringTerm("profile"), ast.StringTerm("segment"), ast.StringTerm("labels"), ast.StringTerm("state"),
	ast.StringTerm("name"), ast.StringTerm("protocol"), ast.StringTerm("direction"), ast.StringTerm("client"), ast.StringTerm("tls"), ast.StringTerm("attributes"),
}

func labels(m map[string]string) *ast.Term {
	o := ast.NewObjectWithCapacity(len(m))
	for k, v := range m {
		o.Insert(str(k), str(v))
	}
	return ast.NewTerm(o)
}

func attributes(list policy.Attributes) *ast.Term {
	o := ast.NewObjectWithCapacity(len(list))
	for _, a := range list {
		o.Insert(str(a.Name), attribute(a.Value))
	}
	return ast.NewTerm(o)
}

func attribute(v any) *ast.Term {
	switch v := v.(type) {
	case string:
		return str(v)
	case int64:
		return integer(v)
	case []string:
		return strs(v)
	case []int64:
		terms := make([]*ast.Term, len(v))
		for i, n := range v {
			terms[i] = integer(n)
		}
		return ast.ArrayTerm(terms...)
	}
	return ast.NullTerm() // policy.Attribute promises that there is no other type
}

func integer(n int64) *ast.Term { return ast.NumberTerm(json.Number(strconv.FormatInt(n, 10))) }

func strs(list []string) *ast.Term {
	terms := make([]*ast.Term, len(list))
	for i, s := range list {
		terms[i] = str(s)
	}
	return ast.ArrayTerm(terms...)
}

// str makes a string of what JSON would make of s, so that a decision replayed
// from its record sees what the first one saw.
func str(s string) *ast.Term {
	if !utf8.ValidString(s) {
		s = string([]rune(s))
	}
	return ast.StringTerm(s)
}

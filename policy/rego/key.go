package rego

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"cordon/policy"
)

// leaf is one value of a request that a rule can read.
type leaf int

const (
	leafPhase leaf = iota
	leafSubjectID
	leafSubjectKind
	leafSubjectRoles
	leafSubjectGroups
	leafSubjectMFA
	leafDeviceID
	leafDeviceClass
	leafDeviceProfile
	leafDeviceSegment
	leafDeviceLabels // all of them
	leafDeviceState
	leafServiceName
	leafServiceProtocol
	leafSessionID
	leafSessionDirection
	leafSessionClient
	leafSessionTLS
	leafOperationName
	leafOperationClass
	leafOperationAttributes // all of them
	leafNow

	leafLabel     // one, by name
	leafAttribute // one, by name
)

// leafPaths says where each leaf is in the input. A test holds it to the JSON
// form of policy.Request.
var leafPaths = [...]string{
	leafPhase:               "phase",
	leafSubjectID:           "subject.id",
	leafSubjectKind:         "subject.kind",
	leafSubjectRoles:        "subject.roles",
	leafSubjectGroups:       "subject.groups",
	leafSubjectMFA:          "subject.mfa",
	leafDeviceID:            "device.id",
	leafDeviceClass:         "device.class",
	leafDeviceProfile:       "device.profile",
	leafDeviceSegment:       "device.segment",
	leafDeviceLabels:        "device.labels",
	leafDeviceState:         "device.state",
	leafServiceName:         "service.name",
	leafServiceProtocol:     "service.protocol",
	leafSessionID:           "session.id",
	leafSessionDirection:    "session.direction",
	leafSessionClient:       "session.client",
	leafSessionTLS:          "session.tls",
	leafOperationName:       "operation.name",
	leafOperationClass:      "operation.class",
	leafOperationAttributes: "operation.attributes",
	leafNow:                 "now_ns",
}

// part is a leaf, and which one of its entries if it is one by name.
type part struct {
	leaf leaf
	name string
}

// keyPlan is what a decision depends on, in a fixed order: two requests with the
// same key have the same answer, apart from the clock if the rules read it.
type keyPlan struct {
	parts []part
	clock bool // the rules read now_ns, which is never part of a key
}

// planKey turns the paths that rules read into a plan.
func planKey(paths [][]string) keyPlan {
	var plan keyPlan
	for l, at := range leafPaths {
		leafPath := strings.Split(at, ".")
		for _, p := range paths {
			switch {
			case !hasPrefix(leafPath, p) && !hasPrefix(p, leafPath):
			case leaf(l) == leafNow:
				plan.clock = true
			case leaf(l) == leafDeviceLabels && len(p) > len(leafPath):
				plan.add(part{leafLabel, p[len(leafPath)]})
			case leaf(l) == leafOperationAttributes && len(p) > len(leafPath):
				plan.add(part{leafAttribute, p[len(leafPath)]})
			default:
				plan.add(part{leaf: leaf(l)})
			}
		}
	}
	return plan
}

func (k *keyPlan) add(p part) {
	if !slices.Contains(k.parts, p) {
		k.parts = append(k.parts, p)
	}
}

// append adds the key of r to b. Every value carries its length or has a fixed
// one, and absent differs from empty, so different values never share a key.
func (k *keyPlan) append(b []byte, r *policy.Request) []byte {
	for i := range k.parts {
		p := &k.parts[i]
		switch p.leaf {
		case leafPhase:
			b = appendString(b, string(r.Phase))
		case leafSubjectID:
			b = appendString(b, r.Subject.ID)
		case leafSubjectKind:
			b = appendString(b, r.Subject.Kind)
		case leafSubjectRoles:
			b = appendStrings(b, r.Subject.Roles)
		case leafSubjectGroups:
			b = appendStrings(b, r.Subject.Groups)
		case leafSubjectMFA:
			b = appendBool(b, r.Subject.MFA)
		case leafDeviceID:
			b = appendString(b, r.Device.ID)
		case leafDeviceClass:
			b = appendString(b, r.Device.Class)
		case leafDeviceProfile:
			b = appendString(b, r.Device.Profile)
		case leafDeviceSegment:
			b = appendString(b, r.Device.Segment)
		case leafDeviceLabels:
			b = appendLabels(b, r.Device.Labels)
		case leafDeviceState:
			b = appendString(b, r.Device.State)
		case leafServiceName:
			b = appendString(b, r.Service.Name)
		case leafServiceProtocol:
			b = appendString(b, r.Service.Protocol)
		case leafSessionID:
			b = appendString(b, r.Session.ID)
		case leafSessionDirection:
			b = appendString(b, r.Session.Direction)
		case leafSessionClient:
			b = appendString(b, r.Session.Client)
		case leafSessionTLS:
			b = appendString(b, r.Session.TLS)
		case leafOperationName:
			b = appendString(b, r.Operation.Name)
		case leafOperationClass:
			b = appendString(b, string(r.Operation.Class))
		case leafOperationAttributes:
			b = binary.AppendUvarint(b, uint64(len(r.Operation.Attributes)))
			for _, a := range r.Operation.Attributes {
				b = appendValue(appendString(b, a.Name), a.Value)
			}
		case leafLabel:
			v, ok := r.Device.Labels[p.name]
			b = appendString(appendBool(b, ok), v)
		case leafAttribute:
			b = appendValue(b, r.Operation.Attributes.Get(p.name))
		}
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendStrings(b []byte, list []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = appendString(b, s)
	}
	return b
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

func appendLabels(b []byte, m map[string]string) []byte {
	b = binary.AppendUvarint(b, uint64(len(m)))
	switch len(m) {
	case 0:
	case 1: // the usual size, and sorting would allocate
		for k, v := range m {
			b = appendString(appendString(b, k), v)
		}
	default:
		for _, k := range slices.Sorted(maps.Keys(m)) {
			b = appendString(appendString(b, k), m[k])
		}
	}
	return b
}

// appendValue adds an attribute's value behind a letter for its type.
func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, '-')
	case string:
		return appendString(append(b, 's'), v)
	case int64:
		return binary.BigEndian.AppendUint64(append(b, 'i'), uint64(v))
	case []string:
		return appendStrings(append(b, 'S'), v)
	case []int64:
		b = binary.AppendUvarint(append(b, 'I'), uint64(len(v)))
		for _, n := range v {
			b = binary.BigEndian.AppendUint64(b, uint64(n))
		}
		return b
	}
	return append(b, '?') // the rules see null, whatever it is
}

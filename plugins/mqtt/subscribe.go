package mqtt

import (
	"slices"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// Bounds of one SUBSCRIBE or UNSUBSCRIBE: what policy can be told of.
const (
	maxFilters     = 256
	maxFilterBytes = 12 << 10
	maxLapsed      = 16

	// Each filter is compared with the topic of each message, of which some hundred can be
	// looked at in one call.
	maxAverage = 64 // bytes of a filter, if there are as many as there may be
)

// filters are those of one SUBSCRIBE or UNSUBSCRIBE.
type filters struct {
	id     uint16
	list   []string // without the group of a shared subscription
	groups []string // of each, "" for none; nil if none is shared
	qos    []int64  // of each, of a SUBSCRIBE
	bytes  int
	quirks anomaly
}

// readFilters reads a SUBSCRIBE or an UNSUBSCRIBE behind its fixed header (3.8, 3.10).
func (s *session) readFilters(kind byte, b []byte) (*filters, *fault) {
	r := reader{b: b}
	f := &filters{id: r.identifier()}
	if s.client.level == level5 {
		r.properties(kind)
	}
	if r.wrong == nil && len(r.b) == 0 {
		return nil, noFilter
	}
	shared := false
	for r.wrong == nil && len(r.b) > 0 {
		raw := r.text()
		options := byte(0)
		if kind == subscribe {
			options = r.number8()
		}
		if f.bytes += 4 + len(raw); len(raw) > maxTopic || f.bytes > maxFilterBytes || len(f.list) == maxFilters {
			return nil, manyFilters
		}
		group, filter, ok := splitShare(string(raw))
		switch {
		case r.wrong != nil:
		case !ok || !isFilter(filter):
			r.wrong = wrongFilter
		case kind == subscribe:
			r.wrong = s.checkOptions(options, group != "")
		}
		f.list = append(f.list, filter)
		f.groups = append(f.groups, group)
		f.qos = append(f.qos, int64(options&3))
		shared = shared || group != ""
	}
	if !shared {
		f.groups = nil
	}
	f.quirks = r.quirks
	return f, r.wrong
}

// checkOptions checks the options of one filter (3.8.3.1): QoS(2 bits), in MQTT 5 no local,
// retain as published, retain handling(2).
func (s *session) checkOptions(options byte, shared bool) *fault {
	if options&3 == 3 {
		return wrongQoS
	}
	if s.client.level == level4 {
		if options > 2 {
			return wrongFlags
		}
		return nil
	}
	if options&0xc0 != 0 || options>>4&3 == 3 || options&4 != 0 && shared {
		return wrongFlags
	}
	return nil
}

// operation is a SUBSCRIBE or UNSUBSCRIBE as policy is asked about it.
func (f *filters) operation(c *client, kind byte) policy.Operation {
	op := policy.Operation{Name: "mqtt:" + packetNames[kind], Class: policy.ClassSession, Attributes: c.facts(6)}
	op.Attributes.Set("filters", f.list)
	if f.groups != nil {
		op.Attributes.Set("share_groups", f.groups)
	}
	if kind == unsubscribe {
		return op
	}
	op.Class = policy.ClassRead
	op.Attributes.Set("qos", f.qos)
	var wild []string
	for _, filter := range f.list {
		if hasWildcard(filter) {
			wild = append(wild, filter)
		}
		if filter[0] == '$' {
			op.Class = policy.ClassAdmin
		}
	}
	if wild != nil {
		op.Attributes.Set("wildcards", wild)
	}
	return op
}

// subscription is a filter that was allowed, as far as is known.
type subscription struct {
	filter  string
	group   string
	op      sdk.OpID
	granted bool // by the broker
}

// subscriptions are a client's.
type subscriptions struct {
	list   []subscription
	lapsed []string // the latest filters that ended: the broker may still deliver (3.10.4)
}

// room reports whether there is room for more filters, up to max of them.
func (l *subscriptions) room(f *filters, max int) bool {
	bytes := f.bytes
	for i := range l.list {
		bytes += len(l.list[i].filter)
	}
	return len(l.list)+len(f.list) <= max && bytes <= max*maxAverage+maxFilterBytes
}

// add puts down filters that the broker is yet to grant.
func (l *subscriptions) add(f *filters, op sdk.OpID) {
	for i, filter := range f.list {
		group := ""
		if f.groups != nil {
			group = f.groups[i]
		}
		l.list = append(l.list, subscription{filter: filter, group: group, op: op})
	}
}

// drop takes back what op asked for.
func (l *subscriptions) drop(op sdk.OpID) {
	l.list = slices.DeleteFunc(l.list, func(s subscription) bool { return s.op == op })
}

// answered takes the reason codes of a SUBACK. They are in the order of the filters.
func (l *subscriptions) answered(op sdk.OpID, codes []byte) {
	var granted []subscription
	l.list = slices.DeleteFunc(l.list, func(s subscription) bool {
		if s.op != op || s.granted || len(codes) == 0 {
			return false
		}
		if s.granted = codes[0] < 0x80; s.granted {
			granted = append(granted, s)
		}
		codes = codes[1:]
		return true
	})
	for _, s := range granted { // each takes the place of one there was (3.8.4)
		l.list = slices.DeleteFunc(l.list, func(o subscription) bool {
			return o.filter == s.filter && o.group == s.group && o.op <= s.op
		})
		l.list = append(l.list, s)
	}
}

// ended takes an UNSUBACK of the operation op.
func (l *subscriptions) ended(op sdk.OpID, f *filters, codes []byte) {
	for i, filter := range f.list {
		if codes != nil && codes[i] >= 0x80 {
			continue
		}
		group := ""
		if f.groups != nil {
			group = f.groups[i]
		}
		before := len(l.list)
		l.list = slices.DeleteFunc(l.list, func(s subscription) bool {
			return s.granted && s.filter == filter && s.group == group && s.op < op
		})
		if len(l.list) < before {
			l.lapsed = append(l.lapsed, filter)
		}
	}
	if n := len(l.lapsed) - maxLapsed; n > 0 {
		l.lapsed = slices.Delete(l.lapsed, 0, n)
	}
}

// cover reports whether the client was allowed what is delivered. Filters the broker has
// not granted count only if it has no older ones of the client's: else it may deliver for
// those, and the decision about these may be still to come.
func (l *subscriptions) cover(name string, resumed bool) bool {
	for i := range l.list {
		if s := &l.list[i]; (s.granted || !resumed) && matches(s.filter, name) {
			return true
		}
	}
	return slices.ContainsFunc(l.lapsed, func(filter string) bool { return matches(filter, name) })
}

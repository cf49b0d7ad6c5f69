package mqtt

import "strings"

// topic is a topic name (4.7).
type topic struct {
	name   string
	levels []string
	quirks anomaly
}

func newTopic(name string, quirks anomaly) *topic {
	return &topic{name, strings.Split(name, "/"), quirks}
}

// checkName says why no message can be published there. With a topic alias, a few bytes
// stand for a topic and its levels: many such messages must fit into one answer.
func checkName(name string) *fault {
	switch {
	case name == "" || hasWildcard(name):
		return wrongTopic
	case len(name) > maxTopic || strings.Count(name, "/") >= maxLevels:
		return longTopic
	}
	return nil
}

// isFilter reports whether wildcards stand where they may (4.7.1): each is a level of its
// own, # the last one.
func isFilter(filter string) bool {
	if filter == "" {
		return false
	}
	for rest, more := filter, true; more; {
		var level string
		level, rest, more = strings.Cut(rest, "/")
		if len(level) > 1 && strings.ContainsAny(level, "+#") || level == "#" && more {
			return false
		}
	}
	return true
}

func hasWildcard(filter string) bool { return strings.ContainsAny(filter, "+#") }

// matches reports whether a filter matches a topic name (4.7.1, 4.7.2).
func matches(filter, name string) bool {
	if strings.HasPrefix(name, "$") && (filter[0] == '+' || filter[0] == '#') {
		return false
	}
	for f := range len(filter) {
		switch c := filter[f]; {
		case c == '#':
			return true
		case c == '+':
			if level := strings.IndexByte(name, '/'); level >= 0 {
				name = name[level:]
			} else {
				name = ""
			}
		case name == "":
			return filter[f:] == "/#" // "a/#" matches its parent "a" as well
		case name[0] != c:
			return false
		default:
			name = name[1:]
		}
	}
	return name == ""
}

// covers reports whether a filter matches all that another does.
func covers(filter, other string) bool {
	if parent, all := strings.CutSuffix(other, "/#"); all {
		return matches(filter, parent) && matches(filter, other+"/#") // as names of levels like any
	}
	return matches(filter, other) && (other != "#" || matches(filter, "#/#"))
}

// splitShare takes a shared subscription apart (4.8.2): $share/group/filter. A filter of
// another kind has no group.
func splitShare(filter string) (group, rest string, ok bool) {
	shared, is := strings.CutPrefix(filter, "$share/")
	if !is {
		return "", filter, true
	}
	group, rest, _ = strings.Cut(shared, "/")
	return group, rest, group != "" && !hasWildcard(group)
}

# MQTT by topic: biomedical engineering sets pumps, which the default policy lets it read
# only. covered says whether a filter covers another or a topic, as MQTT matches them.
package cordon

allow if {
	input.phase == "operation"
	in_use
	unpatched
	"biomed" in roles
	input.operation.name == "mqtt:PUBLISH"
	input.session.direction == "inbound"
	not retained
	covered("pump/+/set", input.operation.attributes.topic)
}

# Every topic that narrow matches, which is a topic or a filter, wide matches.
covered(wide, narrow) if {
	w := split(wide, "/")
	n := split(narrow, "/")
	deep_enough(w, n)
	every i, level in w {
		level_covered(level, n, i)
	}
	not broker_only(wide, narrow)
}

deep_enough(w, n) if count(w) == count(n)

deep_enough(w, n) if {
	w[count(w) - 1] == "#"
	count(n) >= count(w) - 1
}

level_covered("#", _, _)

level_covered("+", n, i) if n[i] != "#"

level_covered(level, n, i) if n[i] == level

# Wildcards at the beginning do not match the broker's own topics.
broker_only(wide, narrow) if {
	startswith(narrow, "$")
	not startswith(wide, "$")
}

package topics_test

import data.cordon

test_covered if {
	every pair in [
		["#", "a"], ["#", "a/b"], ["#", "+/b"], ["#", "#"], ["+", "a"], ["+", "+"], ["a/#", "a"], ["a/#", "a/b/c"], ["a/#", "a/+"], ["a/#", "a/#"],
		["+/+", "a/b"], ["+/+", "+/b"], ["a/+/c", "a/b/c"], ["a/+/c", "a/+/c"], ["/+", "/a"], ["+/", "a/"], ["$SYS/#", "$SYS/broker"],
	] {
		cordon.covered(pair[0], pair[1])
	}
}

test_not_covered if {
	every pair in [
		["a", "b"], ["a", "a/b"], ["a/b", "a"], ["+", "a/b"], ["+", "#"], ["a/+", "a/#"], ["a/+", "a"], ["a/#", "b"], ["a/#", "#"], ["a/b", "a/+"],
		["+/b", "#"], ["/a", "a"], ["+", "/a"], ["#", "$SYS/broker"], ["+/broker", "$SYS/broker"], ["a/#", "+/b"], ["+", "$SYS"],
	] {
		not cordon.covered(pair[0], pair[1])
	}
}

publishing(role, topic, retain) := {
	"phase": "operation",
	"subject": {"id": "someone", "kind": "user", "roles": [role], "groups": [], "mfa": false},
	"device": {"id": "broker-1", "class": "pump/infusion", "profile": "", "segment": "", "labels": {}, "state": "active"},
	"service": {"name": "mqtt", "protocol": "mqtt"},
	"session": {"id": "s1", "direction": "inbound", "client": "10.1.2.3", "tls": "1.3"},
	"operation": {"name": "mqtt:PUBLISH", "class": "write", "attributes": {"topic": topic, "retain": retain}},
	"now_ns": 1,
}

test_setting if {
	cordon.allow with input as publishing("biomed", "pump/3/set", 0)
	not cordon.allow with input as publishing("biomed", "pump/3/set", 1)
	not cordon.allow with input as publishing("biomed", "pump/3/result", 0)
	not cordon.allow with input as publishing("biomed", "pump/3/4/set", 0)
	not cordon.allow with input as publishing("nurse", "pump/3/set", 0)
	not cordon.allow with input as object.union(publishing("biomed", "pump/3/set", 0), {"device": {"state": "quarantined"}})
}

package setpoint_test

import data.cordon

setting(role, address, values) := {
	"phase": "operation",
	"subject": {"id": "someone", "kind": "user", "roles": [role], "groups": [], "mfa": false},
	"device": {"id": "rack-1", "class": "pump/infusion", "profile": "", "segment": "", "labels": {}, "state": "active"},
	"service": {"name": "modbus", "protocol": "modbus"},
	"session": {"id": "s1", "direction": "inbound", "client": "10.1.2.3", "tls": "1.3"},
	"operation": {"name": "modbus:write_multiple_registers", "class": "write", "attributes": {
		"table": "holding_registers", "address": address, "address_end": (address + count(values)) - 1, "values": values,
	}},
	"now_ns": 1,
}

test_within_limits if {
	every value in [180, 200, 240] {
		cordon.allow with input as setting("biomed", 11, [value])
	}
}

test_beyond_limits if {
	every value in [0, 179, 241, 65535] {
		not cordon.allow with input as setting("biomed", 11, [value])
		"modbus:illegal-data-value" in cordon.obligations with input as setting("biomed", 11, [value])
	}
}

test_other_registers if {
	not cordon.allow with input as setting("biomed", 10, [200])
	not cordon.allow with input as setting("biomed", 11, [200, 200])
	not cordon.allow with input as setting("biomed", 10, [200, 200])
}

test_other_roles if {
	not cordon.allow with input as setting("nurse", 11, [200])
}

test_not_in_quarantine if {
	not cordon.allow with input as object.union(setting("biomed", 11, [200]), {"device": {"state": "quarantined"}})
}

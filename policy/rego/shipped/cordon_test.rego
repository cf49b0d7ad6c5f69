package cordon_test

import data.cordon

# What every role is permitted on a class of device: classes of operation, and services of
# DICOM. A change of data.yaml is a change here too: that is the point.
expected := {
	"radiologist imaging/ct": {"session", "read", "query", "write", "find", "move", "get", "store", "commit", "print"},
	"radiologist monitor/bedside": {"session", "read", "query", "write"},
	"physician imaging/ct": {"session", "read", "query", "write", "find", "move", "get", "print"},
	"physician monitor/bedside": {"session", "read", "query", "write"},
	"nurse monitor/bedside": {"session", "read", "query", "notify"},
	"interface-engine monitor/bedside": {"session", "read", "query", "write", "notify"},
	"interface-engine analyser/blood-gas": {"session", "read", "query", "write", "notify"},
	"biomed imaging/ct": {"session", "read", "query", "find"},
	"biomed monitor/bedside": {"session", "read", "query"},
	"biomed analyser/blood-gas": {"session", "read", "query"},
	"biomed pump/infusion": {"session", "read", "query"},
	"device imaging/ct": {"session", "query", "write", "find", "worklist", "store", "commit", "mpps", "print"},
	"device monitor/bedside": {"session", "write", "notify"},
	"device analyser/blood-gas": {"session", "query", "write", "notify"},
}

# What comes on top in maintenance.
expected_in_maintenance := {
	"biomed imaging/ct": {"control", "admin"},
	"biomed monitor/bedside": {"control", "admin"},
	"biomed analyser/blood-gas": {"control", "admin"},
	"biomed pump/infusion": {"control", "admin"},
	"vendor imaging/ct": {"session", "read", "query", "control", "admin", "find"},
	"vendor monitor/bedside": {"session", "read", "query", "control", "admin"},
	"vendor analyser/blood-gas": {"session", "read", "query", "control", "admin"},
	"vendor pump/infusion": {"session", "read", "query", "control", "admin"},
}

expectation(role, device_class, "active") := object.get(expected, row(role, device_class), set())

expectation(role, device_class, "maintenance") := object.get(expected, row(role, device_class), set()) | object.get(expected_in_maintenance, row(role, device_class), set())

row(role, device_class) := sprintf("%s %s", [role, device_class])

kinds := {
	"radiologist": "user",
	"physician": "user",
	"nurse": "user",
	"biomed": "user",
	"interface-engine": "service",
	"vendor": "vendor",
	"device": "device",
}

device_classes := {"imaging/ct", "monitor/bedside", "analyser/blood-gas", "pump/infusion"}

operation_classes := {"session", "read", "query", "write", "control", "admin", "notify", "unknown", ""}

asked(phase, kind, roles, device_class, state, operation_class) := {
	"phase": phase,
	"subject": {"id": "someone", "kind": kind, "roles": roles, "groups": [], "mfa": false},
	"device": {"id": "dev-1", "class": device_class, "segment": "", "labels": {}, "state": state},
	"service": {"name": "results", "protocol": "hl7"},
	"session": {"id": "s1", "direction": "inbound", "client": "10.1.2.3", "tls": "1.3"},
	"operation": {"name": "hl7:ORU^R01", "class": operation_class, "attributes": {}},
	"now_ns": 1,
}

operation(role, device_class, state, operation_class) := asked("operation", kinds[role], [role], device_class, state, operation_class)

session(role, device_class, state) := asked("connect", kinds[role], [role], device_class, state, "")

passed(role, device_class, state) := {operation_class |
	some operation_class in operation_classes
	cordon.allow with input as operation(role, device_class, state, operation_class)
}

test_operations if {
	every role, _ in kinds {
		every device_class in device_classes {
			every state in {"active", "maintenance"} {
				passed(role, device_class, state) == expectation(role, device_class, state) & operation_classes
			}
		}
	}
}

test_sessions if {
	every role, _ in kinds {
		every device_class in device_classes {
			every state in {"active", "maintenance"} {
				opens(role, device_class, state) == (count(expectation(role, device_class, state)) > 0)
			}
		}
	}
}

opens(role, device_class, state) := answer if {
	answer := cordon.allow with input as session(role, device_class, state)
}

test_quarantine_refuses_all if {
	every state in ["quarantined", "", "unheard-of"] {
		every role, _ in kinds {
			passed(role, "monitor/bedside", state) == set()
			not opens(role, "monitor/bedside", state)
		}
	}
}

# What an analyser sends on a client's session is the client's to read.
test_outbound if {
	every protocol, sendable in {
		"astm": {"session", "query", "read", "write", "notify"},
		"mqtt": {"session", "query", "read", "write", "notify"},
		"poct1a": {"session", "query", "read", "write", "notify"},
		"hl7": {"session"},
		"stream": {"session"},
	} {
		every operation_class in operation_classes {
			sent(protocol, "interface-engine", operation_class) == (operation_class in sendable)
			not sent(protocol, "nurse", operation_class)
		}
	}
}

sent(protocol, role, operation_class) := answer if {
	answer := cordon.allow with input as object.union(
		operation(role, "analyser/blood-gas", "active", operation_class),
		{"session": {"direction": "outbound"}, "service": {"protocol": protocol}},
	)
}

# What a device calls out to do is in its own table; another device's call is not its own.
test_calling_out if {
	every operation_class in operation_classes {
		called("dev-1", "monitor/bedside", "hl7", operation_class) == (operation_class in expected["device monitor/bedside"])
		called("dev-1", "analyser/blood-gas", "astm", operation_class) == (operation_class in expected["device analyser/blood-gas"])
		called("dev-1", "pump/infusion", "hl7", operation_class) == false
		called("dev-2", "monitor/bedside", "hl7", operation_class) == (operation_class == "session")
	}
	namesake := object.union(operation("interface-engine", "analyser/blood-gas", "active", "write"), {"subject": {"id": "dev-1"}, "session": {"direction": "outbound"}})
	not cordon.allow with input as namesake
}

called(id, device_class, protocol, operation_class) := answer if {
	answer := cordon.allow with input as object.union(
		operation("device", device_class, "active", operation_class),
		{"subject": {"id": id}, "session": {"direction": "outbound"}, "service": {"protocol": protocol}},
	)
}

# A role of another kind of subject does not count.
test_kinds if {
	every role, right in kinds {
		every kind in {"user", "service", "vendor", "device", ""} - {right} {
			every operation_class in {"session", "read", "query", "write", "admin"} {
				not cordon.allow with input as asked("operation", kind, [role], "monitor/bedside", "maintenance", operation_class)
			}
			not cordon.allow with input as asked("connect", kind, [role], "monitor/bedside", "maintenance", "")
		}
	}
}

test_unknown_roles_are_refused if {
	not cordon.allow with input as asked("operation", "user", ["janitor"], "monitor/bedside", "active", "read")
	not cordon.allow with input as asked("operation", "user", [], "monitor/bedside", "active", "read")
	not cordon.allow with input as asked("connect", "user", ["janitor"], "monitor/bedside", "active", "")
}

test_any_role_suffices if {
	cordon.allow with input as asked("operation", "user", ["janitor", "nurse", "radiologist"], "monitor/bedside", "active", "write")
	cordon.allow with input as asked("operation", "user", ["nurse", "radiologist"], "monitor/bedside", "active", "notify")
}

# The phases are not mixed up: a session is no operation.
test_phases if {
	not cordon.allow with input as asked("connect", "user", ["nurse"], "other/thing", "active", "query")
	not cordon.allow with input as asked("operation", "user", ["nurse"], "monitor/bedside", "active", "")
	not cordon.allow with input as asked("", "user", ["nurse"], "monitor/bedside", "active", "query")
	not cordon.allow with input as asked("", "user", ["nurse"], "monitor/bedside", "active", "session")
	not cordon.allow with input as asked("", "vendor", ["vendor"], "monitor/bedside", "maintenance", "admin")
	not cordon.allow with input as asked("connect", "vendor", ["vendor"], "monitor/bedside", "active", "")
}

# "monitor/*" is every class below monitor and monitor itself, but not monitoring.
test_device_classes if {
	cordon.allow with input as operation("nurse", "monitor", "active", "read")
	cordon.allow with input as operation("nurse", "monitor/bedside/icu", "active", "read")
	not cordon.allow with input as operation("nurse", "monitoring/bedside", "active", "read")
	not cordon.allow with input as operation("nurse", "", "active", "read")
}

# A table that names a class in full, or the class unknown.
test_tables if {
	one := {"nurse": {"pump/infusion": ["control", "unknown"]}}
	cordon.allow with input as operation("nurse", "pump/infusion", "active", "control") with data.roles as one
	not cordon.allow with input as operation("nurse", "pump/syringe", "active", "control") with data.roles as one
	not cordon.allow with input as operation("nurse", "pump/infusion", "active", "unknown") with data.roles as one
	not cordon.allow with input as operation("nurse", "pump/infusion", "maintenance", "unknown") with data.maintenance as one
}

# A maintenance entry for one kind of device says nothing about another.
test_maintenance_tables if {
	pumps := {"vendor": {"pump/*": ["admin"]}}
	cordon.allow with input as operation("vendor", "pump/infusion", "maintenance", "admin") with data.maintenance as pumps
	cordon.allow with input as session("vendor", "pump/infusion", "maintenance") with data.maintenance as pumps
	not cordon.allow with input as operation("vendor", "imaging/ct", "maintenance", "admin") with data.maintenance as pumps
	not cordon.allow with input as session("vendor", "imaging/ct", "maintenance") with data.maintenance as pumps
}

test_reason_quarantined if {
	cordon.reason == "device dev-1 is quarantined" with input as operation("nurse", "monitor/bedside", "quarantined", "read")
}

test_reason_unknown if {
	cordon.reason == "hl7:ORU^R01 is of no known class of operation" with input as operation("nurse", "monitor/bedside", "active", "unknown")
}

test_reason_kind if {
	cordon.reason == "a service cannot act in role nurse" with input as asked("operation", "service", ["nurse"], "monitor/bedside", "active", "read")
}

test_reason_no_role if {
	cordon.reason == "a user cannot act in role none" with input as asked("connect", "user", [], "monitor/bedside", "active", "")
}

test_reason_device if {
	cordon.reason == "nothing on other/thing is permitted for role nurse" with input as operation("nurse", "other/thing", "active", "read")
}

test_reason_class if {
	cordon.reason == "write on monitor/bedside is not permitted for role nurse" with input as operation("nurse", "monitor/bedside", "active", "write")
}

test_reason_roles if {
	cordon.reason == "control on monitor/bedside is not permitted for role nurse, physician" with input as asked("operation", "user", ["nurse", "physician"], "monitor/bedside", "active", "control")
}

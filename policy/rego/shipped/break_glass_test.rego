package cordon_test

import data.cordon

# What is open for somebody in these tests, and until when.
opened := {"user/someone": {"E-1": {"device": "dev-1", "until_ns": 100}}}

nobody(device_class, state, operation_class) := asked("operation", "user", [], device_class, state, operation_class)

without_roles(service) := object.union(imaging("nurse", "active", service), {"subject": {"roles": []}})

# Every role on every class of device may then do what care needs, and nothing else besides what it may anyway.
test_break_glass_is_clinical if {
	every role, kind in kinds {
		every device_class in device_classes {
			clinical := {"session", "read", "query", "write", "notify"}
			emergency := {sprintf("%s/someone", [kind]): {"E-1": {"device": "dev-1", "until_ns": 100}}}
			answers := {operation_class |
				some operation_class in operation_classes
				cordon.allow with input as operation(role, device_class, "active", operation_class) with data.access.emergencies as emergency
			}
			answers == (expectation(role, device_class, "active") & operation_classes) | clinical
		}
	}
}

test_break_glass_without_roles if {
	every operation_class in ["session", "read", "query", "write", "notify"] {
		question := nobody("imaging/ct", "active", operation_class)
		cordon.allow with input as question with data.access.emergencies as opened
		cordon.rule == "break-glass E-1" with input as question with data.access.emergencies as opened
		cordon.valid_until == 100 with input as question with data.access.emergencies as opened
		cordon.obligations == {"emergency-override"} with input as question with data.access.emergencies as opened
		not cordon.allow with input as question with data.access.emergencies as {}
	}
	connect := asked("connect", "user", [], "imaging/ct", "active", "")
	cordon.allow with input as connect with data.access.emergencies as opened
	cordon.rule == "break-glass E-1" with input as connect with data.access.emergencies as opened
	cordon.valid_until == 100 with input as connect with data.access.emergencies as opened
	not cordon.allow with input as connect with data.access.emergencies as {}
}

test_break_glass_is_of_one_subject_on_one_device if {
	read := nobody("imaging/ct", "active", "read")
	every changed in [{"subject": {"id": "somebody"}}, {"subject": {"kind": "service"}}, {"device": {"id": "dev-2"}}] {
		every question in [object.union(read, changed), object.union(asked("connect", "user", [], "imaging/ct", "active", ""), changed)] {
			not cordon.allow with input as question with data.access.emergencies as opened
			not cordon.rule with input as question with data.access.emergencies as opened
		}
	}
}

test_break_glass_overrides_nothing_else if {
	every state in ["quarantined", "", "unheard-of"] {
		not cordon.allow with input as nobody("imaging/ct", state, "read") with data.access.emergencies as opened
		not cordon.allow with input as nobody("imaging/ct", state, "session") with data.access.emergencies as opened
		not cordon.allow with input as asked("connect", "user", [], "imaging/ct", state, "") with data.access.emergencies as opened
	}
	pump := object.union(nobody("pump/infusion", "active", "write"), {"device": {"profile": "bbraun-spacecom"}})
	not cordon.allow with input as pump with data.access.emergencies as opened
	cordon.rule == "spacecom-configuration" with input as pump with data.access.emergencies as opened
	every operation_class in ["read", "session"] {
		not cordon.allow with input as object.union(nobody("imaging/ct", "active", operation_class), {"phase": ""}) with data.access.emergencies as opened
	}
	every operation_class in ["control", "admin"] {
		question := nobody("imaging/ct", "active", operation_class)
		not cordon.allow with input as question with data.access.emergencies as opened
		not cordon.obligations["emergency-override"] with input as question with data.access.emergencies as opened
		cordon.reason == sprintf("break-glass E-1 is for clinical operations, not %s", [operation_class]) with input as question with data.access.emergencies as opened
		cordon.reason == "a user cannot act in role none" with input as question with data.access.emergencies as {}
	}
	# What the inspector cannot name, and what would then be a read.
	image := object.union(without_roles("image of a get"), {"operation": {"class": "unknown"}})
	not cordon.allow with input as image with data.access.emergencies as opened
}

# What is permitted anyway is not recorded as break-glass, and does not end with it.
test_break_glass_where_it_is_needed if {
	every question in [
		session("nurse", "monitor/bedside", "active"),
		operation("nurse", "monitor/bedside", "active", "session"),
		operation("nurse", "monitor/bedside", "active", "read"),
	] {
		cordon.allow with input as question with data.access.emergencies as opened with data.roles as few
		not cordon.rule with input as question with data.access.emergencies as opened with data.roles as few
		not cordon.valid_until with input as question with data.access.emergencies as opened with data.roles as few
		cordon.obligations == set() with input as question with data.access.emergencies as opened with data.roles as few
	}
	cordon.rule == "break-glass E-1" with input as operation("nurse", "monitor/bedside", "active", "write") with data.access.emergencies as opened with data.roles as few
	two := {"user/someone": {"E-1": {"device": "dev-1", "until_ns": 100}, "E-2": {"device": "dev-1", "until_ns": 300}, "E-3": {"device": "dev-2", "until_ns": 400}}}
	cordon.rule == "break-glass E-1, E-2" with input as nobody("imaging/ct", "active", "read") with data.access.emergencies as two
	cordon.valid_until == 300 with input as nobody("imaging/ct", "active", "read") with data.access.emergencies as two
	cordon.reason == "break-glass E-1, E-2 is for clinical operations, not admin" with input as nobody("imaging/ct", "active", "admin") with data.access.emergencies as two
}

# A grant goes first.
test_break_glass_beside_a_grant if {
	both := {"grants": {"user/someone": {"G-1": {"device": "dev-1", "device_class": "", "classes": ["read", "control"], "until_ns": 50}}}, "emergencies": opened}
	every operation_class in ["session", "read", "control"] {
		cordon.rule == "grant G-1" with input as nobody("imaging/ct", "active", operation_class) with data.access as both
		cordon.valid_until == 50 with input as nobody("imaging/ct", "active", operation_class) with data.access as both
	}
	cordon.rule == "break-glass E-1" with input as nobody("imaging/ct", "active", "write") with data.access as both
	cordon.rule == "grant G-1" with input as asked("connect", "user", [], "imaging/ct", "active", "") with data.access as both
	# It is not good for another's AE title.
	cordon.rule == "break-glass E-1" with input as without_roles("association") with data.access as both with data.ae_titles as {}
	cordon.valid_until == 100 with input as without_roles("association") with data.access as both with data.ae_titles as {}
	cordon.rule == "grant G-1" with input as without_roles("association") with data.access as both with data.ae_titles as titles
}

# Any workstation will do; images go where they may, and what cannot be read goes nowhere.
test_break_glass_over_dicom if {
	every service in ["association", "echo", "find", "worklist", "get", "image of a get", "store", "commit", "mpps", "print"] {
		cordon.allow with input as without_roles(service) with data.access.emergencies as opened with data.ae_titles as {}
		cordon.rule == "break-glass E-1" with input as without_roles(service) with data.access.emergencies as opened with data.ae_titles as {}
	}
	cordon.allow with input as without_roles("move") with data.access.emergencies as opened with data.ae_titles as titles
	not cordon.allow with input as without_roles("move") with data.access.emergencies as opened with data.ae_titles as {}
	cordon.reason == `move destination "MINE" is neither bound to user/someone nor listed for dev-1` with input as without_roles("move")
		with data.access.emergencies as opened with data.ae_titles as {}
	cordon.reason == "a user cannot act in role none" with input as without_roles("move") with data.access.emergencies as {} with data.ae_titles as {}
	cordon.reason == "break-glass E-1 is for clinical operations, not admin" with input as without_roles("delete") with data.access.emergencies as opened
	not cordon.allow with input as without_roles("delete") with data.access.emergencies as opened with data.ae_titles as titles
	not cordon.allow with input as without_roles("get of another kind") with data.access.emergencies as opened with data.ae_titles as titles
	unread := object.union(without_roles("store"), {"operation": {"attributes": {"anomalies": ["head_unreadable"]}}})
	not cordon.allow with input as unread with data.access.emergencies as opened with data.ae_titles as titles
	# A role that may open an association, under a title that is not its own.
	cordon.rule == "break-glass E-1" with input as imaging("physician", "active", "association") with data.access.emergencies as opened with data.ae_titles as {} with data.roles as {"physician": {"imaging/ct": ["read"]}}
	not cordon.rule with input as imaging("physician", "active", "association") with data.access.emergencies as opened with data.ae_titles as titles with data.roles as {"physician": {"imaging/ct": ["read"]}}
}

# What a device that learns permits anyway is seen as that.
test_break_glass_beside_learning if {
	both := {"learning": {"dev-1": 500}, "emergencies": opened}
	learns := operation("nurse", "monitor/bedside", "learning", "write")
	cordon.rule == "learning" with input as learns with data.access as both with data.roles as few
	cordon.valid_until == 500 with input as learns with data.access as both with data.roles as few
	cordon.obligations == set() with input as learns with data.access as both with data.roles as few
	cordon.rule == "break-glass E-1" with input as learns with data.access.emergencies as opened with data.roles as few
	cordon.rule == "break-glass E-1" with input as nobody("monitor/bedside", "learning", "write") with data.access as both
}

package cordon_test

import data.cordon

# What vendor/someone is granted in these tests, and until when.
granted := {"vendor/someone": {
	"G-1": {"device": "dev-1", "device_class": "", "classes": ["read", "query"], "until_ns": 100},
	"G-2": {"device": "", "device_class": "pump/*", "classes": ["control"], "until_ns": 200},
}}

vendor(device_class, state, operation_class) := operation("vendor", device_class, state, operation_class)

test_grant_permits_its_classes if {
	every operation_class in operation_classes {
		works("imaging/ct", operation_class) == (operation_class in {"session", "read", "query"})
		works("pump/infusion", operation_class) == (operation_class in {"session", "read", "query", "control"})
	}
}

works(device_class, operation_class) := answer if {
	answer := cordon.allow with input as vendor(device_class, "active", operation_class) with data.access.grants as granted
}

test_grant_opens_a_session if {
	cordon.allow with input as session("vendor", "imaging/ct", "active") with data.access.grants as granted
	cordon.rule == "grant G-1" with input as session("vendor", "imaging/ct", "active") with data.access.grants as granted
	cordon.valid_until == 100 with input as session("vendor", "imaging/ct", "active") with data.access.grants as granted
	cordon.valid_until == 200 with input as session("vendor", "pump/infusion", "active") with data.access.grants as granted
	cordon.rule == "grant G-1, G-2" with input as vendor("pump/infusion", "active", "session") with data.access.grants as granted
	not cordon.allow with input as session("vendor", "imaging/ct", "active") with data.access.grants as {}
}

test_grant_is_of_one_subject_and_its_devices if {
	read := vendor("imaging/ct", "active", "read")
	every changed in [{"subject": {"id": "somebody"}}, {"subject": {"kind": "user"}}, {"device": {"id": "dev-2"}}] {
		not cordon.allow with input as object.union(read, changed) with data.access.grants as granted
	}
	other := object.union(vendor("pump/infusion", "active", "control"), {"device": {"id": "dev-2"}})
	cordon.allow with input as other with data.access.grants as granted
	not cordon.allow with input as object.union(other, {"device": {"class": "pumps/infusion"}}) with data.access.grants as granted
}

# Roles do not matter to it, and their absence neither.
test_grant_without_roles if {
	nobody := object.union(vendor("imaging/ct", "active", "read"), {"subject": {"roles": []}})
	cordon.allow with input as nobody with data.access.grants as granted
	cordon.allow with input as object.union(nobody, {"phase": "connect", "operation": {"name": "", "class": ""}}) with data.access.grants as granted
	cordon.reason == "G-1 is for other operations than write" with input as object.union(nobody, {"operation": {"class": "write"}}) with data.access.grants as granted
}

test_grant_ends_with_the_last_that_is_used if {
	twice := object.union(granted, {"vendor/someone": {"G-3": {"device": "dev-1", "device_class": "", "classes": ["read"], "until_ns": 50}}})
	cordon.valid_until == 100 with input as vendor("imaging/ct", "active", "read") with data.access.grants as twice
	cordon.rule == "grant G-1, G-3" with input as vendor("imaging/ct", "active", "read") with data.access.grants as twice
	cordon.rule == "grant G-1" with input as vendor("imaging/ct", "active", "query") with data.access.grants as twice
}

# Tables of these tests, so that a site may change its own.
few := {"nurse": {"monitor/*": ["read", "query", "notify"]}}

# What is permitted anyway does not end with a grant.
test_grant_beside_a_role if {
	also := {"user/someone": {"G-1": {"device": "dev-1", "device_class": "", "classes": ["read", "write"], "until_ns": 100}}}
	every operation_class in ["session", "read"] {
		cordon.allow with input as operation("nurse", "monitor/bedside", "active", operation_class) with data.access.grants as also with data.roles as few
		not cordon.valid_until with input as operation("nurse", "monitor/bedside", "active", operation_class) with data.access.grants as also with data.roles as few
		not cordon.rule with input as operation("nurse", "monitor/bedside", "active", operation_class) with data.access.grants as also with data.roles as few
	}
	not cordon.valid_until with input as session("nurse", "monitor/bedside", "active") with data.access.grants as also with data.roles as few
	cordon.valid_until == 100 with input as operation("nurse", "monitor/bedside", "active", "write") with data.access.grants as also with data.roles as few
	cordon.valid_until == 100 with input as operation("nurse", "pump/infusion", "active", "read") with data.access.grants as also with data.roles as few
	cordon.valid_until == 100 with input as operation("nurse", "pump/infusion", "active", "session") with data.access.grants as also with data.roles as few
	cordon.valid_until == 100 with input as session("nurse", "pump/infusion", "active") with data.access.grants as also with data.roles as few
	cordon.reason == "control on monitor/bedside is not permitted for role nurse" with input as operation("nurse", "monitor/bedside", "active", "control") with data.roles as few
}

# In maintenance a vendor's own table holds, without an end; out of it, the grant.
test_grant_beside_maintenance if {
	not cordon.valid_until with input as vendor("imaging/ct", "maintenance", "read") with data.access.grants as granted
	not cordon.valid_until with input as session("vendor", "imaging/ct", "maintenance") with data.access.grants as granted
	cordon.allow with input as vendor("imaging/ct", "maintenance", "admin") with data.access.grants as granted
}

test_grant_overrides_nothing if {
	every state in ["quarantined", "", "unheard-of"] {
		not cordon.allow with input as vendor("imaging/ct", state, "read") with data.access.grants as granted
		not cordon.allow with input as session("vendor", "imaging/ct", state) with data.access.grants as granted
	}
	pump := object.union(vendor("pump/infusion", "active", "control"), {"device": {"profile": "bbraun-spacecom"}})
	not cordon.allow with input as pump with data.access.grants as granted
	cordon.rule == "spacecom-configuration" with input as pump with data.access.grants as granted
	not cordon.allow with input as object.union(vendor("imaging/ct", "active", "read"), {"phase": ""}) with data.access.grants as granted
	strange := {"vendor/someone": {"G-1": {"device": "dev-1", "device_class": "", "classes": ["unknown", ""], "until_ns": 100}}}
	not cordon.allow with input as vendor("imaging/ct", "active", "unknown") with data.access.grants as strange
	not cordon.valid_until with input as vendor("imaging/ct", "active", "write") with data.access.grants as granted
}

# What a protocol demands of everybody holds; the services of a role do not limit a grant.
test_grant_over_dicom if {
	all := {"user/someone": {"G-1": {"device": "dev-1", "device_class": "", "classes": ["read", "query", "write"], "until_ns": 100}}}
	every service in ["find", "get", "store", "mpps"] {
		asked_by_nurse := imaging("nurse", "active", service)
		cordon.allow with input as asked_by_nurse with data.access.grants as all with data.ae_titles as titles with data.dicom_services as {}
		cordon.valid_until == 100 with input as asked_by_nurse with data.access.grants as all with data.ae_titles as titles with data.dicom_services as {}
	}
	cordon.allow with input as imaging("nurse", "active", "association") with data.access.grants as all with data.ae_titles as titles
	not cordon.allow with input as imaging("nurse", "active", "association") with data.access.grants as all with data.ae_titles as {}
	not cordon.allow with input as imaging("nurse", "active", "move") with data.access.grants as all with data.ae_titles as {}
	not cordon.allow with input as imaging("nurse", "active", "get of another kind") with data.access.grants as all with data.ae_titles as titles
	cordon.reason == `calling AE title "MINE" is not bound to user/someone in ae_titles` with input as imaging("nurse", "active", "association")
		with data.access.grants as all with data.ae_titles as {}
	unread := {"operation": {"attributes": {"anomalies": ["head_unreadable"]}}}
	not cordon.allow with input as object.union(imaging("nurse", "active", "store"), unread) with data.access.grants as all with data.ae_titles as titles
	report := imaging("nurse", "active", "report to a device")
	cordon.allow with input as report with data.access.grants as all with data.ae_titles as titles
	not cordon.allow with input as object.union(report, {"operation": {"attributes": {"origin": "unknown"}}}) with data.access.grants as all with data.ae_titles as titles
	roleless := object.union(imaging("nurse", "active", "store"), object.union(unread, {"subject": {"roles": []}}))
	cordon.reason == "the data set cannot be read in its transfer syntax" with input as roleless with data.access.grants as all with data.ae_titles as titles
	# A role that has the class but not the service.
	cordon.valid_until == 100 with input as imaging("physician", "active", "store") with data.access.grants as all with data.ae_titles as titles
}

test_grant_over_mqtt if {
	read := {"vendor/someone": {"G-1": {"device": "dev-1", "device_class": "", "classes": ["read"], "until_ns": 100}}}
	subscribe := object.union(mqtt("SUBSCRIBE", "read", {"filters": ["lab/#"]}), {"subject": {"kind": "vendor", "roles": ["vendor"]}})
	cordon.allow with input as subscribe with data.access.grants as read
	not cordon.allow with input as object.union(subscribe, {"operation": {"name": "dicom:C-STORE", "attributes": {"filters": ["#"]}}}) with data.access.grants as read
}

test_reason_ungranted if {
	cordon.reason == "vendor/someone has no grant for dev-1, which is not in maintenance" with input as session("vendor", "imaging/ct", "active")
	cordon.reason == "vendor/someone has no grant for dev-1, which is not in maintenance" with input as vendor("imaging/ct", "active", "read") with data.access.grants as {"vendor/other": {}}
	cordon.reason == "G-1, G-2 is for other operations than write" with input as vendor("pump/infusion", "active", "write") with data.access.grants as granted
	cordon.reason == "write on imaging/ct is not permitted for role vendor" with input as vendor("imaging/ct", "maintenance", "write")
	cordon.reason == "a subscription to every topic" with input as object.union(mqtt("SUBSCRIBE", "read", {"filters": ["#"]}), {"subject": {"kind": "vendor", "roles": ["vendor"]}})
		with data.access.grants as {"vendor/someone": {"G-1": {"device": "dev-1", "device_class": "", "classes": ["read"], "until_ns": 100}}}
}

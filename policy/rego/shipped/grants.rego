# What grants add to cordon.rego: access that an operator gives for a time, by `cordon access
# grant`. data.access has those in force, by subject and id. A grant permits its classes of
# operation on its devices to its subject, whatever roles that has. It permits nothing on a
# quarantined device, nothing that a virtual patch refuses, and nothing under another's AE title.
package cordon

# The subject's grants on the device.
grants[id] := grant if {
	some id, grant in data.access.grants[holder]
	about(grant)
}

about(grant) if grant.device == input.device.id

about(grant) if grant.device_class in device_classes

# Whoever has one may open a session.
served if count(grants) > 0

# An operation that was granted.
allow if {
	input.phase == "operation"
	some grant in grants
	class in grant.classes
	in_use
	unpatched
	known
	suitable
}

# What a protocol demands of anybody, it demands here, too. Which DICOM services a role has
# does not matter.
suitable if fits("")

suitable if {
	input.service.protocol == "dicom"
	dicom_service
	not unreachable
	not unreadable
	not unasked
}

# The grants without which it would be refused.
used contains id if {
	some id, _ in grants
	input.operation.class in {"", "session"}
	not listed
	bound
}

used contains id if {
	some id, grant in grants
	class in grant.classes
	not standing
}

# Tables permit it at any time, or in maintenance.
standing if {
	some table in tables
	some role in roles
	some device_class in device_classes
	class in table[role][device_class]
	fits(role)
}

tables contains data.roles

tables contains data.maintenance if input.device.state == "maintenance"

# The decision's rule, and when it ends: with the last of them.
rule := sprintf("grant %s", [concat(", ", sort(used))]) if {
	allow
	count(used) > 0
}

valid_until := max({grants[id].until_ns | some id in used}) if allow

# Why it was refused all the same, or why it takes a grant.
ungranted := sprintf("%s is for other operations than %s", [concat(", ", sort(object.keys(grants))), class]) if {
	count(grants) > 0
	not class in granted
	not input.operation.class in {"", "session"}
}

ungranted := sprintf("vendor/%s has no grant for %s, which is not in maintenance", [input.subject.id, input.device.id]) if {
	input.subject.kind == "vendor"
	input.device.state != "maintenance"
	count(grants) == 0
}

granted contains class_granted if {
	some grant in grants
	some class_granted in grant.classes
}

# Cordon's default policy: roles × device class × class of operation.
#
# The permissions are in data.yaml; this file says how they are read, dicom.rego and mqtt.rego
# what those protocols add, grants.rego what is permitted for a time, break_glass.rego what is in an
# emergency, patches.rego what is refused in any case. What no rule allows is refused.
# `cordon check` compiles it and runs its tests.
package cordon

default allow := false

# Opening a session: one of the roles, or a grant, permits anything on the device.
allow if {
	input.phase == "connect"
	in_use
	unpatched
	served
}

# An operation that the table permits.
allow if {
	input.phase == "operation"
	in_use
	unpatched
	known
	some role in roles
	some device_class in device_classes
	class in data.roles[role][device_class]
	fits(role)
}

# An operation that is permitted while the device is being serviced.
allow if {
	input.phase == "operation"
	input.device.state == "maintenance"
	unpatched
	known
	some role in roles
	some device_class in device_classes
	class in data.maintenance[role][device_class]
	fits(role)
}

# Opening and closing a dialogue takes no more than opening the session did.
allow if {
	input.phase == "operation"
	input.operation.class == "session"
	in_use
	unpatched
	served
	bound
}

# In an emergency.
allow if data.cordon.break_glass.allow

rule := data.cordon.break_glass.rule

valid_until := data.cordon.break_glass.valid_until

obligations contains data.cordon.break_glass.obligation

# A quarantined device takes part in nothing.
in_use if input.device.state in {"active", "maintenance"}

# What the protocol's inspector cannot name is never passed on.
known if input.operation.class != "unknown"

# The class of operation that must be permitted. For DICOM's reports see dicom.rego.
class := input.operation.class if {
	input.session.direction == "inbound"
	input.operation.name != "dicom:N-EVENT-REPORT"
}

# A device that calls out by itself does what its table says.
class := input.operation.class if {
	calling_out
	input.operation.name != "dicom:N-EVENT-REPORT"
}

calling_out if {
	input.subject.kind == "device"
	input.subject.id == input.device.id
}

# Whoever connects to an analyser or a broker reads what it sends of itself: results, events,
# questions for its orders. For what else a device may ask of its client see dicom.rego.
class := "read" if {
	input.session.direction == "outbound"
	not calling_out
	input.service.protocol in {"astm", "mqtt", "poct1a"}
	input.operation.class in {"query", "read", "write", "notify"}
}

# The role may do this in this protocol. dicom.rego and mqtt.rego say so for theirs.
fits(_) if not input.service.protocol in {"dicom", "mqtt"}

# Whoever opens the dialogue does it under a name of its own.
bound if input.operation.name != "dicom:A-ASSOCIATE"

# Some role has an entry for the device, or the subject a grant (grants.rego).
served if listed

listed if {
	some role in roles
	some device_class in device_classes
	data.roles[role][device_class]
}

listed if {
	input.device.state == "maintenance"
	some role in roles
	some device_class in device_classes
	data.maintenance[role][device_class]
}

# The subject's roles, as far as its kind may hold them.
roles contains role if {
	some role in input.subject.roles
	data.kinds[role] == input.subject.kind
}

# What tables and grants call the subject: "user/dr.kim".
holder := concat("/", [input.subject.kind, input.subject.id])

# The names by which the tables may speak of the device: a "monitor/bedside" is
# also a "monitor/*" and a "*".
device_classes := {
	input.device.class,
	concat("", [split(input.device.class, "/")[0], "/*"]),
	"*",
}

# What the refused person is told: the first sentence that holds.
reason := sprintf("device %s is %s", [input.device.id, input.device.state]) if {
	not in_use
} else := sprintf("virtual patch %s of %s", [rule, input.device.profile]) if rule
else := sprintf("%s is of no known class of operation", [input.operation.name]) if {
	not known
} else := data.cordon.break_glass.reason if data.cordon.break_glass.reason
else := ungranted if ungranted
else := sprintf("a %s cannot act in role %s", [input.subject.kind, held]) if {
	not served
	count(roles) == 0
} else := sprintf("nothing on %s is permitted for role %s", [input.device.class, held]) if {
	not served
} else := unbound if {
	not bound
} else := sprintf("%s is nothing a device asks of its client", [input.operation.name]) if {
	not class
} else := misfit if {
	every role in roles {
		not fits(role)
	}
} else := sprintf("%s on %s is not permitted for role %s", [class, input.device.class, held])

held := concat(", ", input.subject.roles) if {
	count(input.subject.roles) > 0
} else := "none"

# Break-glass: in an emergency somebody does what care needs on one device, whatever roles they
# have. `cordon break-glass open` opens it, for half an hour unless it says otherwise; it ends by
# itself, and somebody else reviews it. data.access has those in force, by subject and id.
#
# It is a package of its own, so that what it permits can be read here as a whole. It never
# permits control, admin or unknown operations, nothing on a quarantined device, nothing that a
# virtual patch refuses, and no more of a protocol than anybody may. Only AE titles do not
# matter: in an emergency any workstation will do.
package cordon.break_glass

import data.cordon

# What care needs, besides opening and closing a session or a dialogue.
clinical := {"read", "query", "write", "notify"}

# What is open for the subject on the device.
open[id] := emergency if {
	some id, emergency in data.access.emergencies[cordon.holder]
	emergency.device == input.device.id
}

effective if {
	count(open) > 0
	cordon.in_use
	cordon.unpatched
}

allow if {
	input.phase == "connect"
	effective
}

allow if {
	input.phase == "operation"
	effective
	input.operation.class == "session"
}

allow if {
	input.phase == "operation"
	effective
	cordon.known
	cordon.class in clinical
	cordon.suitable
}

# Nothing else permits it. Only then is it recorded as break-glass, and ends with it.
needed if not cordon.served

needed if not cordon.bound

needed if {
	not input.operation.class in {"", "session"}
	not cordon.standing
	count(cordon.used) == 0
}

# The answers of cordon.rego.
rule := sprintf("break-glass %s", [concat(", ", sort(object.keys(open)))]) if {
	allow
	needed
	not cordon.learning
}

valid_until := max({emergency.until_ns | some emergency in open}) if rule

obligation := "emergency-override" if rule

reason := sprintf("break-glass %s is for clinical operations, not %s", [concat(", ", sort(object.keys(open))), cordon.class]) if {
	count(open) > 0
	not cordon.class in (clinical | {"", "session"})
}

reason := cordon.misfit if {
	effective
	cordon.class in clinical
}

# Learning: for a time that an operator sets (cordon device learn) and that ends by itself, whoever has a role may do
# on one device what the tables do not permit yet, as far as it changes nothing but data. It
# is done to see what is needed: every such decision says rule "learning", and cordon policy learn
# makes a proposal of them. Without this file nobody learns.
package cordon

# Permitted for a time, so that it is seen.
allow if learning

# A device that learns works on as before.
in_use if input.device.state == "learning"

learning if {
	input.device.state == "learning"
	learning_ends
	unpatched
	count(roles) > 0
	not calling_out
	not critical
	learnable
	harmless
	not permitted
}

# A window without an end is none. data.access has the ends of those in force, by device.
learning_ends := data.access.learning[input.device.id]

# Opening a session, and what does not control or configure.
learnable if input.phase == "connect"

learnable if {
	input.phase == "operation"
	input.operation.class == "session"
}

learnable if {
	input.phase == "operation"
	class in {"read", "query", "write", "notify"}
}

# Where nobody learns, unless the device is named.
critical if {
	some device_class in device_classes
	device_class in data.learning.never
	not input.device.id in data.learning.but
}

# What is refused to everybody: an AE title that is somebody else's, images sent elsewhere, what
# cannot be read, every topic there is, messages that stay.
harmless if {
	not taken
	not unreachable
	not unreadable
	not unasked
	not sweeping
	not retained
}

taken if {
	some name, titles in data.ae_titles
	name != holder
	input.operation.attributes.calling_ae in titles
}

# It would be permitted without learning, by the tables or by a grant.
permitted if standing

permitted if count(used) > 0

permitted if {
	input.operation.class in {"", "session"}
	listed
	bound
}

# The decision's rule, and when it ends.
rule := "learning" if learning

valid_until := learning_ends if learning

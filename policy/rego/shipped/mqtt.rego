# What MQTT adds to cordon.rego: nobody subscribes to everything there is, and nobody leaves a
# message behind that reaches those who subscribe later, a will neither.
package cordon

fits(_) if {
	input.service.protocol == "mqtt"
	not sweeping
	not retained
}

sweeping if "#" in input.operation.attributes.filters

# What the broker delivers may have been retained.
retained if {
	input.session.direction == "inbound"
	input.operation.attributes.retain == 1
}

retained if input.operation.attributes.will_retain == 1

misfit := "a subscription to every topic" if {
	sweeping
} else := "a retained message" if retained

# A Modbus setpoint between limits, for one role: 40012 on the device's display, holding register
# 11 on the wire, is set to 180 to 240 by biomedical engineering. Put it beside the default
# policy, which lets that role read and do nothing else. What lies outside is answered with
# exception 03, illegal data value.
package cordon

allow if {
	input.phase == "operation"
	in_use
	unpatched
	"biomed" in roles
	setpoint
	within(180, 240)
}

obligations contains "modbus:illegal-data-value" if {
	input.phase == "operation"
	"biomed" in roles
	setpoint
	not within(180, 240)
}

setpoint if {
	input.operation.class == "write"
	input.operation.attributes.table == "holding_registers"
	input.operation.attributes.address == 11
	input.operation.attributes.address_end == 11
}

within(low, high) if {
	every value in input.operation.attributes.values {
		value >= low
		value <= high
	}
}

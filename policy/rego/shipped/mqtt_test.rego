package cordon_test

import data.cordon

mqtt(name, class, attributes) := object.union(
	operation("interface-engine", "analyser/blood-gas", "active", class),
	{"service": {"protocol": "mqtt"}, "operation": {"name": sprintf("mqtt:%s", [name]), "attributes": attributes}},
)

delivered(attributes) := object.union(mqtt("PUBLISH", "read", attributes), {"session": {"direction": "outbound"}})

test_mqtt_passes if {
	cordon.allow with input as mqtt("CONNECT", "session", {"client_id": "oie"})
	cordon.allow with input as mqtt("CONNECT", "write", {"will_retain": 0, "will_topic": "lab/gone"})
	cordon.allow with input as mqtt("PUBLISH", "write", {"topic": "lab/order", "retain": 0})
	cordon.allow with input as mqtt("SUBSCRIBE", "read", {"filters": ["lab/#", "+/alarm"]})
	cordon.allow with input as delivered({"topic": "lab/result", "retain": 0})
	cordon.allow with input as delivered({"topic": "lab/result", "retain": 1})
}

test_mqtt_leaves_nothing_behind if {
	every operation in [mqtt("PUBLISH", "write", {"topic": "lab/order", "retain": 1}), mqtt("CONNECT", "write", {"will_retain": 1})] {
		not cordon.allow with input as operation
		cordon.reason == "a retained message" with input as operation
	}
}

test_mqtt_sweeps_nothing if {
	every filters in [["#"], ["lab/result", "#"]] {
		not cordon.allow with input as mqtt("SUBSCRIBE", "read", {"filters": filters})
		cordon.reason == "a subscription to every topic" with input as mqtt("SUBSCRIBE", "read", {"filters": filters})
	}
}

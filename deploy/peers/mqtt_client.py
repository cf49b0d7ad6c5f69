#!/usr/bin/python3
"""Performs operations with paho-mqtt over TLS of its own, one after the other on one
connection:

    mqtt_client.py PORT CERT KEY CA VERSION OPERATION...

VERSION is 4 (MQTT 3.1.1) or 5. An operation is publish=QOS,TOPIC,PAYLOAD,
subscribe=QOS,FILTER, receive, or end, which waits until the broker ends the connection.
Prints a line for each, and one for the connection before, in the library's own words as far
as it has some: there are none for a publish that is refused.
"""
import queue
import ssl
import sys

import paho.mqtt.client as mqtt

port, cert, key, ca, version, *operations = sys.argv[1:]
told, received = queue.Queue(), queue.Queue()
client = mqtt.Client("paho", protocol=int(version))
client.tls_set(ca, cert, key, tls_version=ssl.PROTOCOL_TLS_CLIENT)
client.reconnect_delay_set(30, 30)
client.on_connect = lambda client, data, flags, code, properties=None: told.put(str(code) if version == "5" else mqtt.connack_string(code))
client.on_publish = lambda client, data, mid: told.put("published")
client.on_subscribe = lambda client, data, mid, granted, properties=None: told.put(" ".join(map(str, granted)))
client.on_message = lambda client, data, message: received.put(f"{message.topic} {message.payload.decode()}")
client.on_disconnect = lambda client, data, code, properties=None: told.put(f"disconnected: {code if version == '5' else mqtt.error_string(code)}")
client.connect("localhost", int(port))
client.loop_start()
print(told.get(timeout=10))
for operation in operations:
    name, _, rest = operation.partition("=")
    if name == "publish":
        qos, topic, payload = rest.split(",")
        client.publish(topic, payload, int(qos))
    elif name == "subscribe":
        qos, filter = rest.split(",")
        client.subscribe(filter, int(qos))
    print((received if name == "receive" else told).get(timeout=10), flush=True)
client.on_disconnect = None
client.disconnect()
client.loop_stop()

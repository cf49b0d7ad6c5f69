// Performs operations with MQTT.js over TLS of its own, one after the other on one
// connection:
//
//   NODE_PATH=... node mqtt_client.js PORT CERT KEY CA VERSION OPERATION...
//
// VERSION is 4 (MQTT 3.1.1) or 5. An operation is publish=QOS,TOPIC,PAYLOAD,
// subscribe=QOS,FILTER, receive, or end, which waits until the broker ends the connection.
// Prints a line for each, and one for the connection before: the library's own error, what
// was granted or received, or "done". Exits with 3 if there is no end for twenty seconds.
'use strict'
const fs = require('node:fs')
const mqtt = require('mqtt')

const [port, cert, key, ca, version, ...operations] = process.argv.slice(2)
const client = mqtt.connect({
  protocol: 'mqtts', host: 'localhost', port: Number(port), protocolVersion: Number(version), clientId: 'mqttjs', reconnectPeriod: 0,
  cert: fs.readFileSync(cert), key: fs.readFileSync(key), ca: fs.readFileSync(ca)
})
setTimeout(() => process.exit(3), 20_000).unref()

const received = []
let reader = null
client.on('message', (topic, payload) => {
  received.push(`${topic} ${payload}`)
  reader?.()
})
let lastWord = 'disconnected'
client.on('disconnect', (packet) => { lastWord = `disconnected: ${packet.reasonCode} ${packet.properties?.reasonString}` })
const gone = new Promise((resolve) => client.on('close', () => resolve(lastWord)))

const perform = {
  publish: (qos, topic, payload) => client.publishAsync(topic, payload, { qos: Number(qos) }).then(() => 'done'),
  subscribe: (qos, filter) => client.subscribeAsync(filter, { qos: Number(qos) }).then((grants) => `granted ${grants.map((g) => g.qos)}`),
  receive: async () => {
    if (received.length === 0) await new Promise((resolve) => { reader = resolve })
    return received.shift()
  },
  end: () => gone
}

const main = async () => {
  const connected = new Promise((resolve) => {
    client.once('connect', () => resolve('connected'))
    client.once('error', (err) => resolve(err.message))
  })
  console.log(await connected)
  client.on('error', () => {})
  for (const operation of operations) {
    const [name, rest] = operation.split('=')
    const outcome = perform[name](...(rest ?? '').split(',')).catch((err) => err.message)
    console.log(await Promise.race([outcome, gone]))
  }
  client.end(false, () => process.exit(0))
}
main()

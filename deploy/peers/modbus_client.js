// Performs operations with jsmodbus over TLS that its caller brings, one after the other on
// one connection:
//
//   NODE_PATH=... node modbus_client.js PORT CERT KEY CA UNIT OPERATION...
//
// An operation is METHOD=ARGUMENTS, as the library calls them: readHoldingRegisters=0,4. One
// line of JSON for each answer: {"values": [0, 1]}, or {"error": "ModbusException",
// "message": ..., "exception": 1}. Exits with 0 after the last, with 1 on an error of the
// connection, with 3 if there is no end for twenty seconds.
'use strict'
const fs = require('node:fs')
const tls = require('node:tls')
const modbus = require('jsmodbus')

const [port, cert, key, ca, unit, ...operations] = process.argv.slice(2)
const end = (code, why) => {
  if (why) console.error(String(why))
  process.exit(code)
}
const socket = tls.connect({
  host: '127.0.0.1', port: Number(port), servername: 'localhost',
  cert: fs.readFileSync(cert), key: fs.readFileSync(key), ca: fs.readFileSync(ca)
})
const client = new modbus.client.TCP(socket, Number(unit), 10_000)
socket.on('error', (err) => end(1, err))
setTimeout(() => end(3, 'no answer'), 20_000).unref()

socket.once('secureConnect', async () => {
  const answers = operations.map((operation) => {
    const [method, list] = operation.split('=')
    return client[method](...JSON.parse(`[${list}]`)).then(
      ({ response }) => ({ values: response.body.valuesAsArray }),
      (err) => ({ error: err.err, message: err.message, exception: err.response?.body?.code }))
  })
  for (const answer of answers) console.log(JSON.stringify(await answer))
  socket.end(() => end(0))
})

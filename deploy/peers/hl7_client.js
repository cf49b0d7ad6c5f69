// Sends HL7 messages with node-hl7-client over its own TLS, one after the other on one
// connection, and prints what the library makes of each answer:
//
//   NODE_PATH=... node hl7_client.js PORT CERT KEY CA FILE...
//
// One line of JSON for each answer: {"msa1": "AA", "text": "MSH|..."}. Exits with 0 after
// the last answer, with 1 on an error, with 3 if there is no answer for ten seconds.
'use strict'
const fs = require('node:fs')
const { Client, Message } = require('node-hl7-client')

const [port, cert, key, ca, ...files] = process.argv.slice(2)
const end = (code, why) => {
  if (why) console.error(String(why))
  process.exit(code)
}
let patience
const client = new Client({
  host: '127.0.0.1',
  tls: { cert: fs.readFileSync(cert), key: fs.readFileSync(key), ca: fs.readFileSync(ca) }
})
const connection = client.createConnection({ port: Number(port) }, async (response) => {
  const message = response.getMessage()
  console.log(JSON.stringify({ msa1: message.get('MSA.1').toString(), text: message.toString() }))
  next()
})

function next () {
  clearTimeout(patience)
  const file = files.shift()
  if (file === undefined) return connection.close().then(() => end(0))
  patience = setTimeout(() => end(3, 'no answer'), 10_000)
  connection.sendMessage(new Message({ text: fs.readFileSync(file, 'latin1') })).catch((err) => end(1, err))
}

// An error of the socket only shows in this event, and only if there is a timeout.
for (const event of ['client.error', 'data.error']) connection.on(event, (err) => end(1, err))
connection.once('connect', next)

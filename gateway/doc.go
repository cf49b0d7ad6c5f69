// Package gateway is the data path: it owns every socket, key, decision and entry, and
// carries out what plugins only describe.
//
// Read it in the order a byte travels: listen.go accepts and limits; identify.go turns a
// verified certificate into a subject; route.go says which device a listener stands for;
// decide.go asks, record.go makes the answer durable; session.go joins client, device and
// inspection; relay.go carries out the plugin's
// steps, operations.go remembers what became of them; flow.go moves the bytes of one
// direction; client.go and device.go are the two sockets, callout.go turns the session around for what a
// device opens by itself. redecide.go asks live sessions again
// when policy, devices, trust or the clock have moved on, allowance.go remembers what
// about, farewell.go ends those that are refused now. gateway.go starts and stops it; counts.go counts
// what it does.
//
// What always holds, whatever a plugin answers:
//
//   - A byte of an operation moves only after that operation was decided, allowed and its
//     entry is durable, and only within spans of that operation.
//   - Bytes move as they came, in order: passed or dropped, never changed.
//   - Bytes that originate in a plugin (a refusal) go only to the side that asked, and
//     only for an operation that was refused; to a device only if the route's Answer
//     finds them to be nothing but a refusal.
//   - A session that is not permitted any more ends within a second of the change.
//   - Doubt refuses: an error, a timeout, a full window, a dead plugin, an unwritable log.
//
// It does not defend a device from an operation that policy allows, nor a client from the
// content of a reply: replies are passed as they arrive and inspected right behind, so a
// reply that turns out malformed ends the session after it has been seen.
package gateway

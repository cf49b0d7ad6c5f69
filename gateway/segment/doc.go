// Package segment makes and watches the isolated networks that devices live in.
//
// A segment is a network namespace that no process lives in. It holds one interface, the
// device side: a NIC of its own, a VLAN of a trunk, or a macvlan. Nothing is routed or
// bridged between it and the rest of the machine; the only way across is a socket that the
// gateway makes inside (Segment.Dial, Segment.Listen) and copies bytes through.
//
//	client side                    │ namespace of the segment
//	 eth0 ──── gateway ── socket ──┼── eth1 ──── device
//	                               │ no process, no forwarding, default drop
//
// Read it in the order a segment comes to life: plan.go and validate.go say what one is,
// setup.go in which order it is made, namespace.go, sysctl.go, rules.go, guard.go and link.go
// each one part of that, inline.go and announce.go how the gateway answers at a device's own
// address, transparent.go how a device sees its clients', socket.go how it is used,
// standing.go how a listener outlives its segment, watch.go what is seen of frames that were
// dropped, findings.go and conflict.go how the result is proven from the kernel's own answers, mend.go
// how it is made again, and
// helper.go how a daemon without privileges asks another process for all this.
//
// Three layers say the same thing, so that no single mistake opens a way: the namespace
// (forwarding off, no routes out but one to each declared device, permanent neighbours), a filter
// on the interface itself before any protocol sees a frame and after every protocol has spoken
// (nftables netdev ingress and egress, which need Linux 5.16), and a stateful filter at the
// sockets (inet input and output).
//
// What it does not defend: devices on the same wire from each other (that is the switch's
// work: private VLANs, port isolation), a declared device's MAC and address used by somebody
// else on its wire, the bytes inside an allowed connection, or a machine whose root is hostile.
// Where the interface is a VLAN, the trunk's switch is trusted to keep VLANs apart.
package segment

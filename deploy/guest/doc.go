// Package guest tries Cordon on machines of its own: Debian's kernel and systemd in QEMU, by
// software emulation. What a test on the build machine cannot have is here: a kernel that makes
// 802.1Q interfaces and loses packets, units that systemd starts, a start of the machine seen
// from its wires, a power cut.
//
//	go test ./deploy/guest -v         # one machine, from its installation over a power cut to the package's removal
//	go test ./deploy/guest -v -all -timeout 60m   # all tests of segments there, more weather, more power cuts
//
// It needs qemu-system-x86, and downloads some 70 MB of Debian packages once, from the sources
// that apt knows. It needs no root, no KVM and no network of the host.
//
// Read it in this order: packages.go and root.go make a Debian, archive.go what a kernel starts
// with; disk.go, wire.go and machine.go are its hardware, and the program in inside/ is what
// runs there besides. guest_test.go begins the story.
//
// What it does not show: a real network card's driver and firmware, a disk that lies about
// flushing, a switch.
package guest

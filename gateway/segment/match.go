package segment

import (
	"bytes"
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// The words that rules.go and guard.go write rules in. Each returns the expressions of one
// condition; a rule is several of them one after the other, and all must hold.

type match []expr.Any

func all(parts ...match) match {
	var m match
	for _, p := range parts {
		m = append(m, p...)
	}
	return m
}

const (
	link      = expr.PayloadBaseLLHeader
	network   = expr.PayloadBaseNetworkHeader
	transport = expr.PayloadBaseTransportHeader
)

// register names the n-th register of 4 bytes as the kernel does when it is asked: those that
// begin one of 16 bytes go by that one's name.
func register(n uint32) uint32 {
	if n%4 == 0 {
		return unix.NFT_REG_1 + n/4
	}
	return unix.NFT_REG32_00 + n
}

// at holds where the bytes at an offset are exactly these.
func at(base expr.PayloadBase, offset uint32, want ...byte) match {
	return match{
		&expr.Payload{DestRegister: 1, Base: base, Offset: offset, Len: uint32(len(want))},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: want},
	}
}

// masked holds where the bytes at an offset, and-ed with mask, are want.
func masked(base expr.PayloadBase, offset uint32, mask, want []byte) match {
	n := uint32(len(mask))
	return match{
		&expr.Payload{DestRegister: 1, Base: base, Offset: offset, Len: n},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: n, Mask: mask, Xor: make([]byte, n)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: want},
	}
}

// field is one part of a key that is looked up in a set.
type field struct {
	base   expr.PayloadBase
	offset uint32
	len    uint32
}

// in holds where the fields, taken together, are an element of the set.
func in(set string, fields ...field) match {
	var m match
	var n uint32
	for _, f := range fields {
		m = append(m, &expr.Payload{DestRegister: register(n), Base: f.base, Offset: f.offset, Len: f.len})
		n += (f.len + 3) / 4
	}
	return append(m, &expr.Lookup{SourceRegister: register(0), SetName: set})
}

// vlanIn holds where the VLAN of an 802.1Q tag is an element of the set.
func vlanIn(set string) match {
	return match{
		&expr.Payload{DestRegister: 1, Base: link, Offset: 14, Len: 2},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 2, Mask: []byte{0x0f, 0xff}, Xor: []byte{0, 0}},
		&expr.Lookup{SourceRegister: 1, SetName: set},
	}
}

// ethertype is read from the frame, not from what the kernel made of it: a frame with a VLAN
// tag, also one of priority only (VLAN 0), has another one there.
func ethertype(t uint16) match { return at(link, 12, byte(t>>8), byte(t)) }

func metaIs(key expr.MetaKey, want []byte) match    { return meta(key, expr.CmpOpEq, want) }
func metaIsNot(key expr.MetaKey, want []byte) match { return meta(key, expr.CmpOpNeq, want) }

func meta(key expr.MetaKey, op expr.CmpOp, want []byte) match {
	return match{
		&expr.Meta{Key: key, Register: 1},
		&expr.Cmp{Op: op, Register: 1, Data: want},
	}
}

func comesFrom(name string) match { return metaIs(expr.MetaKeyIIFNAME, interfaceName(name)) }
func goesTo(name string) match    { return metaIs(expr.MetaKeyOIFNAME, interfaceName(name)) }

func comesNotFrom(name string) match { return metaIsNot(expr.MetaKeyIIFNAME, interfaceName(name)) }
func goesNotTo(name string) match    { return metaIsNot(expr.MetaKeyOIFNAME, interfaceName(name)) }

// transparentSocket holds where a socket with IP_TRANSPARENT takes the packet, or where an ICMP
// error is about a packet of one.
func transparentSocket() match {
	return match{
		&expr.Socket{Key: expr.SocketKeyTransparent, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{1}},
	}
}

// packetIs is about the frame's destination address as the interface saw it.
func packetIs(kind byte) match { return metaIs(expr.MetaKeyPKTTYPE, []byte{kind}) }

func protocolIs(family byte, transport byte) match {
	return all(metaIs(expr.MetaKeyNFPROTO, []byte{family}), metaIs(expr.MetaKeyL4PROTO, []byte{transport}))
}

// connection holds where conntrack says that the packet is in one of the states.
func connection(states uint32) match {
	return match{
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4,
			Mask: binaryutil.NativeEndian.PutUint32(states), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}
}

func accept() match { return match{&expr.Verdict{Kind: expr.VerdictAccept}} }
func drop() match   { return match{&expr.Verdict{Kind: expr.VerdictDrop}} }
func count() match  { return match{&expr.Counter{}} }

func interfaceName(name string) []byte {
	return append([]byte(name), make([]byte, unix.IFNAMSIZ-len(name))...)
}

// set is a named set with its elements.
type set struct {
	name  string
	kind  []nftables.SetDatatype
	elems [][]byte
}

func (s *set) add(parts ...[]byte) {
	var key []byte
	for _, p := range parts {
		key = append(key, p...)
		if len(parts) > 1 {
			key = append(key, make([]byte, -len(p)&3)...) // each part of several fills whole registers
		}
	}
	for _, have := range s.elems {
		if bytes.Equal(have, key) {
			return
		}
	}
	s.elems = append(s.elems, key)
}

func address(a netip.Addr) []byte { return a.AsSlice() }
func port(n uint16) []byte        { return binary.BigEndian.AppendUint16(nil, n) }

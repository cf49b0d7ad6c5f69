package segment

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"syscall"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// The library that loads rules leaves out, when it reads them back, every expression that it has
// no reader for: "socket", which the rules of devices that keep their address stand on, but also
// "dup" and "fwd", which would send a frame elsewhere. So their names and number are read from
// the kernel's own bytes (linux/netfilter/nf_tables.h) and compared as well.

// expression is one part of a rule as the kernel tells it.
type expression struct {
	name string
	data []byte // its attributes
}

// rawRules are the expressions of a chain's rules, in their order.
func rawRules(family nftables.TableFamily, table, chain string) ([][]expression, error) {
	q := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETRULE, unix.NLM_F_DUMP)
	q.AddData(&nl.Nfgenmsg{NfgenFamily: uint8(family), Version: nl.NFNETLINK_V0})
	q.AddData(nl.NewRtAttr(unix.NFTA_RULE_TABLE, nl.ZeroTerminated(table)))
	q.AddData(nl.NewRtAttr(unix.NFTA_RULE_CHAIN, nl.ZeroTerminated(chain)))
	messages, err := q.Execute(unix.NETLINK_NETFILTER, unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWRULE)
	if err != nil {
		return nil, err
	}
	var rules [][]expression
	for _, m := range messages {
		if len(m) < nl.SizeofNfgenmsg {
			return nil, fmt.Errorf("a message of %d bytes", len(m))
		}
		rule := []expression{}
		if err := attributes(m[nl.SizeofNfgenmsg:], func(kind uint16, list []byte) error {
			if kind != unix.NFTA_RULE_EXPRESSIONS {
				return nil
			}
			return attributes(list, func(_ uint16, one []byte) error {
				e, err := readExpression(one)
				rule = append(rule, e)
				return err
			})
		}); err != nil {
			return nil, err
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

func readExpression(b []byte) (e expression, err error) {
	err = attributes(b, func(kind uint16, value []byte) error {
		switch kind {
		case unix.NFTA_EXPR_NAME:
			e.name = string(bytes.TrimRight(value, "\x00"))
		case unix.NFTA_EXPR_DATA:
			e.data = value
		}
		return nil
	})
	return e, err
}

// attributes calls f for each netlink attribute, without the flags of its type.
func attributes(b []byte, f func(kind uint16, value []byte) error) error {
	list, err := nl.ParseRouteAttr(b)
	if err != nil {
		return err
	}
	for _, a := range list {
		if err := f(a.Attr.Type&^(syscall.NLA_F_NESTED|syscall.NLA_F_NET_BYTEORDER), a.Value); err != nil {
			return err
		}
	}
	return nil
}

// is reports whether a rule in the kernel has the expressions of m, by name, and its questions
// about sockets.
func (m match) is(family nftables.TableFamily, raw []expression) (bool, error) {
	if len(m) != len(raw) {
		return false, nil
	}
	for i, want := range m {
		b, err := expr.Marshal(byte(family), want)
		if err != nil {
			return false, fmt.Errorf("write down an expression: %w", err)
		}
		wanted, err := readExpression(b)
		if err != nil {
			return false, fmt.Errorf("read an expression: %w", err)
		}
		if wanted.name != raw[i].name || wanted.name == "socket" && !slices.Equal(aboutSocket(wanted.data), aboutSocket(raw[i].data)) {
			return false, nil
		}
	}
	return true, nil
}

// aboutSocket is which property of a socket is asked for, and the register that has the answer.
func aboutSocket(data []byte) []uint32 {
	list := []uint32{^uint32(0), ^uint32(0)}
	if attributes(data, func(kind uint16, value []byte) error {
		if at := int(kind) - expr.NFTA_SOCKET_KEY; at >= 0 && at < len(list) && len(value) == 4 {
			list[at] = binary.BigEndian.Uint32(value)
		}
		return nil
	}) != nil {
		return nil
	}
	return list
}

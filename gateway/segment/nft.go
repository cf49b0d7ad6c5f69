package segment

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
)

// load puts the tables into the namespace that the thread is in, all of them or none, and at
// no moment without them: the kernel swaps the rule set in one step.
func load(tables ...table) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	for _, t := range tables {
		if err := add(c, t); err != nil {
			return fmt.Errorf("prepare nftables table %s: %w", t.name, err)
		}
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("load nftables table %s (its netdev egress needs Linux 5.16): %w", tables[0].name, err)
	}
	return nil
}

func add(c *nftables.Conn, t table) error {
	kernel := &nftables.Table{Family: t.family, Name: t.name}
	c.AddTable(kernel) // so that there is one to delete
	if !t.shared {
		c.DelTable(kernel)
		c.AddTable(kernel)
	}
	for _, s := range t.sets {
		elements := make([]nftables.SetElement, len(s.elems))
		for i, e := range s.elems {
			elements[i].Key = e
		}
		ks := &nftables.Set{Table: kernel, Name: s.name, KeyType: s.kind[0]}
		if len(s.kind) > 1 {
			ks.KeyType, ks.Concatenation = nftables.MustConcatSetType(s.kind...), true
		}
		if err := c.AddSet(ks, elements); err != nil {
			return fmt.Errorf("set %s: %w", s.name, err)
		}
	}
	for _, ch := range t.chains {
		kc := c.AddChain(&nftables.Chain{Table: kernel, Name: ch.name, Type: nftables.ChainTypeFilter,
			Hooknum: ch.hook, Priority: &ch.order, Policy: &ch.policy, Device: ch.device})
		c.FlushChain(kc)
		for _, r := range ch.rules {
			c.AddRule(&nftables.Rule{Table: kernel, Chain: kc, Exprs: slices.Clone(r.match),
				UserData: userdata.AppendString(nil, userdata.TypeComment, r.why)})
		}
	}
	return nil
}

// unload removes tables, also those that are not there.
func unload(tables ...table) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	for _, t := range tables {
		c.DelTable(c.AddTable(&nftables.Table{Family: t.family, Name: t.name}))
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("remove nftables tables: %w", err)
	}
	return nil
}

// differences asks the kernel what it has of a table, and says where it is not what is wanted.
func differences(c *nftables.Conn, t table) ([]string, error) {
	chains, err := c.ListChainsOfTableFamily(t.family)
	if err != nil {
		return nil, fmt.Errorf("list chains: %w", err)
	}
	chains = slices.DeleteFunc(chains, func(k *nftables.Chain) bool { return k.Table.Name != t.name })
	var list []string
	differ := func(format string, args ...any) {
		list = append(list, fmt.Sprintf("table %s %s: ", familyName(t.family), t.name)+fmt.Sprintf(format, args...))
	}
	for _, k := range chains {
		if !slices.ContainsFunc(t.chains, func(ch chain) bool { return ch.name == k.Name }) {
			differ("chain %s is not ours", k.Name)
		}
	}
	for _, ch := range t.chains {
		i := slices.IndexFunc(chains, func(k *nftables.Chain) bool { return k.Name == ch.name })
		if i < 0 {
			differ("chain %s is missing", ch.name)
			continue
		}
		k := chains[i]
		if k.Hooknum == nil || *k.Hooknum != *ch.hook || k.Priority == nil || *k.Priority != ch.order {
			differ("chain %s hangs elsewhere", ch.name)
		}
		if k.Policy == nil || *k.Policy != ch.policy {
			differ("chain %s has another policy", ch.name)
		}
		rules, err := c.GetRules(k.Table, k)
		if err != nil {
			return nil, fmt.Errorf("list rules of %s: %w", ch.name, err)
		}
		if len(rules) != len(ch.rules) {
			differ("chain %s has %d rules, not %d", ch.name, len(rules), len(ch.rules))
			continue
		}
		raw, err := rawRules(t.family, t.name, ch.name)
		if err != nil {
			return nil, fmt.Errorf("read rules of %s: %w", ch.name, err)
		}
		for j, r := range rules {
			same, err := j < len(raw) && reflect.DeepEqual(still(r.Exprs), still(ch.rules[j].match)), error(nil)
			if same {
				same, err = ch.rules[j].match.is(t.family, raw[j])
			}
			if err != nil {
				return nil, fmt.Errorf("compare rules of %s: %w", ch.name, err)
			}
			if !same {
				differ("chain %s, rule %d (%s) is another", ch.name, j+1, ch.rules[j].why)
			}
		}
	}
	if len(list) > 0 {
		return list, nil
	}
	for _, s := range t.sets {
		have, err := c.GetSetElements(&nftables.Set{Table: &nftables.Table{Family: t.family, Name: t.name}, Name: s.name})
		if err != nil {
			differ("set %s cannot be read: %v", s.name, err)
			continue
		}
		for _, e := range have {
			if !t.shared && !slices.ContainsFunc(s.elems, func(w []byte) bool { return bytes.Equal(w, e.Key) }) {
				differ("set %s has %x besides", s.name, e.Key)
			}
		}
		for _, w := range s.elems {
			if !slices.ContainsFunc(have, func(e nftables.SetElement) bool { return bytes.Equal(w, e.Key) }) {
				differ("set %s lacks %x", s.name, w)
			}
		}
	}
	return list, nil
}

// still leaves out what moves, the counts, and what the library does not read back, which
// nft_raw.go compares.
func still(list []expr.Any) []expr.Any {
	out := slices.DeleteFunc(slices.Clone(list), func(e expr.Any) bool { _, is := e.(*expr.Socket); return is })
	for i, e := range out {
		if _, counts := e.(*expr.Counter); counts {
			out[i] = &expr.Counter{}
		}
	}
	return out
}

func familyName(f nftables.TableFamily) string {
	switch f {
	case nftables.TableFamilyINet:
		return "inet"
	case nftables.TableFamilyARP:
		return "arp"
	case nftables.TableFamilyNetdev:
		return "netdev"
	case nftables.TableFamilyIPv4:
		return "ip"
	case nftables.TableFamilyIPv6:
		return "ip6"
	case nftables.TableFamilyBridge:
		return "bridge"
	}
	return fmt.Sprint(byte(f))
}

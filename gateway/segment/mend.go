package segment

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/google/nftables"
)

// What was set up does not stay by itself. Debian's /etc/nftables.conf begins with "flush ruleset", and whoever loads it
// takes away what keeps the host's servers from answering at a device's address. A manager of networks removes addresses
// that are not its own. A USB adapter is pulled, and comes back as another interface of the same name, which is in the host.

// Mend sets a segment up again where it is not as planned any more, and returns what was found; sessions go on as in Setup.
// One that is not set up is left so: somebody has taken it down. The context is looked at between steps.
func (l Local) Mend(ctx context.Context, p Plan) ([]Finding, error) {
	if err := p.Validate(); err != nil {
		return nil, fmt.Errorf("mend segment %q: %w", p.Name, err)
	}
	unlock, err := l.lock(p.Name)
	if err != nil {
		return nil, fmt.Errorf("mend segment %q: %w", p.Name, err)
	}
	defer unlock()
	ns, err := openNamespace(l.path(p.Name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("mend segment %q: %w", p.Name, err)
	}
	defer ns.Close()
	x := &examination{plan: p}
	x.look("host", x.host)
	for _, look := range []func() error{x.sysctls, x.filters, x.interfaces} {
		x.look("segment", func() error { return inside(ns, look) })
	}
	x.list = slices.DeleteFunc(x.list, func(f Finding) bool { return f.Severity == "low" })
	if len(x.list) == 0 {
		return nil, nil
	}
	return x.list, l.take(ctx, p, len(steps))
}

// Guarded reports whether the host has the tables that keep segments closed which are set up. It is a glance, to be taken every second: what
// is in them is for Mend.
func (l Local) Guarded(plans ...Plan) (bool, error) {
	c, err := nftables.New()
	if err != nil {
		return false, fmt.Errorf("open nftables: %w", err)
	}
	have, err := c.ListTables()
	if err != nil {
		return false, fmt.Errorf("list nftables tables: %w", err)
	}
	for _, p := range plans {
		if isNamespace(l.path(p.Name)) != nil {
			continue
		}
		for _, t := range append(p.guard(false), p.inline()...) {
			if !slices.ContainsFunc(have, func(h *nftables.Table) bool { return h.Family == t.family && h.Name == t.name }) {
				return false, nil
			}
		}
	}
	return true, nil
}

package segment

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// What was set up does not stay by itself. Debian's /etc/nftables.conf begins with "flush ruleset", and whoever loads it
// takes away what keeps the host's servers from answering at a device's address. A manager of networks removes addresses
// that are not its own. A USB adapter is pulled, and comes back as another interface of the same name, which is in the host.

// Mend sets a segment up again where it is not as planned any more, and returns what was found; sessions go on as in Setup.
// One that is not set up is left so: somebody has taken it down. So is one that another process is at work on. The context is
// looked at between steps.
func (l Local) Mend(ctx context.Context, p Plan) ([]Finding, error) {
	if err := p.Validate(); err != nil {
		return nil, fmt.Errorf("mend segment %q: %w", p.Name, err)
	}
	if found, err := l.spoiled(p); err != nil || len(found) == 0 {
		return nil, err
	}
	unlock, err := l.lock(p.Name)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("mend segment %q: %w", p.Name, err)
	}
	defer unlock()
	found, err := l.spoiled(p) // now that nobody else changes it
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found, l.take(ctx, p, len(steps))
}

// spoiled is what is found of a segment that is set up, as far as it may be what Setup makes.
func (l Local) spoiled(p Plan) ([]Finding, error) {
	ns, err := openNamespace(l.path(p.Name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look at segment %q: %w", p.Name, err)
	}
	defer ns.Close()
	x := &examination{plan: p}
	x.look("host", x.host)
	for _, look := range []func() error{x.sysctls, x.filters, x.interfaces} {
		x.look("segment", func() error { return inside(ns, look) })
	}
	return slices.DeleteFunc(x.list, func(f Finding) bool { return f.Severity == "low" }), nil
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

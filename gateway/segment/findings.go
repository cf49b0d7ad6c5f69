package segment

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
)

// Finding is one way in which a segment is not as isolated as its plan says.
type Finding struct {
	Severity string `json:"severity"` // "high": a way may be open; "medium": a layer is missing or a service is down; "low"
	Code     string `json:"code"`     // for programs: one of those below
	Evidence string `json:"evidence"` // what the kernel says
	Remedy   string `json:"remedy"`
}

const again = "run the setup of the segment again; if it comes back, find out who changes it"

// Findings reads the segment's state back from the kernel and says where it is not the plan's.
// Nothing is taken from memory. None means that every layer is in place. What cannot be read
// is a finding too; an error is only about the plan.
func (l Local) Findings(ctx context.Context, p Plan) ([]Finding, error) {
	if err := p.Validate(); err != nil {
		return nil, fmt.Errorf("examine segment %q: %w", p.Name, err)
	}
	x := &examination{plan: p}
	x.look("host", x.host)
	x.look("clients' side", x.conflicts)
	ns, err := openNamespace(l.path(p.Name))
	if err != nil {
		x.find("high", "namespace", err.Error(), "run the setup of the segment")
		return x.list, nil
	}
	defer ns.Close()
	x.look("namespace", func() error { return x.inhabitants(ns) })
	for _, part := range []struct {
		name string
		look func() error
	}{
		{"sysctls", x.sysctls}, {"filters", x.filters}, {"interfaces", x.interfaces}, {"sockets", x.sockets},
	} {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("examine segment %q: %w", p.Name, err)
		}
		x.look(part.name, func() error { return inside(ns, part.look) })
	}
	return x.list, nil
}

type examination struct {
	plan Plan
	held netlink.Link // in the host; nil: it is not there
	list []Finding
}

func (x *examination) find(severity, code, evidence, remedy string) {
	x.list = append(x.list, Finding{severity, code, evidence, remedy})
}

func (x *examination) look(part string, f func() error) {
	if err := f(); err != nil {
		x.find("high", "unreadable", fmt.Sprintf("look at %s: %v", part, err), "run it with CAP_NET_ADMIN and CAP_SYS_ADMIN: what cannot be seen is not proven")
	}
}

// host looks at the side that the interface came from.
func (x *examination) host() error {
	h, err := routing()
	if err != nil {
		return err
	}
	defer h.Close()
	held := x.plan.Interface.held()
	parent, err := find(h, held)
	if err != nil {
		return err
	}
	x.held = parent
	if parent != nil {
		if err := unused(h, parent); err != nil {
			x.find("high", "host-address", err.Error(), "remove it: the host must not be reached there")
		}
		siblings, err := onTop(h, parent)
		if err != nil {
			return err
		}
		for _, l := range siblings {
			x.find("high", "host-sibling", fmt.Sprintf("the host has %s (%s) on %s", l.Attrs().Name, l.Type(), held), "remove it, or keep it in a namespace of its own")
		}
		if err := x.redirections(h, parent); err != nil {
			return err
		}
	}
	if err := x.compare("host-guard", x.plan.guard(parent != nil)...); err != nil {
		return err
	}
	return x.inline(h)
}

func (x *examination) compare(code string, tables ...table) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	for _, t := range tables {
		list, err := differences(c, t)
		if err != nil {
			return err
		}
		for _, d := range list {
			x.find("high", code, d, again)
		}
	}
	return nil
}

func (x *examination) sysctls() error {
	list := slices.Clone(wide)
	for _, scope := range []string{"all", "default", x.plan.Interface.Name} {
		list = append(list, x.plan.sysctls(scope)...)
	}
	for _, s := range list {
		switch have, err := s.read(); {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case have != s.want:
			x.find("high", "sysctl", fmt.Sprintf("net/%s is %s, not %s (%s)", s.key, have, s.want, s.why), again)
		}
	}
	return nil
}

func (x *examination) filters() error {
	if err := x.compare("filter", append(x.plan.closed(), x.plan.wire())...); err != nil {
		return err
	}
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	tables, err := c.ListTables()
	if err != nil {
		return fmt.Errorf("list nftables tables: %w", err)
	}
	for _, t := range tables {
		if t.Name != segmentTable || !slices.Contains([]nftables.TableFamily{nftables.TableFamilyINet, nftables.TableFamilyARP, nftables.TableFamilyNetdev}, t.Family) {
			x.find("high", "filter", fmt.Sprintf("table %s %s is not ours", familyName(t.Family), t.Name), "remove it: it could duplicate or forward frames")
		}
	}
	return nil
}

package segment

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// Local makes segments in this process, which needs CAP_SYS_ADMIN and CAP_NET_ADMIN. The
// namespace it runs in is the host's: interfaces are taken from there and given back.
type Local struct {
	Dir string // where namespaces are kept; made if it is not there; root's alone
}

// DefaultDir is gone after a reboot, as namespaces are.
const DefaultDir = "/run/cordon/netns"

// Setup makes the segment, or makes it again where something differs from the plan. It may be
// called at any time: sessions in a segment that is as planned are not touched. After every
// step, also if the process is killed there, the segment is closed: it opens with the last.
//
// An interface that the host itself uses is refused. The context is looked at between steps.
func (l Local) Setup(ctx context.Context, p Plan) error {
	return l.setup(ctx, p, len(steps))
}

// setup stops after the first n steps, as if it were killed there.
func (l Local) setup(ctx context.Context, p Plan, n int) error {
	if err := p.Validate(); err != nil {
		return fmt.Errorf("set up segment %q: %w", p.Name, err)
	}
	unlock, err := l.lock(p.Name)
	if err != nil {
		return fmt.Errorf("set up segment %q: %w", p.Name, err)
	}
	defer unlock()
	return l.take(ctx, p, n)
}

// take takes the first n steps. The segment is locked.
func (l Local) take(ctx context.Context, p Plan, n int) error {
	w := &work{plan: p, path: l.path(p.Name)}
	defer w.close()
	for _, s := range steps[:n] {
		err := ctx.Err()
		if err == nil {
			err = s.do(w)
		}
		if err != nil {
			return fmt.Errorf("set up segment %q: %s: %w", p.Name, s.name, err)
		}
	}
	return nil
}

// work is one run of the steps.
type work struct {
	plan Plan
	path string   // of the namespace
	ns   *os.File // once it is there
}

func (w *work) close() {
	if w.ns != nil {
		w.ns.Close()
	}
}

type step struct {
	name string
	says func(Plan) string // for people, before it is done
	do   func(*work) error
}

// steps in their order: first everything is closed, then the interface arrives, and only when
// all is as planned it is taken up. Until then it is down, and what the filters name is dropped
// even if somebody takes it up.
var steps = []step{
	{"guard", func(p Plan) string {
		return "drop in the host all frames from and to " + p.Interface.held() + p.except()
	}, (*work).guard},
	{"quiet", func(p Plan) string {
		return "switch IPv6 off on " + p.Interface.held() + " in the host" + p.downFirst()
	}, (*work).quiet},
	{"reserve", Plan.reservation, (*work).reserve},
	{"namespace", func(p Plan) string { return "make a network namespace" }, (*work).namespace},
	{"filter", func(p Plan) string {
		return "drop there what is none of " + listed(p.connections()) + ", and drop all that is forwarded"
	}, func(w *work) error { return inside(w.ns, func() error { return load(w.plan.closed()...) }) }},
	{"sysctl", func(p Plan) string { return "switch forwarding, redirects, autoconfiguration and proxy answers off" }, (*work).sysctls},
	{"interface", func(p Plan) string { return p.arrival() }, (*work).bring},
	{"wire", func(p Plan) string {
		return "drop at " + p.Interface.Name + " every frame, in and out, that is not of those, and no ARP or ND for " + listed(p.Addresses)
	}, func(w *work) error { return inside(w.ns, func() error { return load(w.plan.wire()) }) }},
	{"settings", func(p Plan) string { return "the same switches for " + p.Interface.Name }, func(w *work) error {
		return inside(w.ns, func() error { return writeAll(w.plan.sysctls(w.plan.Interface.Name)) })
	}},
	{"addresses", func(p Plan) string { return "give it " + listed(p.Addresses) + " and no other" }, (*work).addresses},
	{"neighbours", func(p Plan) string { return "fix " + listed(p.neighbours()) }, (*work).neighbours},
	{"up", func(p Plan) string { return "take it up" }, (*work).up},
	{"routes", func(p Plan) string { return "lead to each device's address, and nowhere else" }, (*work).routes},
	{"clients", Plan.handover, (*work).clients},
	{"inline", Plan.takeover, (*work).answer},
}

func (w *work) namespace() (err error) {
	if err := newNamespace(w.path); err != nil {
		return err
	}
	w.ns, err = openNamespace(w.path)
	return err
}

func (w *work) sysctls() error {
	return inside(w.ns, func() error {
		list := slices.Clone(wide)
		for _, scope := range []string{"all", "default", "lo"} {
			list = append(list, w.plan.sysctls(scope)...)
		}
		return writeAll(list)
	})
}

func writeAll(list []sysctl) error {
	for _, s := range list {
		if err := s.write(); err != nil {
			return err
		}
	}
	return nil
}

// Teardown ends the segment, whatever state it is in, and every connection in it: a NIC comes
// back to the host, down; a VLAN or macvlan is removed. What it leaves is the guard, so that
// the wire stays closed: see Release.
func (l Local) Teardown(ctx context.Context, p Plan) error {
	if err := p.Validate(); err != nil {
		return fmt.Errorf("tear down segment %q: %w", p.Name, err)
	}
	unlock, err := l.lock(p.Name)
	if err != nil {
		return fmt.Errorf("tear down segment %q: %w", p.Name, err)
	}
	defer unlock()
	w := &work{plan: p, path: l.path(p.Name)}
	defer w.close()
	if err := w.teardown(); err != nil {
		return fmt.Errorf("tear down segment %q: %w", p.Name, err)
	}
	return nil
}

func (w *work) teardown() (err error) {
	if err := w.withdraw(); err != nil {
		return err
	}
	if err := w.guard(); err != nil {
		return err
	}
	w.ns, err = openNamespace(w.path)
	switch {
	case err == nil:
		if err := w.sendBack(); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := removeNamespace(w.path); err != nil {
		return err
	}
	return w.guard() // once more: now the interface is there to be bound to
}

// Release removes the guard, after Teardown, and what keeps devices' addresses on the clients'
// side closed: the host may use the interface again, and the addresses. Other
// segments on the same parent lose their guard too; Setup gives it back to them.
func (l Local) Release(ctx context.Context, p Plan) error {
	if err := p.Validate(); err != nil {
		return fmt.Errorf("release interface of segment %q: %w", p.Name, err)
	}
	if isNamespace(l.path(p.Name)) == nil {
		return fmt.Errorf("release interface %s: segment %q is set up; tear it down first", p.Interface.held(), p.Name)
	}
	if err := unload(append(p.guard(true), inlineNames(p.Name)...)...); err != nil {
		return fmt.Errorf("release interface %s: %w", p.Interface.held(), err)
	}
	return nil
}

// Guard loads the guards of plans and closes the addresses that devices keep, and nothing else:
// for the moment at boot before the network comes up. Interfaces need not exist yet. What cannot be closed of one plan keeps
// nothing else open.
func (l Local) Guard(ctx context.Context, plans ...Plan) error {
	var faults []error
	for _, p := range plans {
		err := p.Validate()
		if err == nil {
			w := &work{plan: p}
			err = errors.Join(w.guard(), w.reserve())
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("guard segment %q: %w", p.Name, err))
		}
	}
	return errors.Join(faults...)
}

func (l Local) path(name string) string {
	dir := l.Dir
	if dir == "" {
		dir = DefaultDir
	}
	return filepath.Join(dir, name)
}

// lock keeps two processes from making the same segment at once. It refuses rather than waits.
func (l Local) lock(name string) (unlock func(), err error) {
	path := l.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the directory of namespaces: %w", err)
	}
	f, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDONLY|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("another process is at work on it (%s.lock): %w", path, err)
	}
	return func() { f.Close() }, nil
}

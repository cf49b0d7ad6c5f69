package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/exit"
	"cordon/policy"
	"cordon/policy/access"
)

func accessCommand(a *app) *cobra.Command {
	c := group("access", "What is permitted and forbidden for a time")
	c.AddCommand(accessGrantCommand(a), accessListCommand(a), accessShowCommand(a), accessEndCommand(a))
	return c
}

func accessGrantCommand(a *app) *cobra.Command {
	var t termFlags
	var device, deviceClass, sponsor string
	var classes []string
	c := &cobra.Command{
		Use: "grant SUBJECT", Short: "Let somebody use a device for a time",
		Long: `Let SUBJECT (vendor/acme, as its certificate says; vendor:acme is the same) do some classes of operation
on a device, or on all devices of a class, whatever its roles permit. The grant begins and ends
by itself; sessions that need it end within a second of its end. Virtual patches, quarantine and
AE titles stand above it. At most 72h.`,
		Example: `  cordon access grant vendor/acme --device ct-2 --for 4h --reason WO-881 --sponsor user/dr.kim
  cordon access grant vendor/acme --device-class 'imaging/*' --class read,query,admin --for 2h --from 22:00 --reason WO-902`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeSubject,
		RunE: func(c *cobra.Command, args []string) error {
			return cannot("grant access", a.grant(c.Context(), args[0], device, deviceClass, sponsor, classes, &t))
		},
	}
	t.add(c, true)
	f := c.Flags()
	f.StringVar(&device, "device", "", "the device's id")
	f.StringVar(&deviceClass, "device-class", "", "all devices of a class: imaging/ct, or 'imaging/*'")
	f.StringSliceVar(&classes, "class", []string{string(policy.ClassRead), string(policy.ClassQuery)}, "classes of operation: read, query, write, control, admin, notify")
	f.StringVar(&sponsor, "sponsor", "", "who answers for it: user/dr.kim")
	mustComplete(c.MarkFlagRequired("for"))
	c.MarkFlagsOneRequired("device", "device-class")
	c.MarkFlagsMutuallyExclusive("device", "device-class")
	mustComplete(c.RegisterFlagCompletionFunc("device", a.completeDevice))
	mustComplete(c.RegisterFlagCompletionFunc("sponsor", a.completeSubject))
	mustComplete(c.RegisterFlagCompletionFunc("class", cobra.FixedCompletions(grantable(), cobra.ShellCompDirectiveNoFileComp)))
	return c
}

// grantable are the classes of operation a grant can name.
func grantable() (names []string) {
	for _, c := range policy.Classes {
		if c != policy.ClassSession && c != policy.ClassUnknown {
			names = append(names, string(c))
		}
	}
	return names
}

func (a *app) grant(ctx context.Context, subject, device, deviceClass, sponsor string, classes []string, t *termFlags) error {
	c, err := config.Load(a.config())
	if err != nil {
		return err
	}
	f := access.Fact{Kind: access.Grant, DeviceClass: deviceClass}
	if f.Subject, err = access.ParseSubject(subject); err != nil {
		return exit.Error{Code: "access.subject", Exit: exit.Usage, Message: err.Error(), Try: []string{"cordon cert list shows subjects"}, Err: err}
	}
	if sponsor != "" {
		if f.Sponsor, err = access.ParseSubject(sponsor); err != nil {
			return badFlag("sponsor", sponsor, err, "--sponsor user/dr.kim")
		}
	}
	if device != "" {
		d, err := c.Device(device)
		if err != nil {
			return err
		}
		f.Device = d.ID
	}
	for _, name := range classes {
		if !slices.Contains(grantable(), name) {
			return badFlag("class", name, fmt.Errorf("expected one of %s", strings.Join(grantable(), ", ")), "--class read,query")
		}
	}
	for _, known := range grantable() { // in their order, each once
		if slices.Contains(classes, known) {
			f.Classes = append(f.Classes, policy.Class(known))
		}
	}
	if err := t.term(&f, time.Now()); err != nil {
		return err
	}
	return a.carryOut(ctx, c, &daemon.AccessRequest{Do: "make", Fact: f}, f.Subject, t.yes)
}

func accessEndCommand(a *app) *cobra.Command {
	var reason string
	var yes bool
	c := &cobra.Command{
		Use: "end ID", Short: "End a grant or a maintenance window before its time",
		Example:           "  cordon access end G-7QF2K --reason 'work done'",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeFact,
		RunE: func(c *cobra.Command, args []string) error {
			doing := "end " + args[0]
			config, err := config.Load(a.config())
			if err != nil {
				return cannot(doing, err)
			}
			return cannot(doing, a.carryOut(c.Context(), config, &daemon.AccessRequest{Do: "end", ID: strings.ToUpper(args[0]), Reason: reason}, strings.ToUpper(args[0]), yes))
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why, in a line without patient data")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	mustComplete(c.MarkFlagRequired("reason"))
	return c
}

// carryOut shows what a change does and whom it concerns, asks for word, and does it.
func (a *app) carryOut(ctx context.Context, c *config.Config, r *daemon.AccessRequest, word string, yes bool) error {
	if !yes {
		preview := *r
		preview.Preview = true
		would, running, err := daemon.ChangeAccess(ctx, c, &preview, quietLogger(a.stderr))
		if err != nil {
			return err
		}
		a.showChange(c, r, &would, running)
		if err := a.confirm("This is what it does.", word); err != nil {
			return err
		}
	}
	done, running, err := daemon.ChangeAccess(ctx, c, r, quietLogger(a.stderr))
	if err != nil {
		return err
	}
	return a.showDone(&done, running)
}

// showChange tells a person what a change does before it is done.
func (a *app) showChange(c *config.Config, r *daemon.AccessRequest, would *daemon.AccessAnswer, running bool) {
	for i := range would.Facts {
		f := &would.Facts[i]
		if r.Do == "make" {
			a.remark("%s, %s", f, termWords(f, time.Now()))
		} else {
			a.remark("ends %s: %s", f.ID, f)
		}
		if f.DeviceClass != "" {
			var ids []string
			for i := range c.Devices {
				if f.Covers(daemon.DeviceFacts(&c.Devices[i])) {
					ids = append(ids, c.Devices[i].ID)
				}
			}
			a.remark("devices of class %s: %s", f.DeviceClass, cmp.Or(strings.Join(ids, ", "), "-"))
		}
	}
	if !running {
		a.remark("no gateway runs; it takes effect when one starts")
		return
	}
	count := map[string]int{}
	var order []string
	for _, s := range would.Sessions {
		if s.Refused {
			continue // nothing passes in it
		}
		key := fmt.Sprintf("%s with %s, service %s", s.Subject, s.Device, s.Service)
		if count[key]++; count[key] == 1 {
			order = append(order, key)
		}
	}
	cuts := len(would.Facts) > 0 && (would.Facts[0].Kind == access.Quarantine) == (r.Do == "make")
	switch {
	case len(order) == 0:
		a.remark("no live session is concerned")
		return
	case !cuts:
		a.remark("live sessions, which go on:")
	case would.Facts[0].Kind == access.Quarantine:
		a.remark("live sessions that it cuts:")
	default:
		a.remark("live sessions, of which it cuts those that nothing else permits:")
	}
	for _, key := range order {
		a.remark("  %3d of %s", count[key], key)
	}
}

// accessDone is a change for programs.
type accessDone struct {
	Schema     string        `json:"schema"`
	Facts      []access.Fact `json:"facts"`
	Ended      int           `json:"ended"`   // live sessions
	Running    bool          `json:"running"` // a gateway does, so it is in force
	Unrecorded bool          `json:"unrecorded,omitempty"`
	Unkept     string        `json:"unkept,omitempty"`
}

func (a *app) showDone(done *daemon.AccessAnswer, running bool) error {
	if a.json {
		if err := a.object(accessDone{"cordon.access.change/v1", done.Facts, done.Ended, running, done.Unrecorded, done.Unkept}); err != nil {
			return err
		}
	} else {
		for i := range done.Facts {
			f := &done.Facts[i]
			fmt.Fprintf(a.stdout, "%s %s: %s, %s\n", f.ID, f.Phase(), f, left(f, time.Now()))
		}
		if running {
			a.remark("%d live session(s) ended", done.Ended)
		}
	}
	switch {
	case done.Unkept != "":
		return exit.Error{Code: "access.unkept", Message: "it is in force until the gateway ends, but could not be kept: " + done.Unkept, Try: []string{"free space where gateway.state is, and repeat it"}}
	case done.Unrecorded:
		a.remark("warning: the audit log cannot be written; it is in force, and its entry follows")
	}
	return nil
}

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/control"
	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/disk"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/signed"
	"cordon/policy/access"
)

func breakGlassCommand(a *app) *cobra.Command {
	c := group("break-glass", "Access in an emergency")
	c.AddCommand(breakGlassOpenCommand(a), breakGlassCloseCommand(a), breakGlassListCommand(a), breakGlassShowCommand(a), breakGlassReviewCommand(a), breakGlassSealCommand(a), breakGlassDrillCommand(a))
	return c
}

// openFlags are those of opening a device.
type openFlags struct {
	device, length, reason string
	by                     badge
	codes                  bool
	person, out            string
}

func breakGlassOpenCommand(a *app) *cobra.Command {
	var o openFlags
	c := &cobra.Command{
		Use: "open", Short: "Use a device in an emergency, whatever one's role permits",
		Long: `Let yourself do what care needs on a device: read, query, write and notify, never control or admin, and nothing on a
quarantined device. It begins at once, ends by itself, is an alarm, and somebody else reviews it within a day. What
is not given as a flag is asked for at a terminal.

You may with your own certificate, if it has one of the roles or groups of break_glass in the configuration; or with
sealed codes, as many as are needed together: then you get a certificate for this emergency, which ends with it. The
codes are asked for, or read from standard input, one to a line; each is good once.`,
		Example: `  cordon break-glass open --device ct-2 --cert ito.pem --reason 'patient in danger'
  cordon break-glass open --device ct-2 --codes --person nurse.ito --out emergency --for 1h --reason 'identity provider is down'`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return cannot("break the glass", a.breakGlass(c.Context(), &o))
		},
	}
	f := c.Flags()
	f.StringVar(&o.device, "device", "", "the device's id")
	f.StringVar(&o.length, "for", "", "how long: `DURATION` such as 30m or 2h (default break_glass.duration, 30m)")
	f.StringVar(&o.reason, "reason", "", "why, in a line without patient data")
	f.StringVar(&o.by.cert, "cert", "", "your certificate with its chain, `FILE`.pem")
	f.StringVar(&o.by.key, "key", "", "its key (default: FILE.key beside it)")
	f.BoolVar(&o.codes, "codes", false, "open it with sealed codes")
	f.StringVar(&o.person, "person", "", "with sealed codes, who uses them: nurse.ito")
	f.StringVar(&o.out, "out", "", "with sealed codes, `NAME` of the certificate's files (default the person and the emergency)")
	c.MarkFlagsMutuallyExclusive("cert", "codes")
	mustComplete(c.RegisterFlagCompletionFunc("device", a.completeDevice))
	mustComplete(c.RegisterFlagCompletionFunc("reason", cobra.FixedCompletions(emergencyReasons, cobra.ShellCompDirectiveNoFileComp)))
	mustComplete(c.MarkFlagFilename("cert", "pem"))
	mustComplete(c.MarkFlagFilename("key", "key"))
	return c
}

// emergencyReasons are offered; any other will do.
var emergencyReasons = []string{"patient in danger", "who may is not here", "identity provider is down", "device was moved here"}

func (a *app) breakGlass(ctx context.Context, o *openFlags) error {
	c, err := config.Load(a.config())
	if err != nil {
		return err
	}
	if err := a.askOpening(c, o); err != nil {
		return err
	}
	d, err := c.Device(o.device)
	if err != nil {
		return err
	}
	want := daemon.Opening{Gateway: c.ID(), Device: d.ID, Reason: o.reason, Once: rand.Text()}
	if o.length != "" {
		length, err := span(o.length)
		if err != nil {
			return badFlag("for", o.length, err, "--for 30m")
		}
		want.Seconds = max(1, int64(length/time.Second))
	}
	r := daemon.EmergencyRequest{Do: "open", Opening: want, Person: o.person}
	if o.codes {
		if err := newCertificate(o.out); err != nil {
			return err
		}
		if r.Codes, err = a.askSecrets("Sealed code"); err != nil {
			return err
		}
	} else {
		cert, err := o.by.load()
		if err != nil {
			return err
		}
		said, err := signed.Sign(cert, daemon.PurposeOpen, want)
		if err != nil {
			return err
		}
		r = daemon.EmergencyRequest{Do: "open", Signed: &said}
	}
	var done daemon.EmergencyAnswer
	if err := a.askEmergency(ctx, c, &r, &done); err != nil {
		return err
	}
	return a.showOpened(o, &done)
}

// askOpening asks a person at a terminal for what no flag says.
func (a *app) askOpening(c *config.Config, o *openFlags) error {
	for _, q := range []struct {
		flag, question string
		offered        []string
		value          *string
		needed         bool
	}{
		{"device", "Device, by number or id", deviceIDs(c), &o.device, true},
		{"reason", "Why, a number or your own words without patient data", emergencyReasons, &o.reason, true},
		{"cert", "Your certificate, FILE.pem; nothing to use sealed codes", nil, &o.by.cert, !o.codes},
	} {
		if *q.value != "" || !q.needed {
			continue
		}
		var err error
		if *q.value, err = a.ask(q.question, q.offered); errors.Is(err, errNobody) {
			return exit.Error{Code: "usage.flag", Message: "--" + q.flag + " is not given", Exit: exit.Usage, Try: []string{"cordon break-glass open --help"}}
		} else if err != nil {
			return err
		}
	}
	if o.codes = o.by.cert == ""; !o.codes {
		return nil
	}
	for o.person == "" {
		var err error
		if o.person, err = a.ask("Your name, as in nurse.ito", nil); errors.Is(err, errNobody) {
			return exit.Error{Code: "usage.flag", Message: "--person is not given", Exit: exit.Usage, Try: []string{"--person nurse.ito"}}
		} else if err != nil {
			return err
		}
	}
	if o.out == "" {
		o.out = o.person + "-" + o.device + "-" + time.Now().Format("0102-1504")
	}
	return nil
}

// newCertificate reports whether a certificate can be written to out, before codes are spent on it.
func newCertificate(out string) error {
	for _, path := range []string{out + ".pem", out + ".key"} {
		if _, err := os.Lstat(path); err == nil {
			return exit.Error{Code: "cert.exists", Message: fmt.Sprintf("%s exists already, and nothing is overwritten", path), Exit: exit.Conflict, Try: []string{"--out with another name"}}
		}
	}
	return writable(out)
}

// writable tries to make a file beside out.
func writable(out string) error {
	if err := disk.Create(out+".key", nil, 0o600); err != nil {
		return err
	}
	return os.Remove(out + ".key")
}

func deviceIDs(c *config.Config) (ids []string) {
	for i := range c.Devices {
		ids = append(ids, c.Devices[i].ID)
	}
	return ids
}

// askEmergency asks the running gateway.
func (a *app) askEmergency(ctx context.Context, c *config.Config, r *daemon.EmergencyRequest, done *daemon.EmergencyAnswer) error {
	err := control.Ask(ctx, c.Gateway.State, "emergency", r, done, daemon.ReloadTimeout)
	if errors.Is(err, control.ErrNoGateway) {
		err = exit.Error{Code: "control.unreachable", Message: "no gateway runs with the state in " + c.Gateway.State, Exit: exit.Unreachable, Err: err, Try: []string{"start it: cordon run", "run this as the user the gateway runs as"}}
	}
	return err
}

// openedJSON is an emergency that was opened, for programs.
type openedJSON struct {
	Schema string   `json:"schema"`
	Opened factJSON `json:"opened"`
	Review string   `json:"review_by"`
	Files  []string `json:"files,omitempty"`
	Warn   string   `json:"warning,omitempty"`
}

func (a *app) showOpened(o *openFlags, done *daemon.EmergencyAnswer) error {
	var files []string
	if done.Issued != nil {
		var err error
		if files, err = writeIdentity(o.out, done.Issued); err != nil {
			return exit.Error{Code: "break_glass.certificate", Message: fmt.Sprintf("%s is open, and its certificate could not be written: %v", done.Fact.ID, err), Err: err, Try: []string{"cordon break-glass close " + done.Fact.ID, "open it again with --out elsewhere"}}
		}
	}
	warn := ""
	if done.Unkept != "" {
		warn = "it could not be kept, and ends with the gateway: " + done.Unkept
	}
	if a.json {
		return a.object(openedJSON{"cordon.break_glass.opened/v1", newFactJSON(&done.Fact), done.Fact.ReviewBy().UTC().Format(time.RFC3339), files, warn})
	}
	fmt.Fprintf(a.stdout, "%s open: %s, %s\n", done.Fact.ID, &done.Fact, left(&done.Fact, time.Now()))
	if files != nil {
		fmt.Fprintln(a.stdout, strings.Join(files, "\n"))
		a.remark("the certificate is %s's, and ends with it", done.Fact.Subject)
	}
	if warn != "" {
		a.remark("warning: %s", warn)
	}
	a.remark("alarms are sent, and everything is recorded; somebody else reviews it by %s", done.Fact.ReviewBy().Local().Format("2006-01-02 15:04"))
	a.remark("when it is not needed any more: cordon break-glass close %s", done.Fact.ID)
	return nil
}

func breakGlassCloseCommand(a *app) *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "close ID", Short: "End an emergency before its time",
		Example:           "  cordon break-glass close E-7QF2K",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeEmergency(func(f *access.Fact) bool { return f.Phase() == access.InForce }),
		RunE: func(c *cobra.Command, args []string) error {
			id := strings.ToUpper(args[0])
			config, err := config.Load(a.config())
			if err == nil && !strings.HasPrefix(id, "E-") {
				err = daemon.RefusedFact(access.ErrNoFact)
			}
			if err == nil {
				err = a.carryOut(c.Context(), config, &daemon.AccessRequest{Do: "end", ID: id, Reason: reason}, id, true)
			}
			return cannot("close "+id, err)
		},
	}
	c.Flags().StringVar(&reason, "reason", "not needed any more", "why, in a line without patient data")
	return c
}

func breakGlassReviewCommand(a *app) *cobra.Command {
	var by badge
	var found string
	c := &cobra.Command{
		Use: "review ID", Short: "Say what you found about an emergency that somebody else opened",
		Long: `Say what you found about an emergency that is over, with your own certificate: one of the roles break_glass.reviewers
of the configuration, and not whoever opened it. "cordon break-glass show" has what was done in it. It is due within
24 hours of its beginning; one that is overdue is an alarm and a finding of doctor, and keeps nobody from care.`,
		Example:           "  cordon break-glass review E-7QF2K --cert kim.pem --note 'needed: night shift had no CT role'",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeEmergency((*access.Fact).Unreviewed),
		RunE: func(c *cobra.Command, args []string) error {
			id := strings.ToUpper(args[0])
			return cannot("review "+id, a.reviewEmergency(c.Context(), id, &by, found))
		},
	}
	by.flags(c)
	c.Flags().StringVar(&found, "note", "", "what you found, in a line without patient data")
	mustComplete(c.MarkFlagRequired("note"))
	return c
}

func (a *app) reviewEmergency(ctx context.Context, id string, by *badge, found string) error {
	c, err := config.Load(a.config())
	if err != nil {
		return err
	}
	cert, err := by.load()
	if err != nil {
		return err
	}
	said, err := signed.Sign(cert, daemon.PurposeReview, daemon.Review{Gateway: c.ID(), ID: id, Note: found})
	if err != nil {
		return err
	}
	var done daemon.EmergencyAnswer
	if err := a.askEmergency(ctx, c, &daemon.EmergencyRequest{Do: "review", Signed: &said}, &done); err != nil {
		return err
	}
	if a.json {
		return a.object(newFactJSON(&done.Fact))
	}
	fmt.Fprintf(a.stdout, "%s reviewed by %s\n", done.Fact.ID, done.Fact.ReviewedBy)
	return nil
}

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cordon/certs"
	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/revision"
	"cordon/gateway"
	"cordon/gateway/audit"
	"cordon/policy"
	"cordon/policy/rego"
)

func whyCommand(a *app) *cobra.Command {
	var repair repairOptions
	c := &cobra.Command{
		Use: "why CODE", Short: "Explain a decision code",
		Long: `Explain the decision a code names: who asked for what, of which device, what was
answered, and the rule and condition that decided. The question is asked again, of the
policy that answered it then.

With --repair, look for the smallest edits of the policy's data, the subject's roles and the
device's facts that would allow it under the policy that decides now. Each is tried by
deciding with it; what it would have changed besides is counted in the log. Nothing is
changed. What a guard refuses (a quarantine, a virtual patch, an unknown class of operation)
is no edit's business.`,
		Example: "  cordon why 7QF-21 --dir DIR\n  cordon why 7QF-21 --repair --since 30d",
		Args:    cobra.ExactArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.why(c.Context(), args[0], repair) },
	}
	c.Flags().BoolVar(&repair.wanted, "repair", false, "look for the smallest edits that would allow it")
	c.Flags().StringVar(&repair.since, "since", "7d", "with --repair: count what they would have changed from `TIME` on")
	return c
}

// explained is an explanation for scripts.
type explained struct {
	Schema      string        `json:"schema"`
	Entry       entryJSON     `json:"entry"`
	Explanation []rego.Ruling `json:"explanation"`
	Now         *bool         `json:"allow_now,omitempty"` // only if it differs from the entry
	Remark      string        `json:"remark,omitempty"`
	Repair      *repaired     `json:"repair,omitempty"`
}

func (a *app) why(ctx context.Context, code string, repair repairOptions) error {
	doing := "explain " + code
	if strings.EqualFold(code, gateway.CodeUnrecorded) {
		fmt.Fprintf(a.stdout, "%s: refused because the audit log could not be written, so there is no entry. Look at the disk of the gateway; it recovers by itself.\n", gateway.CodeUnrecorded)
		return nil
	}
	r, c, err := a.openLog()
	if err != nil {
		return cannot(doing, err)
	}
	e, err := find(r, code)
	if err != nil {
		return cannot(doing, err)
	}
	out := explained{Schema: "cordon.why/v1", Entry: newEntryJSON(&e), Explanation: []rego.Ruling{}}
	var request policy.Request
	if len(e.Input) > 0 {
		if err := json.Unmarshal(e.Input, &request); err != nil {
			return cannot(doing, err)
		}
	}
	if (e.Kind == audit.KindDecision || e.Kind == daemon.KindShadow) && e.Decision.Cause == policy.CausePolicy && e.Decision.Revision != "" {
		if err := explain(ctx, c, &e, &out); err != nil {
			return cannot(doing, err)
		}
	}
	if strings.HasPrefix(e.Decision.Reason, certs.ErrRevocationUnknown.Error()) {
		out.Remark = "cordon doctor says what is wrong with the lists in identity.ca.crl_file"
	}
	if repair.wanted {
		if out.Repair, err = a.repair(ctx, r, c, &e, &request, repair.since); err != nil {
			return cannot("repair "+code, err)
		}
	}
	if a.json {
		return a.object(out)
	}
	a.printWhy(&e, &request, &out)
	a.printRepairs(out.Repair)
	return nil
}

// explain asks the policy that decided e once more.
func explain(ctx context.Context, c *config.Config, e *audit.Entry, out *explained) error {
	engine, err := revision.KeptIn(c).Open(revision.Digests{Policy: e.Decision.Revision, Data: e.Decision.Data})
	if errors.Is(err, fs.ErrNotExist) {
		out.Remark = notKept(c, e)
		return nil
	}
	if err != nil {
		return fmt.Errorf("open the policy that decided: %w", err)
	}
	x, err := engine.Explain(ctx, e.Input)
	if err != nil {
		return err
	}
	out.Explanation = append(out.Explanation, x.Rulings...)
	if x.Error != "" {
		out.Remark = "the rules ran into " + x.Error
	}
	if x.Decision.Allow != e.Decision.Allow {
		out.Now = &x.Decision.Allow
		out.Remark = "asked again, the same policy answers differently: the entry or the kept policy was changed"
	}
	if out.Remark == "" {
		out.Remark = since(c, engine)
	}
	return nil
}

// notKept says why a decision cannot be explained, and that it stands all the same.
func notKept(c *config.Config, e *audit.Entry) string {
	return fmt.Sprintf("the policy that decided is not kept here any more: those that did not decide since %s may be removed (policy.keep is %s); what was recorded stands, "+
		"and a backup of %s from that time has it", time.Now().Add(-c.Policy.Keep).Local().Format(time.DateOnly), c.Policy.Keep, revision.KeptIn(c).Dir)
}

// since says what has changed from the policy that decided to the one in use, or "".
func since(c *config.Config, then *rego.Engine) string {
	f, err := revision.Open(c)
	if err != nil {
		return ""
	}
	now, err := granted(c)(f.Current, nil)
	if err != nil || now.Revision()+now.Data() == then.Revision()+then.Data() {
		return ""
	}
	x, err := ungranted(then, nil)
	y, failed := ungranted(now, err)
	if failed != nil || x.Revision()+x.Data() != y.Revision()+y.Data() {
		if name := f.Name(); name != "" {
			return name + " is in force now, another policy"
		}
		return "the policy has been edited since"
	}
	return "the policy is the same, and other access is granted now: cordon access list --all"
}

func (a *app) printWhy(e *audit.Entry, r *policy.Request, out *explained) {
	p := func(name, format string, args ...any) {
		fmt.Fprintf(a.stdout, "%-9s %s\n", name, fmt.Sprintf(format, args...))
	}
	what := plain(r.Operation.Name)
	if r.Phase == policy.PhaseConnect {
		what = "connect"
	}
	paint := a.palette(a.stdout)
	p("code", "%s (entry %d of %s)", e.Code, e.Index, e.Gateway)
	p("answer", "%s %s", strings.TrimSpace(verdict(e.Decision.Allow, paint)), what)
	p("when", "%s", e.Time.Local().Format(time.RFC3339))
	if len(e.Input) > 0 {
		p("who", "%s/%s, roles %s, from %s", r.Subject.Kind, r.Subject.ID, cmp.Or(strings.Join(r.Subject.Roles, ", "), "-"), r.Session.Client)
		p("device", "%s, %s, %s, service %s (%s)", r.Device.ID, r.Device.Class, r.Device.State, r.Service.Name, r.Service.Protocol)
	}
	if r.Operation.Class != "" {
		p("class", "%s", r.Operation.Class)
	}
	if e.Kind == daemon.KindShadow {
		p("shadow", "%s", e.Note)
	}
	p("because", "%s", plain(cmp.Or(e.Decision.Reason, e.Decision.Rule, e.Note, "-")))
	switch e.Decision.Cause {
	case policy.CauseProtocol:
		p("decided", "by the protocol's inspector, before any policy was asked")
	case policy.CauseDoubt:
		p("decided", "by doubt: nobody could know, so it was refused; trying again may help")
	}
	if e.Decision.Revision != "" {
		p("policy", "%s data %s", e.Decision.Revision, e.Decision.Data)
	}
	for i, x := range out.Explanation {
		if i == 3 && a.verbose == 0 {
			fmt.Fprintf(a.stdout, "          and %d more rules that did not hold (-v shows them)\n", len(out.Explanation)-i)
			break
		}
		comment, _, _ := strings.Cut(strings.TrimSpace(x.Comment), "\n")
		p("rule", "%s:%d  %s", x.File, x.Line, plain(comment))
		if x.Failed == nil {
			p("", "held")
			continue
		}
		p("", "did not hold at %s:%d: %s", x.Failed.File, x.Failed.Line, plain(x.Failed.Source))
		for _, v := range x.Failed.Values {
			p("", "  %s is %s", v.Name, v.Value)
		}
	}
	if out.Remark != "" {
		p("remark", "%s", out.Remark)
	}
}

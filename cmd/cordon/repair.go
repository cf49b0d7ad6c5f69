package main

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/revision"
	"cordon/gateway/audit"
	"cordon/policy"
	"cordon/policy/rego"
)

// repairOptions are the flags of "why" for repairs.
type repairOptions struct {
	wanted bool
	since  string
}

// repaired is what "why --repair" found.
type repaired struct {
	Remark  string        `json:"remark,omitempty"` // why there is nothing to find
	Since   time.Time     `json:"since"`            // effects are counted from here on
	Policy  string        `json:"policy"`           // digests of the policy that decides
	Data    string        `json:"data"`
	Beside  string        `json:"workspace,omitempty"` // how the folder that would be edited differs from it
	Lost    int64         `json:"not_counted"`         // recorded decisions that could not be asked again
	Repairs []rego.Repair `json:"repairs"`             // those that change least besides come first
	Try     []string      `json:"try"`                 // commands that come next
}

// repair looks for edits that would allow what e refused.
func (a *app) repair(ctx context.Context, log *audit.Reader, c *config.Config, e *audit.Entry, asked *policy.Request, from string) (*repaired, error) {
	now := time.Now()
	since, err := moment("since", from, now)
	if err != nil {
		return nil, err
	}
	out := &repaired{Since: since.UTC(), Repairs: []rego.Repair{}, Try: []string{}}
	if out.Remark = noRepair(e); out.Remark != "" {
		return out, nil
	}
	engine, err := openPolicy(c, inForceName)
	if err != nil {
		return nil, err
	}
	out.Policy, out.Data = engine.Revision(), engine.Data()
	if engine.Allows(ctx, asked) {
		out.Remark = "the policy that decides now allows it already"
		return out, nil
	}
	if out.Remark = engine.Guard(ctx, asked); out.Remark != "" {
		return out, nil
	}
	around := rego.Around{Labels: labelsInUse(c)}
	if out.Beside = revision.Workspace(c); out.Beside != "" {
		if around.Workspace, err = rego.Load(c.Policy.Dir); err != nil {
			around.Workspace = nil // then no edit has a place: see below
		}
	}
	if out.Repairs, err = engine.Repairs(ctx, asked, around); err != nil {
		return nil, err
	}
	if len(out.Repairs) == 0 {
		out.Remark = "no edit of one or two facts allows it: look at the rules above"
		return out, nil
	}
	history, err := a.readHistory(ctx, log, engine, since, now)
	if err != nil {
		return nil, err
	}
	out.Lost = history.Lost()
	if err := history.Weigh(ctx, asked, out.Repairs); err != nil {
		return nil, err
	}
	for i := range out.Repairs {
		for j := range out.Repairs[i].Edits {
			switch x := &out.Repairs[i].Edits[j]; {
			case out.Beside != "" && around.Workspace == nil:
				x.Place = rego.Place{}
			case x.File != "":
				x.File = filepath.Join(c.Policy.Dir, filepath.FromSlash(x.File))
			}
		}
	}
	out.Try = []string{"cordon policy check", fmt.Sprintf("cordon policy replay --since %s --against %s", from, c.Policy.Dir), revision.PublishCommand(c, c.Policy.Dir)}
	if grant := a.proposeGrant(asked); grant != "" {
		out.Try = append(out.Try, grant)
	}
	return out, nil
}

// proposeGrant returns the command that would permit it for a time and leave the policy as it
// is, if this program has one. It was not tried.
func (a *app) proposeGrant(asked *policy.Request) string {
	if asked.Operation.Class == "" || asked.Operation.Class == policy.ClassSession {
		return "" // what a grant names is an operation
	}
	c, _, err := newRoot(&app{}).Find([]string{"access", "grant"}) // of an app of its own: making commands resets the flags
	if err != nil || c.Name() != "grant" {
		return ""
	}
	return fmt.Sprintf("for a time only: %s %s/%s --device %s --class %s --for 4h --reason WHY", c.CommandPath(), asked.Subject.Kind, asked.Subject.ID, asked.Device.ID, asked.Operation.Class)
}

// noRepair says why an entry is not the policy's to repair, or "".
func noRepair(e *audit.Entry) string {
	switch {
	case e.Decision.Allow:
		return "it was allowed: there is nothing to repair"
	case len(e.Input) == 0:
		return "no certificate was shown that could be believed, and no policy was asked: only a certificate helps"
	case e.Decision.Cause == policy.CauseProtocol:
		return "the protocol's inspector refused it, before any policy was asked: no edit of the policy helps"
	case e.Decision.Cause == policy.CauseDoubt:
		return "nobody could decide it, so it was refused: trying again may help, no edit of the policy does"
	case e.Decision.Revision == "":
		return "the gateway itself refused it, whatever a policy says: " + cmp.Or(e.Decision.Reason, e.Note)
	}
	return ""
}

// labelsInUse are the values that devices have, by label.
func labelsInUse(c *config.Config) map[string][]string {
	used := map[string][]string{}
	for _, d := range c.Devices {
		for name, value := range d.Labels {
			if !slices.Contains(used[name], value) {
				used[name] = append(used[name], value)
			}
		}
	}
	for _, values := range used {
		slices.Sort(values)
	}
	return used
}

// readHistory reads what was asked from since until until, on all processors.
func (a *app) readHistory(ctx context.Context, log *audit.Reader, engine *rego.Engine, since, until time.Time) (*rego.History, error) {
	read := &recordedTime{log: log, since: since, until: until}
	parts, err := readRecorded(ctx, a, read, func() (*rego.History, error) { return engine.NewHistory(), nil })
	if err != nil {
		return nil, err
	}
	for _, p := range parts[1:] {
		parts[0].Join(p)
	}
	return parts[0], nil
}

// printRepairs tells a person what would have allowed it.
func (a *app) printRepairs(out *repaired) {
	if out == nil {
		return
	}
	p := func(name, format string, args ...any) {
		fmt.Fprintf(a.stdout, "%-9s %s\n", name, fmt.Sprintf(format, args...))
	}
	if out.Remark != "" {
		p("repair", "none: %s", out.Remark)
		return
	}
	for i, r := range out.Repairs {
		for j, x := range r.Edits {
			name := ""
			if j == 0 {
				name = fmt.Sprintf("repair %d", i+1)
			}
			p(name, "%s", x.Words)
			switch {
			case x.File == "":
			case x.There:
				p("", "  %s  says it already, and is not in force", x.File)
			default:
				at, word := fmt.Sprintf("%s:%d", x.File, x.Line), "add"
				if x.Before != "" {
					word = "write"
				}
				for l := range strings.Lines(outdented(x.After)) {
					p("", "  %s  %-5s %s", at, word, strings.TrimSuffix(l, "\n"))
					at, word = strings.Repeat(" ", len(at)), ""
				}
				if x.Before != "" {
					p("", "  %s  for   %s", strings.Repeat(" ", len(at)), strings.TrimSpace(x.Before))
				}
			}
		}
		p("", "%s", effectInWords(&r.Effect, out.Since))
	}
	if out.Lost > 0 {
		p("", "%d recorded decisions could not be asked again and are not counted", out.Lost)
	}
	if out.Beside != "" {
		p("", "%s", out.Beside)
	}
	p("", "nothing is changed; lines are those of the file once the edits above them are made")
	a.remark("next: edit, then %s", strings.Join(out.Try, "\n      "))
}

// outdented takes the first line's indentation from each line.
func outdented(text string) string {
	indent := text[:len(text)-len(strings.TrimLeft(text, " "))]
	return strings.ReplaceAll(strings.TrimPrefix(text, indent), "\n"+indent, "\n")
}

// effectInWords says what a repair would have changed.
func effectInWords(x *rego.Effect, since time.Time) string {
	others := "nothing else"
	if x.Allowed > 0 {
		others = fmt.Sprintf("%d others of %d subject(s), such as %s,", x.Allowed, x.People, strings.Join(x.Examples, ", "))
	}
	if x.Denied > 0 {
		others += fmt.Sprintf(", and refused %d", x.Denied)
	}
	return fmt.Sprintf("since %s it would have allowed %d like this one, and %s of %d", since.Local().Format("2006-01-02 15:04"), x.Asked, strings.TrimSuffix(others, ","), x.Questions)
}

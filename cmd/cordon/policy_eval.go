package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/revision"
	"cordon/gateway/audit"
	"cordon/policy"
	"cordon/policy/rego"
)

func policyEvalCommand(a *app) *cobra.Command {
	var against string
	c := &cobra.Command{
		Use: "eval CODE|FILE", Short: "Ask the policy a recorded question, or one from a file",
		Long: `Ask the policy that decides what a decision code names, or what FILE holds (- is
standard input): a request in JSON, as "input" in the output of "cordon audit show". What
a file leaves out is empty; now_ns is the time of day. Nothing is recorded.`,
		Example: "  cordon policy eval 7QF-21\n  cordon policy eval question.json --against next/",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return cannot("evaluate "+args[0], a.evaluate(c.Context(), args[0], against))
		},
	}
	c.Flags().StringVar(&against, "against", inForceName, "the policy to ask: what decides, a folder, or the digest of one that decided here: `DIR|REVISION`")
	return c
}

// evaluated is an answer for scripts.
type evaluated struct {
	Schema      string          `json:"schema"`
	Code        string          `json:"code,omitempty"`
	Allow       bool            `json:"allow"`
	Recorded    *bool           `json:"recorded_allow,omitempty"` // what was answered then
	Reason      string          `json:"reason,omitempty"`
	Rule        string          `json:"rule,omitempty"`
	Cause       policy.Cause    `json:"cause"`
	Obligations []string        `json:"obligations,omitempty"`
	ValidUntil  int64           `json:"valid_until,omitempty"`
	Policy      string          `json:"policy"`
	Data        string          `json:"data"`
	Input       json.RawMessage `json:"input"`
	Explanation []rego.Ruling   `json:"explanation"`
	Error       string          `json:"error,omitempty"`     // what the rules ran into
	Beside      string          `json:"workspace,omitempty"` // how the policy folder differs from what decides, if that was asked
}

func (a *app) evaluate(ctx context.Context, name, against string) error {
	out := evaluated{Schema: "cordon.policy.eval/v1"}
	c, err := config.Load(a.config())
	if err != nil {
		return err
	}
	if _, err := os.Stat(name); err == nil || name == "-" {
		if out.Input, err = a.readQuestion(name); err != nil {
			return err
		}
	} else {
		log, _, err := a.openLog()
		if err != nil {
			return err
		}
		e, err := find(log, name)
		if err != nil {
			return err
		}
		if len(e.Input) == 0 {
			return exit.Error{Code: "policy.no_question", Exit: exit.NotFound, Message: "no policy was asked then", Try: []string{"cordon why " + name}}
		}
		out.Code, out.Input, out.Recorded = e.Code, e.Input, &e.Decision.Allow
	}
	engine, err := openPolicy(c, against)
	if err != nil {
		return err
	}
	out.Beside = a.beside(c, against)
	x, err := engine.Explain(ctx, out.Input)
	if err != nil {
		return err
	}
	d := x.Decision
	out.Allow, out.Reason, out.Rule, out.Cause, out.Obligations, out.ValidUntil = d.Allow, d.Reason, d.Rule, d.Cause, d.Obligations, d.ValidUntil
	out.Policy, out.Data, out.Explanation, out.Error = engine.Revision(), engine.Data(), append([]rego.Ruling{}, x.Rulings...), x.Error
	if a.json {
		return a.object(out)
	}
	return a.printEvaluated(&out)
}

// readQuestion reads a request from a file and returns it whole.
func (a *app) readQuestion(name string) ([]byte, error) {
	in := a.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, audit.MaxEntry+1))
	if err != nil {
		return nil, err
	}
	bad := exit.Error{Code: "policy.input", Exit: exit.Usage, File: name, Try: []string{"a request as cordon audit show CODE prints it under input"}}
	if len(text) > audit.MaxEntry {
		bad.Message = fmt.Sprintf("the question is longer than %d KiB", audit.MaxEntry>>10)
		return nil, bad
	}
	r := policy.Request{Device: policy.Device{Labels: map[string]string{}}, NowNs: time.Now().UnixNano()}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		bad.Message = "read the question: " + strings.TrimPrefix(err.Error(), "json: ")
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok && name != "-" {
			before := string(text[:max(0, syntax.Offset-1)])
			bad.Line, bad.Col = strings.Count(before, "\n")+1, utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])+1
			bad.Excerpt = revision.Excerpt(name, bad.Line, bad.Col)
		}
		return nil, bad
	}
	if r.Phase != policy.PhaseConnect && r.Phase != policy.PhaseOperation {
		bad.Message = fmt.Sprintf("the question's phase is %q, neither connect nor operation", r.Phase)
		return nil, bad
	}
	return r.AppendJSON(nil), nil
}

func (a *app) printEvaluated(x *evaluated) error {
	p := func(name, format string, args ...any) {
		fmt.Fprintf(a.stdout, "%-9s %s\n", name, fmt.Sprintf(format, args...))
	}
	var r policy.Request
	if err := json.Unmarshal(x.Input, &r); err != nil {
		return err
	}
	what := r.Operation.Name
	if r.Phase == policy.PhaseConnect {
		what = "connect"
	}
	paint := a.palette(a.stdout)
	p("answer", "%s %s", strings.TrimSpace(verdict(x.Allow, paint)), what)
	if x.Recorded != nil {
		p("then", "%s (%s)", strings.TrimSpace(verdict(*x.Recorded, paint)), x.Code)
	}
	p("who", "%s/%s, roles %s", r.Subject.Kind, r.Subject.ID, cmp.Or(strings.Join(r.Subject.Roles, ", "), "-"))
	p("device", "%s, %s, %s, service %s (%s)", r.Device.ID, r.Device.Class, r.Device.State, r.Service.Name, r.Service.Protocol)
	p("because", "%s", cmp.Or(cmp.Or(x.Reason, x.Rule), "-"))
	if len(x.Obligations) > 0 {
		p("besides", "%s", strings.Join(x.Obligations, ", "))
	}
	if x.ValidUntil != 0 {
		p("until", "%s", time.Unix(0, x.ValidUntil).Format(time.RFC3339))
	}
	p("policy", "%s data %s", x.Policy, x.Data)
	for _, ruling := range x.Explanation {
		comment, _, _ := strings.Cut(ruling.Comment, "\n")
		p("rule", "%s:%d  %s", ruling.File, ruling.Line, comment)
		if ruling.Failed == nil {
			p("", "held")
			continue
		}
		p("", "did not hold at %s:%d: %s", ruling.Failed.File, ruling.Failed.Line, ruling.Failed.Source)
		for _, v := range ruling.Failed.Values {
			p("", "  %s is %s", v.Name, v.Value)
		}
	}
	if x.Error != "" {
		p("remark", "the rules ran into %s", x.Error)
	}
	return nil
}

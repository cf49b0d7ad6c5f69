package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/revision"
	"cordon/gateway/audit"
	"cordon/policy"
	"cordon/policy/rego"
)

// replayOptions are the flags of "policy replay".
type replayOptions struct {
	since, until, against string
	failOn                []string
}

func policyReplayCommand(a *app) *cobra.Command {
	var o replayOptions
	c := &cobra.Command{
		Use: "replay", Short: "Tell what an edited policy would have decided otherwise",
		Long: `Ask a policy everything that was asked in a time that is in the audit log, and compare
its answers with the recorded ones. The policy is the one that decides, or another one named
by --against. Without policy.approval and policy.bundle, what decides is the policy folder as it
stands now.

What changes is grouped by device class, operation and roles; what would newly be refused
on devices of high criticality comes first. Decisions that were not a policy's, or whose
record does not say all that the policy reads, are listed as not replayed: nothing is known
of them. A replay cannot tell about what nobody asked, and it believes the log:
"cordon audit verify" checks it.

TIME is a duration back from now (90m, 24h, 7d), a day (2026-11-22) or a moment
(2026-11-22T09:30:00Z).`,
		Example: `  cordon policy replay --since 24h
  cordon policy replay --since 7d --against next/ --fail-on newly-denied:critical`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.replay(c.Context(), o) },
	}
	c.Flags().StringVar(&o.since, "since", "24h", "decisions recorded from `TIME` on")
	c.Flags().StringVar(&o.until, "until", "", "decisions recorded before `TIME`")
	c.Flags().StringVar(&o.against, "against", inForceName, "the policy to ask: what decides, a folder, or the digest of one that decided here: `DIR|REVISION`")
	c.Flags().StringSliceVar(&o.failOn, "fail-on", nil, "exit with 8 if there is `CHANGE`: newly-denied, newly-denied:critical, newly-allowed, newly-allowed:critical")
	mustComplete(c.RegisterFlagCompletionFunc("fail-on", cobra.FixedCompletions(failOnChanges[:], cobra.ShellCompDirectiveNoFileComp)))
	return c
}

var failOnChanges = [...]string{"newly-denied", "newly-denied:critical", "newly-allowed", "newly-allowed:critical"}

// replayed is a replay for scripts.
type replayed struct {
	Schema string    `json:"schema"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
	rego.Report
	Beside string `json:"workspace,omitempty"` // how the policy folder differs from what decides, if that was asked
	Gaps   int64  `json:"gaps"`                // times in which the gateway could not record; what it refused then is not known
	Torn   int64  `json:"torn_bytes"`          // bytes behind the last entry that are no entry
}

func (a *app) replay(ctx context.Context, o replayOptions) error {
	now := time.Now()
	since, err := moment("since", o.since, now)
	if err != nil {
		return err
	}
	until := now
	if o.until != "" {
		if until, err = moment("until", o.until, now); err != nil {
			return err
		}
	}
	if !since.Before(until) {
		return exit.Error{Code: "usage.time", Exit: exit.Usage, Message: fmt.Sprintf("--since %s is not before --until %s", since.Format(time.RFC3339), until.Format(time.RFC3339))}
	}
	for _, f := range o.failOn {
		if !slices.Contains(failOnChanges[:], f) {
			return exit.Error{Code: "usage.fail_on", Exit: exit.Usage, Message: fmt.Sprintf("--fail-on %q is none of %s", f, strings.Join(failOnChanges[:], ", "))}
		}
	}
	const doing = "replay the policy"
	log, c, err := a.openLog()
	if err != nil {
		return cannot(doing, err)
	}
	engine, err := openPolicy(c, o.against)
	if err != nil {
		return cannot(doing, err)
	}
	out, err := a.replayLog(ctx, log, engine, c, since, until)
	if damage, ok := errors.AsType[*audit.Damage](err); ok {
		return exit.Error{Code: "audit.damaged", Message: "cannot " + doing + ": the audit log is damaged: " + err.Error(), Exit: exit.Checks, Err: damage,
			Try: []string{"cordon audit verify", "replay a time before it with --until, or after it with --since"}}
	}
	if err != nil {
		return cannot(doing, err)
	}
	out.Beside = a.beside(c, o.against)
	if a.json {
		err = a.object(out)
	} else {
		err = a.printReplay(out)
	}
	return errors.Join(err, judge(&out.Report, o.failOn))
}

// judge turns what must not be into an exit code.
func judge(r *rego.Report, failOn []string) error {
	if n := r.Count(rego.Contradicted, false); n > 0 {
		return exit.Error{Code: "replay.contradicted", Exit: exit.Findings, Message: fmt.Sprintf("%d decisions are recorded otherwise than the very policy they name answers: the log or the policy was changed", n),
			Try: []string{"cordon audit verify"}}
	}
	for _, f := range failOn {
		change, critical := strings.CutSuffix(f, ":critical")
		if n := r.Count(rego.Change(change), critical); n > 0 {
			where := ""
			if critical {
				where = " on critical devices"
			}
			return exit.Error{Code: "replay." + strings.ReplaceAll(change, "-", "_"), Exit: exit.Findings,
				Message: fmt.Sprintf("%d decisions would be %s%s", n, strings.ReplaceAll(change, "-", " "), where), Try: []string{"cordon why CODE tells what was asked"}}
		}
	}
	return nil
}

// moment reads a time as it is given on the command line.
func moment(flag, text string, now time.Time) (time.Time, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 15); err == nil {
			return now.Add(-time.Duration(n) * 24 * time.Hour), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly, "2006-01-02 15:04"} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, exit.Error{Code: "usage.time", Exit: exit.Usage, Message: fmt.Sprintf("--%s %q is no time", flag, text), Try: []string{"--" + flag + " 24h", "--" + flag + " " + now.Format(time.RFC3339)}}
}

// replayLog asks engine what was recorded from since until until, on all processors.
func (a *app) replayLog(ctx context.Context, log *audit.Reader, engine *rego.Engine, c *config.Config, since, until time.Time) (*replayed, error) {
	high := map[string]bool{}
	for _, d := range c.Devices {
		high[d.ID] = d.Criticality == "high"
	}
	read := &recordedTime{log: log, since: since, until: until}
	parts, err := readRecorded(ctx, a, read, func() (*rego.Replay, error) {
		r := engine.NewReplay(func(device string) bool { return high[device] })
		return r, r.AccessBy(accessThen(c))
	})
	if err != nil {
		return nil, err
	}
	for _, p := range parts[1:] {
		parts[0].Join(p)
	}
	return &replayed{Schema: "cordon.replay/v1", Since: since.UTC(), Until: until.UTC(), Report: parts[0].Report(), Gaps: read.gaps.Load(), Torn: read.torn}, nil
}

// recordedTime is a part of the log that is read by several workers.
type recordedTime struct {
	log          *audit.Reader
	since, until time.Time

	spans      []audit.Span
	torn       int64        // bytes behind the last entry that are no entry
	next       atomic.Int64 // the span to be taken next
	read, gaps atomic.Int64 // entries
}

// readRecorded hands all decisions of a time to one taker for each processor, which it returns, and shows how far it is.
func readRecorded[T interface {
	Add(context.Context, *rego.Recorded) error
}](ctx context.Context, a *app, w *recordedTime, taker func() (T, error)) ([]T, error) {
	extent, err := w.log.Since(w.since)
	if err != nil {
		return nil, err
	}
	parts := make([]T, runtime.GOMAXPROCS(0))
	for i := range parts {
		if parts[i], err = taker(); err != nil {
			return nil, err
		}
	}
	w.spans, w.torn = share(extent.Spans, 2*len(parts)), extent.Torn
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var workers sync.WaitGroup
	for i := range parts {
		workers.Go(func() {
			if err := w.run(ctx, parts[i].Add); err != nil {
				stop(err)
			}
		})
	}
	done := make(chan struct{})
	var bar sync.WaitGroup
	if a.terminal(a.stderr) && !a.quiet && !a.json && len(extent.Spans) > 0 {
		total := extent.Spans[len(extent.Spans)-1].To - extent.Spans[0].From
		bar.Go(func() { progress(a.stderr, &w.read, total, done) })
	}
	workers.Wait()
	close(done)
	bar.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return parts, nil
}

// accessThen tells what was granted when a policy decided, from where it is kept.
func accessThen(c *config.Config) func(rules, data string) ([]byte, bool) {
	return func(rules, data string) ([]byte, bool) {
		return revision.KeptIn(c).Access(revision.Digests{Policy: rules, Data: data})
	}
}

// share cuts spans so that there are at least n, if there are as many entries. Beginning
// within a file costs reading over what is before, so many spans stay as they are.
func share(spans []audit.Span, n int) (out []audit.Span) {
	if len(spans) == 0 || len(spans) >= n {
		return spans
	}
	pieces := int64((n + len(spans) - 1) / len(spans))
	for _, s := range spans {
		step := max(1, (s.To-s.From+pieces-1)/pieces)
		for from := s.From; from < s.To; from += step {
			out = append(out, audit.Span{From: from, To: min(from+step, s.To)})
		}
	}
	return out
}

// run hands the decisions of spans to add until no span is left.
func (w *recordedTime) run(ctx context.Context, add func(context.Context, *rego.Recorded) error) error {
	for {
		i := int(w.next.Add(1)) - 1
		if i >= len(w.spans) {
			return nil
		}
		for e, err := range w.log.Decisions(w.spans[i]) {
			if err != nil {
				return err
			}
			w.read.Add(1)
			if e.Time.Before(w.since) || !e.Time.Before(w.until) {
				continue
			}
			switch {
			case e.Kind == audit.KindDecision || e.Kind == audit.KindHandshake:
			case e.Kind == audit.KindGap:
				w.gaps.Add(1)
				continue
			case len(e.Input) == 0, e.Kind == daemon.KindShadow: // about the gateway itself, or answered nobody
				continue
			default: // somebody was answered, but not by the policy
				e.Decision.Cause = policy.Cause(e.Kind)
			}
			rec := rego.Recorded{Index: e.Index, Time: e.Time, Code: e.Code, Input: e.Input, Decision: e.Decision}
			if err := add(ctx, &rec); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

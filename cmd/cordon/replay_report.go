package main

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"cordon/policy/rego"
)

// progress draws a bar once a second has passed, until done.
func progress(w io.Writer, read *atomic.Int64, total int64, done <-chan struct{}) {
	const width = 30
	start := time.Now()
	tick := time.NewTicker(time.Second / 5)
	defer tick.Stop()
	drawn := false
	for {
		select {
		case <-done:
			if drawn {
				fmt.Fprint(w, "\r\x1b[K")
			}
			return
		case <-tick.C:
		}
		n, took := min(read.Load(), total), time.Since(start)
		if took < time.Second || n == 0 {
			continue
		}
		left := time.Duration(float64(took) * float64(total-n) / float64(n)).Round(time.Second)
		fmt.Fprintf(w, "\r[%-*s] %3d %%  %d of %d entries, %v left\x1b[K", width, strings.Repeat("=", int(n*width/total)), n*100/total, n, total, left)
		drawn = true
	}
}

// printReplay tells a person what a replay found.
func (a *app) printReplay(r *replayed) error {
	const when = "2006-01-02 15:04"
	fmt.Fprintf(a.stdout, "policy %.19s data %.19s, asked what %d decisions from %s to %s were about\n",
		r.Policy, r.Report.Data, r.Recorded, r.Since.Local().Format(when), r.Until.Local().Format(when))
	for _, l := range []struct {
		name string
		n    int64
	}{
		{"contradicted", r.Count(rego.Contradicted, false)},
		{"newly denied on critical devices", r.Count(rego.NewlyDenied, true)},
		{"newly denied on others", r.Count(rego.NewlyDenied, false) - r.Count(rego.NewlyDenied, true)},
		{"newly allowed", r.Count(rego.NewlyAllowed, false)},
		{"allowed with other obligations", r.Count(rego.OtherObligations, false)},
		{"could not be replayed", r.Count(rego.NotReplayed, false)},
		{"allowed as before", r.Allowed},
		{"denied as before", r.Denied},
	} {
		fmt.Fprintf(a.stdout, "  %9d  %s\n", l.n, l.name)
	}
	var rows [][]string
	for _, g := range r.Groups {
		change := string(g.Change)
		if g.Critical {
			change += " (critical)"
		}
		rows = append(rows, []string{change, g.Before + " → " + cmp.Or(g.After, "?"), strconv.FormatInt(g.Count, 10), strconv.Itoa(g.People),
			cmp.Or(g.Class, "-"), cmp.Or(g.Operation, "-"), cmp.Or(g.Roles, "-"), g.First.Local().Format(when), g.Last.Local().Format(when), strings.Join(g.Examples, ","), cmp.Or(g.Reason, "-")})
	}
	if len(rows) > 0 {
		if err := a.table([]string{"CHANGE", "VERDICT", "COUNT", "PEOPLE", "DEVICE CLASS", "OPERATION", "ROLES", "FIRST", "LAST", "EXAMPLES", "WHY"}, rows); err != nil {
			return err
		}
	}
	if r.Gaps > 0 {
		a.remark("warning: the gateway could not record %d time(s); what it refused then is not known", r.Gaps)
	}
	if r.Torn > 0 {
		a.remark("warning: the log ends in %d bytes that are no entry, left by an interrupted write or a change: cordon audit verify", r.Torn)
	}
	a.remark("a replay tells about what was asked, not about what nobody has tried; cordon why CODE explains an example")
	return nil
}

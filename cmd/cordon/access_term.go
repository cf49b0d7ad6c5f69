package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cordon/policy/access"
)

// termFlags are the flags of what stands for a time.
type termFlags struct {
	length, from, reason string
	yes                  bool
}

func (t *termFlags) add(c *cobra.Command, from bool) {
	f := c.Flags()
	f.StringVar(&t.length, "for", "", "how long: `DURATION` such as 30m, 4h or 2d")
	f.StringVar(&t.reason, "reason", "", "why, in a line without patient data: a work order")
	if from {
		f.StringVar(&t.from, "from", "", "when it begins (default now): `TIME` such as 22:00, \"2026-11-23 08:00\" or 2026-11-23T08:00:00Z")
	}
	f.BoolVar(&t.yes, "yes", false, "do not ask")
	mustComplete(c.MarkFlagRequired("reason"))
}

// term reads the flags into a fact.
func (t *termFlags) term(f *access.Fact, now time.Time) error {
	f.From, f.Reason = now, t.reason
	if t.from != "" {
		from, err := instant(t.from, now)
		if err != nil {
			return badFlag("from", t.from, err, `--from 22:00, or --from "2026-11-23 08:00"`)
		}
		if f.From = from; from.Before(now) {
			return badFlag("from", t.from, fmt.Errorf("that is over: it would have begun at %s", from.Format(time.RFC3339)), "leave it out: it then begins at once")
		}
	}
	if t.length == "" {
		return nil
	}
	length, err := span(t.length)
	if err != nil {
		return badFlag("for", t.length, err, "--for 4h")
	}
	f.Until = f.From.Add(length)
	return nil
}

// span reads a duration, in days too.
func span(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 15)
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("expected a duration such as 30m, 4h or 2d")
	}
	return d, nil
}

// instant reads a moment to come; a time of day is the next one.
func instant(text string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04"} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	t, err := time.Parse("15:04", text)
	if err != nil {
		return t, fmt.Errorf("expected a time of day, or a day with one")
	}
	y, m, d := now.Local().Date()
	if t = time.Date(y, m, d, t.Hour(), t.Minute(), 0, 0, time.Local); !t.After(now) {
		t = time.Date(y, m, d+1, t.Hour(), t.Minute(), 0, 0, time.Local)
	}
	return t, nil
}

// termWords say when something begins and ends.
func termWords(f *access.Fact, now time.Time) string {
	words := "from now on"
	if f.From.After(now.Add(time.Second)) {
		words = "from " + f.From.Local().Format("2006-01-02 15:04")
	}
	if f.Until.IsZero() {
		return words + " until it is released"
	}
	return fmt.Sprintf("%s until %s (%v)", words, f.Until.Local().Format("2006-01-02 15:04"), f.Until.Sub(f.From).Round(time.Second))
}

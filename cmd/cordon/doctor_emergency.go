package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/envelope"
	"cordon/cmd/cordon/revision"
	"cordon/gateway/alarm"
	"cordon/policy/access"
)

// What is worth a word about emergencies and alarms.
const (
	manyEmergencies = 5               // on one device, in the week that the ledger remembers
	alarmWaits      = 5 * time.Minute // from when on an alarm is late
)

// lookAtEmergencies looks for what was not reviewed, for break-glass that became a habit, and for
// an emergency that could not be opened.
func lookAtEmergencies(_ context.Context, x *examination) {
	if l, err := daemon.StandingNow(x.config); err == nil { // otherwise lookAtAccess says so
		count := map[string]int{}
		for i := range l.Facts {
			f := &l.Facts[i]
			if f.Kind != access.Emergency {
				continue
			}
			if count[f.Device]++; count[f.Device] == manyEmergencies {
				x.find("medium", "break-glass", fmt.Sprintf("%s was opened %d times or more within a week", f.Device, manyEmergencies), "write what is needed into the policy, where it is tested and seen")
			}
			switch {
			case f.Unreviewed() && time.Now().After(f.ReviewBy()):
				x.find("high", "break-glass", fmt.Sprintf("%s, opened by %s on %s, has not been reviewed", f.ID, f.By, f.From.UTC().Format(time.RFC3339)), "cordon break-glass show "+f.ID+", then review it")
			case f.Unreviewed():
				x.find("notice", "break-glass", fmt.Sprintf("%s, opened by %s, is to be reviewed by %s", f.ID, f.By, f.ReviewBy().UTC().Format(time.RFC3339)), "cordon break-glass show "+f.ID+", then review it")
			case f.Phase() == access.InForce:
				x.find("notice", "break-glass", fmt.Sprintf("%s is open: %s", f.ID, f), "cordon break-glass close "+f.ID+" when it is not needed any more")
			}
		}
	}
	b := &x.config.BreakGlass
	set, err := envelope.Read(x.config.Gateway.State)
	switch {
	case errors.Is(err, envelope.ErrNone) && len(b.Roles)+len(b.Groups) > 0:
		x.find("low", "break-glass", "there are no sealed codes: while nobody gets a certificate, nobody opens a device", "cordon break-glass seal")
	case errors.Is(err, envelope.ErrNone):
	case err != nil:
		x.find("high", "break-glass", err.Error()+": sealed codes open nothing", "cordon break-glass seal, and new envelopes")
	case set.Unused() < set.Need:
		x.find("high", "break-glass", fmt.Sprintf("%d sealed codes are left, and it takes %d", set.Unused(), set.Need), "cordon break-glass seal, and new envelopes")
	case set.Wrong > 0:
		x.find("medium", "break-glass", fmt.Sprintf("%d tries in a row to open a device with sealed codes were wrong", set.Wrong), "cordon audit tail: who tried?")
	}
	if err == nil || len(b.Roles)+len(b.Groups) > 0 {
		if f, err := revision.Open(x.config); err == nil && !f.Current.ReadsAccess(access.Emergencies) {
			x.find("high", "break-glass", "no rule of the policy reads data.access.emergencies", "copy break_glass.rego from a policy that cordon init writes, and its lines of cordon.rego")
		}
	}
}

// lookAtAlarms looks for channels that nobody hears anything over.
func lookAtAlarms(_ context.Context, x *examination) {
	channels, err := daemon.AlarmChannels(x.config)
	if err != nil {
		x.find("high", "alarms", err.Error(), "cordon check shows where")
		return
	}
	b := &x.config.BreakGlass
	_, unsealed := envelope.Read(x.config.Gateway.State)
	if n := len(channels); n < 2 && (unsealed == nil || len(b.Roles)+len(b.Groups) > 0) {
		x.find("medium", "alarms", fmt.Sprintf("devices can be opened in an emergency, and %d of the two channels for alarms is configured", n), "alarms: { syslog: …, webhook: … } in the configuration, then cordon alarm test")
	}
	for _, c := range channels {
		if w, ok := c.(*alarm.Webhook); ok {
			if err := w.Check(); err != nil {
				x.find("high", "alarms", err.Error(), "write the file: printf 'whsec_%s' \"$(head -c 32 /dev/urandom | base64)\"")
			}
		}
	}
	waiting, oldest, err := alarm.Waiting(filepath.Join(x.config.Gateway.State, daemon.AlarmDir), channels)
	if err != nil {
		x.find("high", "alarms", err.Error(), "make gateway.state readable")
		return
	}
	var words []string
	for _, c := range channels {
		if n := waiting[c.Name()]; n > 0 {
			words = append(words, fmt.Sprintf("%d over %s", n, c.Name()))
		}
	}
	if late := time.Since(oldest); words != nil && late > alarmWaits {
		x.find("high", "alarms", fmt.Sprintf("not delivered for %v: %s", late.Round(time.Minute), strings.Join(words, ", ")), "cordon alarm test says why")
	}
}

package main

import (
	"fmt"
	"strings"

	"cordon/gateway/audit"
	"cordon/policy"
	"cordon/policy/rollout"
)

// note tells the log of a step that is about to be made.
func (w *workflow) note(kind audit.Kind, number int, by, text string, of digests) error {
	if err := w.record(audit.Entry{Kind: kind, Note: stepNote(number, by, text), Decision: policy.Decision{Revision: of.Policy, Data: of.Data}}); err != nil {
		return fmt.Errorf("record the step, which is not made: %w", err)
	}
	return nil
}

// stepNote is a step's note in the log; policy history reads it.
func stepNote(number int, by, text string) string {
	return fmt.Sprintf("revision %d by %s: %s", number, by, text)
}

// byLocal is how a user of this machine is named beside those who sign.
func byLocal(name string) string { return "local/" + strings.ReplaceAll(name, " ", "-") }

func describeStage(stage rollout.Stage, devices []string) string {
	if stage != rollout.Canary {
		return string(stage)
	}
	if n := len(devices); n > 20 {
		return fmt.Sprintf("canary on %d devices", n)
	}
	return "canary on " + strings.Join(devices, ", ")
}

// describeCandidate says how far a candidate has come.
func describeCandidate(c *rollout.Candidate) string {
	text := fmt.Sprintf("revision %d is at stage %s", c.Number, describeStage(c.Stage, c.Devices))
	if c.Narrows() {
		text += " and only narrows"
	}
	return text
}

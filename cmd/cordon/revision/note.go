package revision

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"cordon/gateway/audit"
	"cordon/policy"
	"cordon/policy/rollout"
)

// note tells the log of a step that is about to be made.
func (w *Workflow) note(kind audit.Kind, number int, by, text string, of Digests) error {
	if err := w.Record(audit.Entry{Kind: kind, Note: stepNote(number, by, text), Decision: policy.Decision{Revision: of.Policy, Data: of.Data}}); err != nil {
		return fmt.Errorf("record the step, which is not made: %w", err)
	}
	return nil
}

// stepNote is a step's note in the log; policy history reads it.
func stepNote(number int, by, text string) string {
	return fmt.Sprintf("revision %d by %s: %s", number, by, text)
}

// ByLocal is how a user of this machine is named beside those who sign.
func ByLocal(name string) string { return "local/" + strings.ReplaceAll(name, " ", "-") }

// DescribeStage names a stage, and the devices of a canary unless they are many.
func DescribeStage(stage rollout.Stage, devices []string) string {
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
	text := fmt.Sprintf("revision %d is at stage %s", c.Number, DescribeStage(c.Stage, c.Devices))
	if c.Narrows() {
		text += " and only narrows"
	}
	return text
}

// HistoryStep is a step for scripts.
type HistoryStep struct {
	Time   time.Time `json:"time"`
	Code   string    `json:"code"`
	Step   string    `json:"step"`             // submit, approve, reject, rollout, rollback or start
	Number int       `json:"number,omitempty"` // of the revision
	By     string    `json:"by,omitempty"`     // "" if it was refused
	Done   bool      `json:"done"`
	Text   string    `json:"text"`
	Policy string    `json:"policy,omitempty"`
	Data   string    `json:"data,omitempty"`
}

// stepForm reads what stepNote and workflow.do write.
var stepForm = regexp.MustCompile(`^(?:revision ([0-9]+) )?(?:by ([^ :]+)|refused): (.*)$`)

// ReadHistory reads the step that an entry of the log tells of; false: it tells of none.
func ReadHistory(e *audit.Entry) (HistoryStep, bool) {
	name, ok := strings.CutPrefix(string(e.Kind), "policy-")
	if _, decides, starts := strings.Cut(e.Note, "; revision "); e.Kind == audit.KindStart && starts {
		return HistoryStep{Time: e.Time.UTC(), Code: e.Code, Step: string(e.Kind), Done: true, Text: "revision " + decides, Policy: e.Decision.Revision, Data: e.Decision.Data}, true
	}
	if !ok {
		return HistoryStep{}, false
	}
	s := HistoryStep{Time: e.Time.UTC(), Code: e.Code, Step: name, Text: e.Note, Policy: e.Decision.Revision, Data: e.Decision.Data}
	if m := stepForm.FindStringSubmatch(e.Note); m != nil {
		s.Number, _ = strconv.Atoi(m[1])
		s.By, s.Done, s.Text = m[2], m[2] != "", m[3]
	}
	return s, true
}

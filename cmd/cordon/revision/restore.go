package revision

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/disk"
	"cordon/policy/rollout"
)

// A restore brings back which policy decided at the time of the backup. That is what it is for; but what is known
// of the time since must not be forgotten where that would let something in: an older bundle than
// one that decided, or a revision that was rejected.

// ParseChosen reads the file in-force.json of a backup; nil if there is none.
func ParseChosen(text []byte) (*Chosen, error) {
	if text == nil {
		return nil, nil
	}
	in := &Chosen{}
	if err := json.Unmarshal(text, in); err != nil {
		return nil, fmt.Errorf("read which bundle was in force: %w", err)
	}
	return in, nil
}

// ChosenFile is where it is, in gateway.state.
const ChosenFile = BundleDir + "/" + inForceFile

// Since is in, which was restored, beside what was chosen after that: nothing older than that is taken
// from the source any more. nil: it makes no difference.
func (in *Chosen) Since(since *Chosen) *Chosen {
	if in == nil || since == nil || since.Highest <= in.Highest {
		return nil
	}
	next := *in
	next.Highest, next.HighestDigest = since.Highest, since.HighestDigest
	next.Restored = since.Restored || since.Highest == since.Revision
	return &next
}

// RejectedSince brings into the submissions of restored what was rejected in since, as far as it is the same
// submission, and returns their numbers. That somebody rejected it needs no proof: who rejects permits nothing.
func RejectedSince(restored, since *config.Config) (numbers []int, err error) {
	all, err := Submissions(restored)
	if err != nil {
		return nil, err
	}
	for _, n := range all {
		is, err := ReadSubmission(restored, n)
		if err != nil {
			return nil, err
		}
		later, err := ReadSubmission(since, n)
		if err != nil || is.Rejected != nil || later.Rejected == nil || !bytes.Equal(is.Submitted.Words, later.Submitted.Words) {
			continue // what cannot be read there says nothing
		}
		is.Rejected = later.Rejected
		text, err := json.Marshal(is)
		if err == nil {
			err = disk.Write(submissionPath(restored, n, ".json"), append(text, '\n'), 0o600)
		}
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}

// ReadRollout reads which revision decides by a state directory; false if revisions do not.
func ReadRollout(state string) (s rollout.State, ok bool) {
	s, err := rollout.Read(filepath.Join(state, RolloutFile))
	return s, err == nil
}

package main

import (
	"fmt"
	"time"

	"cordon/cmd/cordon/envelope"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/revision"
	"cordon/policy/rollout"
)

// clockSkew is how much a clock may be behind that of the machine where a backup was made.
const clockSkew = 5 * time.Minute

// checkClock wants to be later than the backup: by a clock that is behind, grants and certificates last longer.
func (x *examined) checkClock(now time.Time) error {
	if x.Made.Sub(now) <= clockSkew {
		return nil
	}
	return exit.Error{Code: "restore.clock", Exit: exit.Conflict, Message: fmt.Sprintf("the backup is of %s, and by this machine's clock it is %s", x.Made.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339)),
		Try: []string{"set the clock: by one that is behind, what has ended would be permitted again"}}
}

// repeat is what was done between the backup and the loss as far as only people know it, and what they do
// about it. What stays by itself is not in it.
func (r *restoring) repeat(now time.Time) []string {
	made := r.backup.Made.UTC().Format(time.RFC3339)
	list := []string{}
	if !r.lost.Same || len(r.lost.Unknown) > 0 {
		list = append(list,
			fmt.Sprintf("certificates revoked since are believed until they end, %v after they were issued at most: cordon cert revoke SERIAL…, with --unknown what was issued since", max(r.config.Identity.CA.LeafTTL, 24*time.Hour)),
			"quarantines begun since are not in force, and access that was ended since is: cordon access list, then cordon device quarantine, cordon access end",
			"emergencies opened since are to be reviewed by what the alarms said: who receives them (syslog, webhook) knows of most that is named here")
	}
	if text := r.backup.small[inState+"/"+envelope.File]; text != nil {
		if set, err := envelope.Parse(text); err == nil {
			if _, fate := r.codes(set, now); r.unused && fate == "" && set.Unused() > 0 {
				list = append(list, fmt.Sprintf("%d sealed codes are good, for none was used since, as somebody says", set.Unused()))
			} else if next, _ := r.codes(set, now); next.Unused() < next.Need {
				list = append(list, "sealed codes are void, and nobody without a certificate opens a device: cordon break-glass seal, and new envelopes")
			}
		}
	}
	if in, err := revision.ParseChosen(r.backup.small[inState+"/"+revision.ChosenFile]); err == nil && in != nil {
		list = append(list, fmt.Sprintf("bundle revision %d decides, until a newer one is found; of those between it and the newest any is taken: cordon policy bundle load, with the newest", in.Revision))
	}
	if text := r.backup.small[inState+"/"+revision.RolloutFile]; text != nil {
		if s, err := rollout.Parse(text); err == nil {
			list = append(list, fmt.Sprintf("revision %d decides, as on %s: what was rolled out, rolled back, approved or rejected since is to be done again: cordon policy rollout status, cordon policy submissions", s.Current.Number, made))
		}
	}
	if r.config.Identity.CA.CRLFile != "" {
		list = append(list, "revocation lists of other authorities may be as old as the backup: fetch "+r.config.Identity.CA.CRLFile+" anew")
	}
	return append(list, "what was added or edited since is to be made again where it is wanted: devices, policy, certificates, grants")
}

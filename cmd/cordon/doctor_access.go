package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/revision"
	"cordon/policy"
	"cordon/policy/access"
)

// From when on access for a time looks as if it were for good.
const (
	longGrant      = 24 * time.Hour
	longQuarantine = 7 * 24 * time.Hour
	manyGrants     = 5 // of one subject on the same, in the week that the ledger remembers
)

// lookAtAccess looks for what was meant for a time and stays.
func lookAtAccess(_ context.Context, x *examination) {
	for _, d := range x.config.Devices {
		switch d.State {
		case policy.StateMaintenance:
			x.find("medium", "access", fmt.Sprintf("the configuration has %s in maintenance, without an end", d.ID), "remove devices."+d.ID+".state; cordon device maintenance "+d.ID+" --for 2h ends by itself")
		case policy.StateQuarantined:
			x.find("low", "access", fmt.Sprintf("the configuration has %s quarantined, without an end", d.ID), "cordon device quarantine "+d.ID+" keeps who did it, and why")
		}
	}
	l, err := daemon.StandingNow(x.config)
	if err != nil {
		x.find("high", "access", err.Error()+"; a gateway that starts quarantines every device", "restore the file from a backup and restart the gateway, or move it away")
		return
	}
	granted := false
	count := map[string]int{}
	for i := range l.Facts {
		f := &l.Facts[i]
		if f.Kind == access.Grant {
			if key := f.Subject + " on " + f.On(); f.Begun {
				if count[key]++; count[key] == manyGrants {
					x.find("low", "access", fmt.Sprintf("%s was granted %d times or more within a week", key, manyGrants), "write it into the policy, where it is tested and seen")
				}
			}
		}
		if f.Phase() == access.Over {
			continue
		}
		granted = granted || f.Kind == access.Grant
		lookAtFact(x, f)
	}
	if !granted {
		return
	}
	if f, err := revision.Open(x.config); err == nil && !f.Current.ReadsAccess(access.Grants) {
		x.find("medium", "access", "something is granted, and no rule of the policy reads data.access", "copy grants.rego from a policy that cordon init writes, and let served hold for a grant")
	}
}

// lookAtFact looks at what is planned or in force.
func lookAtFact(x *examination, f *access.Fact) {
	if f.Device != "" && !slices.ContainsFunc(x.config.Devices, func(d config.Device) bool { return d.ID == f.Device }) {
		x.find("low", "access", fmt.Sprintf("%s is about %s, which is no device of this gateway any more", f.ID, f.Device), "cordon access end "+f.ID)
	}
	switch age := time.Since(f.From); {
	case f.Kind == access.Grant && f.Until.Sub(f.From) > longGrant:
		x.find("low", "access", fmt.Sprintf("%s lasts %v: %s", f.ID, f.Until.Sub(f.From).Round(time.Minute), f), "grant it when it is needed, for as long as it is")
	case f.Kind == access.Maintenance && f.Until.Sub(f.From) > longGrant:
		x.find("low", "access", fmt.Sprintf("%s lasts %v: %s", f.ID, f.Until.Sub(f.From).Round(time.Minute), f), "cordon access end "+f.ID+" when the work is done")
	case f.Kind == access.Quarantine && f.Until.IsZero() && age > longQuarantine:
		x.find("low", "access", fmt.Sprintf("%s has had %s quarantined for %v", f.ID, f.Device, age.Round(time.Hour)), "release it, or take it out of the configuration")
	}
}

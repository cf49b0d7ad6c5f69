package daemon

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"cordon/certs/ca"
	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/exit"
)

// origin is where something comes from that is brought into a running gateway.
type origin string

const (
	fromConfiguration origin = "configuration" // the file, and whatever a new process needs
	fromFolder        origin = "folder"        // the policy folder
	fromBundle        origin = "bundle"        // signed bundles; that their source does not answer is a failure too
	fromRollout       origin = "rollout"       // revisions that were submitted
	fromRenewal       origin = origin(ca.Renewal)
	fromTrust         origin = origin(ca.Trust)
	fromLists         origin = origin(ca.Lists) // identity.ca.crl_file; that a list in it is missing or ends soon is a failure too
)

// sourceOutcome is how bringing in what comes from one origin went since the process began. A failure changes
// nothing: what was in force stays.
type sourceOutcome struct {
	Source    origin    `json:"source"`
	OK        bool      `json:"ok"` // the last time
	Success   time.Time `json:"last_success"`
	Failure   time.Time `json:"last_failure,omitzero"`
	Why       string    `json:"why,omitempty"` // it failed, the last time
	Successes uint64    `json:"successes"`
	Failures  uint64    `json:"failures"`
}

// outcomes are those of all origins that a configuration has.
type outcomes struct {
	mu sync.Mutex
	by map[origin]*sourceOutcome
}

// newOutcomes begins with a success of each: without it there is no start, or of lists the first look tells at once.
func newOutcomes(c *config.Config, now time.Time) *outcomes {
	o := &outcomes{by: map[origin]*sourceOutcome{}}
	for _, from := range []origin{fromConfiguration, policyOrigin(c), fromRenewal, fromTrust} {
		o.by[from] = &sourceOutcome{Source: from, OK: true, Success: now}
	}
	if c.Identity.CA.CRLFile != "" {
		o.by[fromLists] = &sourceOutcome{Source: fromLists, OK: true, Success: now}
	}
	return o
}

// policyOrigin is where the policy of a configuration comes from.
func policyOrigin(c *config.Config) origin {
	switch {
	case c.Policy.Bundle.Used():
		return fromBundle
	case c.Policy.Approval.Needed():
		return fromRollout
	}
	return fromFolder
}

// note counts how it went. What comes from elsewhere than the configuration says is not counted.
func (o *outcomes) note(from origin, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	x := o.by[from]
	if x == nil {
		return
	}
	if x.OK = err == nil; x.OK {
		x.Successes++
		x.Success, x.Why = time.Now(), ""
		return
	}
	x.Failures++
	x.Failure, x.Why = time.Now(), strings.ReplaceAll(exit.Errors(err)[0].Message, "\n", "; ")
}

// all returns them by source.
func (o *outcomes) all() (list []sourceOutcome) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, x := range o.by {
		list = append(list, *x)
	}
	slices.SortFunc(list, func(a, b sourceOutcome) int { return cmp.Compare(a.Source, b.Source) })
	return list
}

// count notes how a change went that a verb asked for.
func (a *Assembly) count(verb string, from origin, err error) {
	switch {
	case verb != "reload" && verb != "try": // what a person has asked for in vain is no failure of a reload
	case err != nil && from != "":
		a.outcomes.note(from, err)
	case err != nil:
		a.outcomes.note(fromConfiguration, err)
	default:
		a.outcomes.note(fromConfiguration, nil)
		a.outcomes.note(fromFolder, nil)
	}
}

// lookAtTrust looks at once for what certificates rest on, for whoever asked for a reload.
func (a *Assembly) lookAtTrust() error {
	err := a.certs.Look()
	if err == nil {
		return nil
	}
	return exit.Error{Code: "trust.unfollowed", Message: err.Error(), Exit: exit.Findings, Err: err, Try: []string{"nothing is lost: what was known before stays in use", "cordon doctor"}}
}

package policy

import "context"

// Cause says who settled a decision. A client is answered differently when its
// request was refused than when nobody could decide: only the latter is worth
// trying again.
type Cause string

const (
	CausePolicy   Cause = "policy"   // the rules answered
	CauseProtocol Cause = "protocol" // the bytes were malformed, ambiguous or beyond a limit
	CauseDoubt    Cause = "doubt"    // nobody could know: policy error or timeout, dead plugin, unwritable log, unreachable device
)

// Decision is the answer to one Request. The zero Decision refuses.
type Decision struct {
	Allow       bool
	Reason      string   // one line, no patient data: "no rule allows write to monitor/bedside for role nurse"
	Rule        string   // the rule that decided, by name or file:line; "" if none did
	Obligations []string // what the policy asks to be done besides; sorted
	ValidUntil  int64    // ns since the Unix epoch after which the answer may change by itself; 0: does not expire
	Revision    string   // digest of the policy that answered, "sha256:…"; "" if none was asked
	Data        string   // digest of the data it answered with
	Cause       Cause
}

// Decider answers requests. Decide may be called concurrently, must return
// within the context's deadline and has no error: whoever cannot decide returns
// a refusal with CauseDoubt. It must not keep r.
type Decider interface {
	Decide(ctx context.Context, r *Request) Decision
}

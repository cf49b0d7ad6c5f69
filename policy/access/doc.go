// Package access is the vocabulary of what operators permit and forbid for a time: grants,
// maintenance and learning windows, quarantines and emergencies (break-glass). They are facts that end by
// themselves, not edits of
// the policy, which sees them as data.access and as the device's state.
//
// Read fact.go for what one is and what it may say, ledger.go for how facts are made, begin
// and end, effect.go for what they do to a decision, file.go for how they are kept.
//
// Time only moves a fact forward, from planned to in force to over: a clock that is set back
// brings nothing back. One that is set forward ends facts early, quarantines that have an end
// too; only a quarantine until released does not depend on the clock.
//
// The package does not know who may make a fact, and believes the name of whoever did.
package access

// Package rollout brings a changed policy into force by stages, and takes it back.
//
// Read state.go for which policy is in force and what may become of it, file.go for how
// that survives a restart, decider.go for who is asked at each stage, compare.go for how
// a candidate's answers are held against those that count.
//
// It asks policies and compares what they answer; it cannot tell whether an answer is
// good. Nor does it know who approved what: a Candidate says that somebody did, and its
// caller has verified it.
package rollout

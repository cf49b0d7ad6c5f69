package sdk

import "cordon/policy"

// StepKind tells steps apart.
type StepKind uint8

const (
	StepOperation StepKind = 1 // an operation begins; decide it
	StepSpan      StepKind = 2 // the next N bytes belong to Op
	StepAbort     StepKind = 3 // Op, though decided, is wrong: refuse the rest
	StepRefusal   StepKind = 4 // insert Bytes for the asker of Op
	StepEnd       StepKind = 5 // nothing more can be understood
	StepKeep      StepKind = 6 // Op may be named however many operations follow
	StepDone      StepKind = 7 // Op was kept, and need not be any longer
)

// Step is one instruction of an inspector, as the gateway receives it.
type Step struct {
	Kind      StepKind
	Op        OpID
	N         int64            // StepSpan: bytes
	At        int64            // StepRefusal: offset in the asker's direction, set by Steps
	Operation policy.Operation // StepOperation
	Invalid   bool             // StepOperation: refuse without asking
	Reason    string           // StepOperation if Invalid, StepAbort, StepEnd
	Bytes     []byte           // StepRefusal
}

// Steps collects the answer to one call of an Inspector. It also keeps a session's
// count of operations and covered bytes, so one Steps serves one session.
type Steps struct {
	list    []Step
	dir     Direction
	asked   [2]uint64 // operations announced, by direction
	covered [2]int64  // offset up to which each direction is covered
}

// Operation announces that an operation begins at the first uncovered byte of the
// direction being inspected, and returns its number. Cover its bytes with Span.
func (s *Steps) Operation(op policy.Operation) OpID { return s.operation(op, false, "") }

// Invalid announces an operation that must be refused whatever the policy says.
// reason is one line and names no patient: "two MSH segments in one frame".
func (s *Steps) Invalid(op policy.Operation, reason string) OpID {
	return s.operation(op, true, reason)
}

func (s *Steps) operation(op policy.Operation, invalid bool, reason string) OpID {
	s.asked[s.dir]++
	id := s.dir.Operation(s.asked[s.dir])
	s.list = append(s.list, Step{Kind: StepOperation, Op: id, Operation: op, Invalid: invalid, Reason: reason})
	return id
}

// Span says that the next n bytes of the direction being inspected belong to op. n may
// reach beyond the data shown; Unlimited means to the direction's end. n ≤ 0 is ignored.
func (s *Steps) Span(op OpID, n int64) {
	if n <= 0 {
		return
	}
	if s.covered[s.dir] > Unlimited-n {
		n = Unlimited - s.covered[s.dir]
	}
	s.covered[s.dir] += n
	s.list = append(s.list, Step{Kind: StepSpan, Op: op, N: n})
}

// Keep lets later steps name op however many operations follow it, until Done or the
// session's end: for an operation that others run inside of. At most MaxKept at a time.
func (s *Steps) Keep(op OpID) { s.list = append(s.list, Step{Kind: StepKeep, Op: op}) }

// Done ends what Keep began. No later step may name op.
func (s *Steps) Done(op OpID) { s.list = append(s.list, Step{Kind: StepDone, Op: op}) }

// Abort says that op, already decided and perhaps partly passed on, must not be
// completed: its own bytes or, seen from the other direction, a reply to it turned out
// wrong. The gateway refuses it and calls Refuse.
func (s *Steps) Abort(op OpID, reason string) {
	s.list = append(s.list, Step{Kind: StepAbort, Op: op, Reason: reason})
}

// Refusal gives the protocol's negative answer to the refused operation op. It is
// inserted in the direction opposite to the operation's, after the bytes covered there
// so far. answer may be empty where the protocol has no answer to give. The bytes are
// copied.
func (s *Steps) Refusal(op OpID, answer []byte) {
	to := op.Direction().Opposite()
	s.list = append(s.list, Step{Kind: StepRefusal, Op: op, At: s.covered[to], Bytes: append([]byte(nil), answer...)})
}

// End says that nothing more of this session can be understood. Refusals given before
// it are still delivered, then both sides are closed. reason is for the log.
func (s *Steps) End(reason string) {
	s.list = append(s.list, Step{Kind: StepEnd, Reason: reason})
}

// Begin starts the answer to a call that inspects dir and forgets the previous one.
// The plugin's runtime and the conformance kit call it; an Inspector does not.
func (s *Steps) Begin(dir Direction) {
	s.list = s.list[:0]
	s.dir = dir
}

// Full reports whether the answer is as long as it should be: return, and Inspect is called
// again at once with what is left uncovered. An inspector that can find many operations
// in one window asks after each.
func (s *Steps) Full() bool { return len(s.list) >= fullAt }

// fullAt leaves room below MaxSteps, and below what one answer may be long with facts of
// usual size.
const fullAt = 512

// List returns the steps since Begin, valid until the next Begin.
func (s *Steps) List() []Step { return s.list }

// Covered returns the offset in dir up to which steps cover it.
func (s *Steps) Covered(dir Direction) int64 { return s.covered[dir] }

package revision

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cordon/certs"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/signed"
	"cordon/policy"
)

// judge takes an approval or a rejection.
func (w *Workflow) judge(s *Step) error {
	sub, err := ReadSubmission(w.Config, s.Number)
	if err != nil {
		return err
	}
	if s.Signed == nil {
		return errors.New("nothing is signed")
	}
	var o Opinion
	if err := signed.Read(s.Signed.Words, &o); err != nil {
		return err
	}
	if err := w.about(sub, &o); err != nil {
		return err
	}
	author, _, err := w.author(sub)
	if err != nil {
		return err
	}
	if _, err := sub.Open(w.Config); err != nil {
		return err
	}
	purpose, kind, target := PurposeApprove, kindApprove, &sub.Approved
	roles := w.Config.Policy.Approval.Approvers
	if s.Do == "reject" {
		purpose, kind, target = PurposeReject, kindReject, &sub.Rejected
		roles = slices.Concat(roles, w.Config.Policy.Approval.Authors)
	}
	by, certificate, err := w.accept(s.Signed, purpose, roles)
	switch {
	case err != nil:
		return err
	case s.Do == "approve" && certs.SamePerson(by, author):
		return ownFailure(s.Number, by)
	case sub.Rejected != nil:
		return rejectedFailure(sub)
	}
	if c := w.Source.State.Candidate; s.Do == "reject" && c != nil && c.Number == s.Number {
		return exit.Error{Code: "rollout.other", Exit: exit.Conflict, Message: describeCandidate(c), Try: []string{"cordon policy rollback withdraws it; then reject it"}}
	}
	why := cmp.Or(o.Why, "no reason given")
	if o.Why != "" || s.Do == "reject" {
		if err := CheckWhy(o.Why); err != nil {
			return err
		}
	}
	if err := w.note(kind, s.Number, by, why+"; submitted by "+author+certificate, sub.Proposal.Digests); err != nil {
		return err
	}
	taken := *s.Signed
	taken.By, taken.Taken = by, time.Now().UTC()
	*target = &taken
	return w.write(sub)
}

func rejectedFailure(s *Submission) error {
	return exit.Error{Code: "submission.rejected", Exit: exit.Conflict, Message: fmt.Sprintf("submission %d was rejected by %s", s.Number, s.Rejected.By), Try: []string{"cordon policy submit, again"}}
}

func ownFailure(number int, by string) error {
	return exit.Error{Code: "approval.own", Exit: exit.Denied, Message: fmt.Sprintf("submission %d is %s's own: another person approves it", number, by), Try: []string{"cordon policy submissions tells who may"}}
}

// about reports whether an opinion is about sub, on this gateway, and about replacing what
// is in force.
func (w *Workflow) about(sub *Submission, o *Opinion) error {
	current := w.Source.State.Current
	switch {
	case o.Gateway != w.Config.ID() || o.Number != sub.Number || o.Proposal != signed.Digest(sub.Submitted.Words):
		return exit.Error{Code: "approval.other", Exit: exit.Conflict, Message: fmt.Sprintf("what is signed is about another submission than %d of gateway %s", sub.Number, w.Config.ID())}
	case o.InForce != Digests{current.Policy, current.Data}:
		return exit.Error{Code: "approval.stale", Exit: exit.Conflict, Message: fmt.Sprintf("it was given to replace another policy than revision %d, which is in force now", current.Number),
			Try: []string{fmt.Sprintf("look at the difference again: cordon policy approve %d", sub.Number)}}
	}
	return nil
}

// accept says who makes a statement now, and for the log by which certificate: whoever finds their name there and has said
// nothing can show that it was issued to somebody else. It must be a person in one of the roles.
func (w *Workflow) accept(s *signed.Words, purpose string, roles []string) (by, certificate string, err error) {
	id, err := w.Verifier.Accept(&s.Statement, purpose, sha256.Sum256(s.Words))
	if err != nil {
		return "", "", signed.Refused(err)
	}
	by, err = actor(id, roles)
	return by, "; certificate " + id.Serial, err
}

// author says who submitted sub, as the signature has it, and whether a revocation of the
// certificate would still be known.
func (w *Workflow) author(sub *Submission) (by string, known bool, err error) {
	id, known, err := w.Verifier.Uphold(&sub.Submitted.Statement, PurposeSubmit, sha256.Sum256(sub.Submitted.Words))
	if err != nil {
		return "", false, signed.Refused(fmt.Errorf("what its author signed does not count: %w", err))
	}
	by, err = actor(id, w.Config.Policy.Approval.Authors)
	return by, known, err
}

// approver says who approved sub, if that still counts: "" if nobody has.
func (w *Workflow) approver(sub *Submission, author string) (string, error) {
	if sub.Approved == nil {
		return "", nil
	}
	again := []string{fmt.Sprintf("cordon policy approve %d, by somebody whose word counts", sub.Number), "cordon policy submit, again: without an approval it can be rolled out to narrow"}
	id, known, err := w.Verifier.Uphold(&sub.Approved.Statement, PurposeApprove, sha256.Sum256(sub.Approved.Words))
	switch {
	case err != nil:
		return "", exit.Error{Code: "approval.invalid", Exit: exit.Denied, Message: fmt.Sprintf("the approval of submission %d by %s does not count: %v", sub.Number, sub.Approved.By, err), Err: err, Try: again}
	case !known:
		return "", exit.Error{Code: "approval.old", Exit: exit.Denied, Message: fmt.Sprintf("the certificate that approved submission %d ended too long ago to know whether it was revoked", sub.Number), Try: again}
	}
	var o Opinion
	if err := signed.Read(sub.Approved.Words, &o); err != nil {
		return "", tampered(sub.Number, err)
	}
	if err := w.about(sub, &o); err != nil {
		return "", err
	}
	by, err := actor(id, w.Config.Policy.Approval.Approvers)
	if err == nil && certs.SamePerson(by, author) {
		err = ownFailure(sub.Number, by)
	}
	return by, err
}

// actor returns who id is, if that is a person in one of the roles.
func actor(id *certs.Identity, roles []string) (string, error) {
	who := id.Kind + "/" + id.ID
	switch {
	case id.Kind != policy.KindUser:
		return "", exit.Error{Code: "approval.kind", Exit: exit.Denied, Message: who + " is not a person: a policy takes two of them", Try: []string{"a certificate of kind user"}}
	case !slices.ContainsFunc(roles, func(r string) bool { return slices.Contains(id.Roles, r) }):
		return "", exit.Error{Code: "approval.role", Exit: exit.Denied, Message: fmt.Sprintf("%s has roles %s; this takes %s", who, cmp.Or(strings.Join(id.Roles, ", "), "-"), strings.Join(roles, " or ")),
			Try: []string{"policy.approval in the configuration names the roles"}}
	}
	return who, nil
}

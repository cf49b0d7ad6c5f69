package main

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/revision"
	"cordon/cmd/cordon/signed"
)

func policyApproveCommand(a *app) *cobra.Command {
	var by badge
	var why string
	var yes bool
	c := &cobra.Command{
		Use: "approve REV", Short: "Approve what another person has submitted",
		Long: `Show how a submission differs from what is in force, what it would newly allow first, and
with --yes approve it with your certificate. You need one of the roles
policy.approval.approvers of the configuration, and not to be its author. What is in force
stays as it is until somebody rolls it out.

The approval counts for replacing the revision that is in force now, as long as your
certificate is not revoked, and until a day after that has ended.`,
		Example:           "  cordon policy approve 4 --cert ada.pem\n  cordon policy approve 4 --cert ada.pem --yes",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeSubmissions,
		RunE: func(c *cobra.Command, args []string) error {
			return cannot("approve submission "+args[0], a.approvePolicy(c.Context(), args[0], &by, why, yes))
		},
	}
	by.flags(c)
	c.Flags().StringVarP(&why, "message", "m", "", "`WHY`, in a line that the log keeps")
	c.Flags().BoolVar(&yes, "yes", false, "approve it; without this, it is only shown what it changes")
	return c
}

func policyRejectCommand(a *app) *cobra.Command {
	var by badge
	var why string
	c := &cobra.Command{
		Use: "reject REV", Short: "Reject a submission, or withdraw one's own",
		Example:           `  cordon policy reject 4 --cert ada.pem -m "opens more than CR-1120 asks for"`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeSubmissions,
		RunE: func(c *cobra.Command, args []string) error {
			return cannot("reject submission "+args[0], a.rejectPolicy(c.Context(), args[0], &by, why))
		},
	}
	by.flags(c)
	c.Flags().StringVarP(&why, "message", "m", "", "`WHY`, in a line that the log keeps")
	mustComplete(c.MarkFlagRequired("message"))
	return c
}

// number reads a revision's number from the command line.
func number(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, exit.Error{Code: "usage.revision", Message: fmt.Sprintf("%.40q is no number of a revision", text), Exit: exit.Usage, Err: err, Try: []string{"cordon policy submissions", "cordon policy history"}}
	}
	return n, nil
}

// withApproval is the configuration in use, if policies take two people.
func (a *app) withApproval() (*config.Config, error) {
	c, err := config.Load(a.config())
	if err == nil && !c.Policy.Approval.Needed() {
		err = daemon.ApprovalOff()
	}
	return c, err
}

func (a *app) approvePolicy(ctx context.Context, rev string, by *badge, why string, yes bool) error {
	c, sub, err := a.submission(rev)
	if err != nil {
		return err
	}
	ahead, err := a.examine(ctx, c, sub)
	if err != nil {
		return err
	}
	if !yes {
		if a.json {
			return a.object(newSubmissionJSON(sub, ahead))
		}
		a.describe(sub)
		if err := a.printProspect(ahead); err != nil {
			return err
		}
		return exit.Error{Code: "approval.unconfirmed", Message: "nothing was approved", Exit: exit.Usage, Try: []string{"the same command with --yes", "cordon policy reject " + rev}}
	}
	return a.giveOpinion(ctx, c, sub, "approve", revision.PurposeApprove, by, why)
}

func (a *app) rejectPolicy(ctx context.Context, rev string, by *badge, why string) error {
	c, sub, err := a.submission(rev)
	if err != nil {
		return err
	}
	return a.giveOpinion(ctx, c, sub, "reject", revision.PurposeReject, by, why)
}

// submission reads the submission that a command names.
func (a *app) submission(rev string) (*config.Config, *revision.Submission, error) {
	c, err := a.withApproval()
	if err != nil {
		return nil, nil, err
	}
	n, err := number(rev)
	if err != nil {
		return nil, nil, err
	}
	sub, err := revision.ReadSubmission(c, n)
	return c, sub, err
}

// examine tells what sub would change now.
func (a *app) examine(ctx context.Context, c *config.Config, sub *revision.Submission) (*prospect, error) {
	engine, err := sub.Open(c)
	if err != nil {
		return nil, err
	}
	f, err := revision.Open(c)
	if err != nil {
		return nil, err
	}
	return a.lookAhead(ctx, c, f.Tested(c), engine)
}

// giveOpinion signs what somebody thinks of sub.
func (a *app) giveOpinion(ctx context.Context, c *config.Config, sub *revision.Submission, do, purpose string, by *badge, why string) error {
	cert, err := by.load()
	if err != nil {
		return err
	}
	f, err := revision.Open(c)
	if err != nil {
		return err
	}
	said, err := signed.Sign(cert, purpose, revision.Opinion{Gateway: c.ID(), Number: sub.Number, Proposal: signed.Digest(sub.Submitted.Words), InForce: revision.DigestsOf(f.Current), Why: why})
	if err != nil {
		return err
	}
	done, err := daemon.TakeStep(ctx, c, &revision.Step{Do: do, Number: sub.Number, Signed: &said})
	if err != nil {
		return err
	}
	if a.json {
		return a.object(done)
	}
	past := map[string]string{"approve": "approved", "reject": "rejected"}[do]
	fmt.Fprintf(a.stdout, "%s submission %d; revision %d stays in force\n", past, sub.Number, done.Current.Number)
	if do == "approve" {
		a.remark("next: cordon policy rollout %d --stage shadow", sub.Number)
	}
	return nil
}

func (a *app) describe(s *revision.Submission) {
	const when = "2006-01-02 15:04"
	p := func(name, format string, args ...any) {
		fmt.Fprintf(a.stdout, "%-10s %s\n", name, fmt.Sprintf(format, args...))
	}
	p("submission", "%d, %s", s.Number, s.Status())
	p("author", "%s, %s", s.Submitted.By, s.Submitted.Taken.Local().Format(when))
	p("why", "%s", s.Proposal.Why)
	p("policy", "%s data %s, %d tests", s.Proposal.Policy, s.Proposal.Data, s.Proposal.Tests)
	for _, o := range []struct {
		word string
		by   *signed.Words
	}{{"approved", s.Approved}, {"rejected", s.Rejected}} {
		var said revision.Opinion
		if o.by != nil && signed.Read(o.by.Words, &said) == nil {
			p(o.word, "by %s, %s: %s", o.by.By, o.by.Taken.Local().Format(when), cmp.Or(said.Why, "-"))
		}
	}
}

// submissionJSON is a submission for scripts. Who signed is as it was verified when it was
// taken.
type submissionJSON struct {
	Schema            string    `json:"schema"`
	Number            int       `json:"number"`
	Status            string    `json:"status"` // open, approved or rejected
	Author            string    `json:"author"`
	Taken             time.Time `json:"taken"`
	Approver          string    `json:"approver,omitempty"`
	Rejecter          string    `json:"rejecter,omitempty"`
	revision.Proposal           // with what a replay said then
	Now               *prospect `json:"now,omitempty"` // what it would change now, where that is asked
}

func newSubmissionJSON(s *revision.Submission, ahead *prospect) submissionJSON {
	j := submissionJSON{Schema: "cordon.policy.submission/v1", Number: s.Number, Status: s.Status(), Author: s.Submitted.By, Taken: s.Submitted.Taken, Proposal: s.Proposal, Now: ahead}
	if s.Approved != nil {
		j.Approver = s.Approved.By
	}
	if s.Rejected != nil {
		j.Rejecter = s.Rejected.By
	}
	return j
}

func policySubmissionsCommand(a *app) *cobra.Command {
	list := func(*cobra.Command, []string) error { return cannot("list submissions", a.listSubmissions()) }
	c := group("submissions", "Policies that were submitted")
	c.Args, c.RunE = cobra.NoArgs, list
	c.AddCommand(&cobra.Command{Use: "list", Short: "List submissions, the latest last", Args: cobra.NoArgs, RunE: list},
		&cobra.Command{
			Use: "show REV", Short: "Show a submission and what it would change",
			Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeSubmissions,
			RunE: func(c *cobra.Command, args []string) error {
				return cannot("show submission "+args[0], a.showSubmission(c.Context(), args[0]))
			},
		})
	return c
}

func (a *app) listSubmissions() error {
	c, err := a.withApproval()
	if err != nil {
		return err
	}
	numbers, err := revision.Submissions(c)
	if err != nil {
		return err
	}
	all := []submissionJSON{}
	var rows [][]string
	for _, n := range numbers {
		s, err := revision.ReadSubmission(c, n)
		if err != nil {
			return err
		}
		j := newSubmissionJSON(s, nil)
		all = append(all, j)
		rows = append(rows, []string{strconv.Itoa(n), j.Status, j.Author, j.Taken.Local().Format("2006-01-02 15:04"), cmp.Or(cmp.Or(j.Approver, j.Rejecter), "-"), j.Why})
	}
	if a.json {
		return a.object(struct {
			Schema      string           `json:"schema"`
			Submissions []submissionJSON `json:"submissions"`
		}{"cordon.policy.submissions/v1", all})
	}
	a.remark("authors: %s; approvers: %s", strings.Join(c.Policy.Approval.Authors, ", "), strings.Join(c.Policy.Approval.Approvers, ", "))
	return a.table([]string{"REV", "STATUS", "AUTHOR", "WHEN", "JUDGED BY", "WHY"}, rows)
}

func (a *app) showSubmission(ctx context.Context, rev string) error {
	c, sub, err := a.submission(rev)
	if err != nil {
		return err
	}
	ahead, err := a.examine(ctx, c, sub)
	if err != nil {
		return err
	}
	if a.json {
		return a.object(newSubmissionJSON(sub, ahead))
	}
	a.describe(sub)
	return a.printProspect(ahead)
}

// completeSubmissions offers the numbers of submissions.
func (a *app) completeSubmissions(_ *cobra.Command, args []string, _ string) (out []string, _ cobra.ShellCompDirective) {
	c, err := config.Load(a.config())
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	numbers, _ := revision.Submissions(c)
	for _, n := range numbers {
		if s, err := revision.ReadSubmission(c, n); err == nil {
			out = append(out, cobra.CompletionWithDesc(strconv.Itoa(n), s.Status()+", "+s.Submitted.By+": "+s.Proposal.Why))
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

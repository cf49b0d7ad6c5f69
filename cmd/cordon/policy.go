package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/revision"
	"cordon/policy/rego"
)

func policyCommand(a *app) *cobra.Command {
	c := group("policy", "The rules of this gateway")
	c.Long = `The rules of this gateway. Commands that ask a policy (eval, table, replay, learn, new, diff and
why --repair) ask the one that decides, unless they are given another; those that check or write
text (check, test, fmt, submit) take the policy folder. With policy.approval and policy.bundle these are
not the same, and where the folder differs from what decides, the former say so.`
	c.AddCommand(policyNewCommand(a), policyCheckCommand(a), policyFmtCommand(a), policyTestCommand(a), policyEvalCommand(a), policyDiffCommand(a), policyTableCommand(a), policyReplayCommand(a),
		policyLearnCommand(a), policyPatchesCommand(a), policyBundleCommand(a),
		policySubmitCommand(a), policySubmissionsCommand(a), policyApproveCommand(a), policyRejectCommand(a), policyRolloutCommand(a), policyRollbackCommand(a), policyHistoryCommand(a))
	return c
}

// policyFolder returns the configuration with the policy folder in args, if there is one,
// in place of its own.
func (a *app) policyFolder(args []string) (*config.Config, error) {
	c, err := config.Load(a.config())
	if err != nil || len(args) == 0 {
		return c, err
	}
	there := *c
	there.Policy.Dir = args[0]
	return &there, nil
}

func policyCheckCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "check [DIR]", Short: "Compile the policy, run its tests and look for slips",
		Long: `Compile the policy as a start would, run its tests, see that it has every virtual patch
that a device's profile names, and look for what compiles and is a slip all the same: the
README in the policy folder lists these checks. Errors fail, warnings do not. "regal lint"
runs too if it is installed. DIR is another folder than the configured one.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return cannot("check the policy", a.checkPolicy(c.Context(), args))
		},
	}
}

func (a *app) checkPolicy(ctx context.Context, args []string) error {
	c, err := a.policyFolder(args)
	if err != nil {
		return err
	}
	results, err := revision.Test(ctx, c)
	if err != nil {
		return revision.Placed(err)
	}
	engine, err := revision.Load(c)
	if err != nil {
		return err
	}
	if err := revision.CheckPatches(c, engine); err != nil {
		return err
	}
	found := lintPolicy(ctx, c, engine)
	if err := lintFailure(found); err != nil {
		return err
	}
	warnings := []string{}
	if len(results) == 0 {
		warnings = append(warnings, "the policy has no tests")
	}
	if c.Policy.Bundle.Used() && len(args) == 0 {
		if b, err := revision.OpenBundles(c); err == nil {
			warnings = append(warnings, (&revision.Source{Bundles: b}).BundleWords(c))
		}
	}
	for _, name := range revision.Unsigned(c, engine) {
		warnings = append(warnings, "virtual patch "+name+" is not as it was signed off")
	}
	style, err := regal(ctx, c.Policy.Dir)
	if err != nil && !errors.Is(err, errNoRegal) {
		warnings = append(warnings, err.Error())
	}
	found = append(found, style...)
	if a.json {
		return a.object(struct {
			Schema   string         `json:"schema"`
			Policy   string         `json:"policy"`
			Data     string         `json:"data"`
			Tests    int            `json:"tests"`
			Warnings []string       `json:"warnings"`
			Findings []rego.Finding `json:"findings"`
			Regal    bool           `json:"regal"` // it was asked, too
		}{"cordon.policy.check/v1", engine.Revision(), engine.Data(), len(results), warnings, append([]rego.Finding{}, found...), err == nil})
	}
	for _, w := range warnings {
		a.remark("warning: %s", w)
	}
	for _, f := range found {
		hint := ""
		if f.Hint != "" {
			hint = " (" + f.Hint + ")"
		}
		a.remark("warning: %s%s [%s]", f, hint, f.Code)
	}
	if errors.Is(err, errNoRegal) {
		a.remark("%s", err)
	}
	fmt.Fprintf(a.stdout, "ok: policy %.19s data %.19s with %d tests passed\n", engine.Revision(), engine.Data(), len(results))
	return nil
}

func policyTestCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "test [DIR]", Short: "Run the policy's tests",
		Long: `Run the tests of the policy (rules whose names begin with test_ in files *_test.rego) and
show those that fail; with -v all of them.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return cannot("test the policy", a.testPolicies(c.Context(), args))
		},
	}
}

func (a *app) testPolicies(ctx context.Context, args []string) error {
	c, err := a.policyFolder(args)
	if err != nil {
		return err
	}
	if _, err := revision.Load(c); err != nil { // for its better errors
		return err
	}
	results, err := rego.Test(ctx, c.Policy.Dir)
	if err != nil {
		return revision.Placed(err)
	}
	skipped := 0
	var rows [][]string
	for _, r := range results {
		word := "FAIL"
		switch {
		case r.Skipped:
			word = "skip"
			skipped++
		case r.Passed:
			word = "pass"
		}
		if !r.Passed || a.verbose > 0 {
			rows = append(rows, []string{word, strings.TrimPrefix(r.Name, "data."), fmt.Sprintf("%s:%d", filepath.Join(c.Policy.Dir, r.File), r.Line), strings.Join(strings.Fields(r.Message), " ")})
		}
	}
	failed := results.Failed()
	switch {
	case a.json:
		err = a.object(struct {
			Schema  string       `json:"schema"`
			Passed  int          `json:"passed"`
			Failed  int          `json:"failed"`
			Skipped int          `json:"skipped"`
			Tests   rego.Results `json:"tests"`
		}{"cordon.policy.test/v1", len(results) - failed - skipped, failed, skipped, append(rego.Results{}, results...)})
	default:
		if len(rows) > 0 {
			err = a.table([]string{"RESULT", "TEST", "AT", "MESSAGE"}, rows)
		}
		fmt.Fprintf(a.stdout, "%d passed, %d failed, %d skipped\n", len(results)-failed-skipped, failed, skipped)
	}
	if err == nil && failed > 0 {
		err = exit.Error{Code: "policy.test", Exit: exit.Checks, Message: fmt.Sprintf("%d of %d policy tests fail", failed, len(results))}
	}
	return err
}

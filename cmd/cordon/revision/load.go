package revision

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/exit"
	"cordon/policy/rego"
)

// Load compiles the policy folder. What is wrong with it has its place: file, line and column.
func Load(c *config.Config) (*rego.Engine, error) {
	engine, err := rego.Load(c.Policy.Dir)
	if problems, ok := errors.AsType[*rego.Problems](err); ok {
		return nil, PolicyFailure(problems)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, exit.Error{Code: "policy.missing", Message: fmt.Sprintf("open policy %q: no such folder", c.Policy.Dir), Exit: exit.NotFound,
			Try: []string{"cordon init writes a policy to start from", "point policy.dir to yours"}, Err: err}
	}
	return engine, err
}

// PolicyFailure shows the first fault with its place and the others below it.
func PolicyFailure(problems *rego.Problems) error {
	first := problems.List[0]
	f := exit.Error{Code: first.Code, Message: first.Message, File: first.File, Line: first.Line, Col: first.Column, Exit: exit.Checks, Err: problems}
	if first.Line == 0 && first.File != "" { // otherwise it stands below
		f.Message = first.File + ": " + first.Message
	}
	f.Excerpt = Excerpt(first.File, first.Line, first.Column)
	if first.Hint != "" {
		f.Try = append(f.Try, first.Hint)
	}
	for i, p := range problems.List[1:] {
		if i == 10 {
			f.Try = append(f.Try, fmt.Sprintf("and %d more", len(problems.List)-i-1))
			break
		}
		f.Try = append(f.Try, p.String())
	}
	return f
}

// Excerpt quotes a line of a policy file with a caret below the column.
func Excerpt(file string, line, column int) string {
	text, err := os.ReadFile(file)
	lines := strings.Split(string(text), "\n")
	if err != nil || line < 1 || line > len(lines) {
		return ""
	}
	var blank strings.Builder // as wide as what stands before the caret
	for i, r := range lines[line-1] {
		if i >= column-1 {
			break
		}
		if r != '\t' {
			r = ' '
		}
		blank.WriteRune(r)
	}
	return fmt.Sprintf("  %4d | %s\n       | %s^", line, lines[line-1], blank.String())
}

// Placed gives faults of a policy their place, as Load does.
func Placed(err error) error {
	if problems, ok := errors.AsType[*rego.Problems](err); ok {
		return PolicyFailure(problems)
	}
	return err
}

package rego

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Problem is one fault of a policy folder, at its position.
type Problem struct {
	File    string `json:"file"`             // as given to Load, joined with the name inside the folder
	Line    int    `json:"line,omitempty"`   // from 1; 0: the whole file
	Column  int    `json:"column,omitempty"` // from 1, in characters; 0: the whole line
	Code    string `json:"code"`             // stable: "policy.type"
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"` // what to try
}

// String is the problem without its hint: "file:line:column: message".
func (p Problem) String() string {
	at := p.File
	if p.Line > 0 {
		at = fmt.Sprintf("%s:%d", at, p.Line)
		if p.Column > 0 {
			at = fmt.Sprintf("%s:%d", at, p.Column)
		}
	}
	return at + ": " + p.Message
}

// Problems is why a policy folder was not accepted: every fault found, sorted by
// position, never empty.
type Problems struct{ List []Problem }

func (p *Problems) Error() string {
	lines := make([]string, len(p.List))
	for i, x := range p.List {
		lines[i] = x.String()
		if x.Hint != "" {
			lines[i] += " (" + x.Hint + ")"
		}
	}
	return strings.Join(lines, "\n")
}

// refuse makes the error for what was found in dir; dir may be empty.
func refuse(dir string, list ...Problem) error {
	for i := range list {
		list[i].File = filepath.Join(dir, filepath.FromSlash(list[i].File))
	}
	slices.SortStableFunc(list, comparePlaces)
	return &Problems{slices.Compact(list)}
}

func comparePlaces(a, b Problem) int {
	return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
}

// fromOPA translates the parser's and compiler's errors.
func fromOPA(errs ast.Errors) []Problem {
	codes := map[string]string{
		ast.ParseErr:     "policy.syntax",
		ast.CompileErr:   "policy.compile",
		ast.TypeErr:      "policy.type",
		ast.UnsafeVarErr: "policy.unsafe",
		ast.RecursionErr: "policy.recursion",
	}
	var list []Problem
	for _, e := range errs {
		p := Problem{Code: cmp.Or(codes[e.Code], "policy.compile"), Message: e.Message, Hint: hint(e)}
		if e.Location != nil {
			p.File, p.Line, p.Column = e.Location.File, e.Location.Row, e.Location.Col
		}
		list = append(list, p)
	}
	return list
}

// hint tells what to write instead.
func hint(e *ast.Error) string {
	if d, ok := e.Details.(*ast.RefErrInvalidDetail); ok && len(d.OneOf) > 0 {
		var names []string
		for _, v := range d.OneOf {
			names = append(names, strings.Trim(v.String(), `"`))
		}
		slices.Sort(names)
		if have := strings.Trim(d.Ref[d.Pos].String(), `"`); near(have, names) != "" {
			return fmt.Sprintf("did you mean %q?", near(have, names))
		}
		return "known here: " + strings.Join(names, ", ")
	}
	name, ok := strings.CutPrefix(e.Message, "undefined function ")
	if !ok || !withheld(name) {
		return ""
	}
	if strings.HasPrefix(name, "time.") || strings.HasPrefix(name, "crypto.x509.") || strings.HasPrefix(name, "io.jwt.") {
		return "time enters only as input.now_ns"
	}
	return "the same question must have the same answer: a policy reads input and data, nothing else"
}

// near returns the name that have is most likely a slip of, or "".
func near(have string, names []string) string {
	best, least := "", 3
	for _, n := range names {
		if d := distance(have, n); d < least && d < len(have) {
			best, least = n, d
		}
	}
	return best
}

// distance is the Levenshtein distance in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

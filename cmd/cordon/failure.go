package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/home"
)

// usageFailure is for a command line that cobra refuses.
func usageFailure(err error) error {
	var f exit.Error
	if errors.As(err, &f) {
		return f
	}
	message, _, _ := strings.Cut(err.Error(), "\n")
	return exit.Error{Code: "usage.arguments", Message: message, Exit: exit.Usage, Try: []string{"the same command with --help"}, Err: err}
}

// cannot says what a command was about to do when err happened. Every fault of a
// configuration in err stays one of its own.
func cannot(do string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("cannot %s: %w", do, err)
}

// fail prints an error on standard error, as JSON with --json, and returns the exit
// code. Of several, the first decides.
func (a *app) fail(err error) int {
	all := exit.Errors(err)
	if all[0].Code == "config.file.missing" {
		if half := home.CheckWhole(a.config()); half != nil { // and none is to be made there
			all = exit.Errors(half)
		}
	}
	paint := a.palette(a.stderr)
	for _, f := range all {
		if a.json {
			a.failJSON(f)
			continue
		}
		var b strings.Builder
		fmt.Fprintf(&b, "%s %s\n", paint(red, "cordon:"), f.Message)
		if f.Line > 0 {
			fmt.Fprintf(&b, "  %s:%d:%d", f.File, f.Line, f.Col)
			if f.Note != "" {
				fmt.Fprintf(&b, " (%s)", f.Note)
			}
			fmt.Fprintf(&b, "\n%s\n", f.Excerpt)
		}
		fmt.Fprintf(&b, "  code: %s\n", f.Code)
		for i, try := range f.Try {
			head := "try: "
			if i > 0 {
				head = "     "
			}
			fmt.Fprintf(&b, "  %s %s\n", head, try)
		}
		fmt.Fprint(a.stderr, b.String())
	}
	if len(all) > 1 {
		a.remark("cordon: %d faults", len(all))
	}
	return all[0].Status()
}

func (a *app) failJSON(f exit.Error) {
	line, err := json.Marshal(struct {
		Schema  string   `json:"schema"`
		Code    string   `json:"code"`
		Message string   `json:"message"`
		File    string   `json:"file,omitempty"`
		Line    int      `json:"line,omitempty"`
		Column  int      `json:"column,omitempty"`
		Note    string   `json:"note,omitempty"`
		Excerpt string   `json:"excerpt,omitempty"`
		Try     []string `json:"try"`
		Exit    int      `json:"exit"`
	}{"cordon.error/v1", f.Code, f.Message, f.File, f.Line, f.Col, f.Note, f.Excerpt, append([]string{}, f.Try...), f.Status()})
	if err != nil {
		line = []byte(`{"schema":"cordon.error/v1","code":"failed","message":"an error without JSON form","try":[],"exit":1}`)
	}
	fmt.Fprintf(a.stderr, "%s\n", line)
}

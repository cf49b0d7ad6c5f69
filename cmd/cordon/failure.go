package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"cordon/cmd/cordon/config"
)

// Exit codes, the same for every command.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2 // the command line is wrong, or an answer is needed and nobody can be asked
	exitDenied      = 3 // policy or role does not allow it
	exitNotFound    = 4
	exitChecks      = 5 // checks or tests failed: a configuration or a policy is faulty
	exitConflict    = 6 // with what is there, or with what someone did meanwhile
	exitUnreachable = 7 // or timed out
	exitFindings    = 8 // it worked, and there is something to look at
	exitLogin       = 9 // login is needed and cannot be asked for
)

// failure is an error as a person and a script are told it: what went wrong and with
// which value, where, and what to do next. It never holds a stack trace, a secret or
// anything about a patient.
type failure struct {
	Code    string   // dotted, stable: scripts may match it
	Message string   // "cannot add device: …", one line
	File    string   // where, if in a file
	Line    int      // from 1; 0: the whole file
	Col     int      // from 1, in characters
	Note    string   // beside the place: "not written"
	Excerpt string   // the line and a caret, ready to print
	Try     []string // next commands or changes
	Exit    int      // one of the exit codes; 0 means exitFailed
	Err     error    // the cause, for errors.Is
}

func (f failure) Error() string { return f.Message }
func (f failure) Unwrap() error { return f.Err }

// exitCode returns the code a script sees.
func (f failure) exitCode() int {
	if f.Exit == 0 {
		return exitFailed
	}
	return f.Exit
}

// cannot says what a command was about to do when err happened. Every fault of a
// configuration in err stays one of its own.
func cannot(do string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("cannot %s: %w", do, err)
}

// refusals are failures of another process, which it has told.
type refusals []failure

func (r refusals) Error() string { return r[0].Message } // there is always one

// usageFailure is for a command line that cobra refuses.
func usageFailure(err error) error {
	var f failure
	if errors.As(err, &f) {
		return f
	}
	message, _, _ := strings.Cut(err.Error(), "\n")
	return failure{Code: "usage.arguments", Message: message, Exit: exitUsage, Try: []string{"the same command with --help"}, Err: err}
}

// failures turns an error into what is printed.
func failures(err error) []failure {
	var one failure
	var faults config.Faults
	var many refusals
	switch {
	case errors.As(err, &many):
		return many
	case errors.As(err, &one):
		if one.Message = err.Error(); one.Code == "" {
			one.Code = "failed"
		}
		return []failure{one}
	case errors.As(err, &faults):
		doing := strings.TrimSuffix(err.Error(), faults.Error())
		out := make([]failure, len(faults))
		for i, f := range faults {
			out[i] = failure{Code: f.Code, Message: doing + f.Message, File: f.File, Line: f.Line, Col: f.Col, Excerpt: f.Excerpt, Try: f.Try, Exit: exitOf(f)}
			if f.Proposed {
				out[i].Note = "as it would be; nothing was written"
			}
		}
		return out
	case errors.Is(err, config.ErrChanged):
		return []failure{{Code: "config.changed", Message: err.Error(), Exit: exitConflict, Try: []string{"the same command again"}}}
	case errors.Is(err, fs.ErrNotExist):
		return []failure{{Code: "file.missing", Message: err.Error(), Exit: exitNotFound}}
	}
	return []failure{{Code: "failed", Message: err.Error()}}
}

// exitOf returns the exit code of a fault in a configuration.
func exitOf(f config.Fault) int {
	switch f.Code {
	case "config.file.missing", "device.unknown":
		return exitNotFound
	case "device.ambiguous":
		return exitUsage
	case "config.device.exists":
		return exitConflict
	case "config.listener.conflict", "config.listener.loop":
		if f.Proposed {
			return exitConflict
		}
	}
	if f.Proposed {
		return exitUsage // the value came from the command line
	}
	return exitChecks
}

// fail prints an error on standard error, as JSON with --json, and returns the exit
// code. Of several, the first decides.
func (a *app) fail(err error) int {
	all := failures(err)
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
	return all[0].exitCode()
}

func (a *app) failJSON(f failure) {
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
	}{"cordon.error/v1", f.Code, f.Message, f.File, f.Line, f.Col, f.Note, f.Excerpt, append([]string{}, f.Try...), f.exitCode()})
	if err != nil {
		line = []byte(`{"schema":"cordon.error/v1","code":"failed","message":"an error without JSON form","try":[],"exit":1}`)
	}
	fmt.Fprintf(a.stderr, "%s\n", line)
}

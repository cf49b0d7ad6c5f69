// Package exit is how a command ends: with an error as a person and a script are told it, and one of a few
// exit codes that are the same for every command. What crosses a socket between two processes of ours
// is the same error. It does not print: that is for the command.
package exit

import (
	"errors"
	"io/fs"
	"strings"

	"cordon/cmd/cordon/config"
)

// Exit codes, the same for every command.
const (
	Done        = 0
	Failed      = 1
	Usage       = 2 // the command line is wrong, or an answer is needed and nobody can be asked
	Denied      = 3 // policy or role does not allow it
	NotFound    = 4
	Checks      = 5 // checks or tests failed: a configuration or a policy is faulty
	Conflict    = 6 // with what is there, or with what someone did meanwhile
	Unreachable = 7 // or timed out
	Findings    = 8 // it worked, and there is something to look at
	Login       = 9 // login is needed and cannot be asked for
)

// Error is an error as a person and a script are told it: what went wrong and with
// which value, where, and what to do next. It never holds a stack trace, a secret or
// anything about a patient.
type Error struct {
	Code    string   // dotted, stable: scripts may match it
	Message string   // "cannot add device: …", one line
	File    string   // where, if in a file
	Line    int      // from 1; 0: the whole file
	Col     int      // from 1, in characters
	Note    string   // beside the place: "not written"
	Excerpt string   // the line and a caret, ready to print
	Try     []string // next commands or changes
	Exit    int      // one of the exit codes; 0 means Failed
	Err     error    // the cause, for errors.Is
}

// Error is the message alone, without its place and what to try.
func (f Error) Error() string { return f.Message }
func (f Error) Unwrap() error { return f.Err }

// Status returns the code a script sees.
func (f Error) Status() int {
	if f.Exit == 0 {
		return Failed
	}
	return f.Exit
}

// Refusals are failures of another process, which it has told.
type Refusals []Error

func (r Refusals) Error() string { return r[0].Message } // there is always one

// Errors turns an error into what is printed.
func Errors(err error) []Error {
	var one Error
	var faults config.Faults
	var many Refusals
	switch {
	case errors.As(err, &many):
		return many
	case errors.As(err, &one):
		if one.Message = err.Error(); one.Code == "" {
			one.Code = "failed"
		}
		return []Error{one}
	case errors.As(err, &faults):
		doing := strings.TrimSuffix(err.Error(), faults.Error())
		out := make([]Error, len(faults))
		for i, f := range faults {
			out[i] = Error{Code: f.Code, Message: doing + f.Message, File: f.File, Line: f.Line, Col: f.Col, Excerpt: f.Excerpt, Try: f.Try, Exit: exitOf(f)}
			if f.Proposed {
				out[i].Note = "as it would be; nothing was written"
			}
		}
		return out
	case errors.Is(err, config.ErrChanged):
		return []Error{{Code: "config.changed", Message: err.Error(), Exit: Conflict, Try: []string{"the same command again"}}}
	case errors.Is(err, fs.ErrNotExist):
		return []Error{{Code: "file.missing", Message: err.Error(), Exit: NotFound}}
	}
	return []Error{{Code: "failed", Message: err.Error()}}
}

// exitOf returns the exit code of a fault in a configuration.
func exitOf(f config.Fault) int {
	switch f.Code {
	case "config.file.missing", "device.unknown":
		return NotFound
	case "device.ambiguous":
		return Usage
	case "config.device.exists":
		return Conflict
	case "config.listener.conflict", "config.listener.loop":
		if f.Proposed {
			return Conflict
		}
	}
	if f.Proposed {
		return Usage // the value came from the command line
	}
	return Checks
}

package main

import (
	"errors"
	"flag"
	"os/exec"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "rewrite the expected output inside testdata/script")

// TestMain lets this test binary be the real command: scripts run "cordon" in a process
// of its own, arguments, exit code and all.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"cordon": main, killer: killBefore})
}

// TestScript runs the stories of testdata/script, each in a directory of its own.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			// What a person's shell may have set does not change a test.
			env.Vars = append(env.Vars, "NO_COLOR=", "CORDON_COLOR=", "TERM=dumb", "HOME="+env.WorkDir)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

// exits runs a command and checks the code it exits with; stdout and stderr look at
// what it wrote.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ...")
	}
	code := "0"
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%s: %v", args[1], err)
		}
		code = strconv.Itoa(exit.ExitCode())
	}
	if code != args[0] {
		ts.Fatalf("exited with %s, want %s", code, args[0])
	}
}

package main

import (
	"context"
	"flag"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "rewrite the expected output inside testdata/script")

// TestMain lets this test binary be the real command: scripts run "cordon" in a process
// of its own, arguments, exit code and all.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"cordon": main})
}

// TestScript runs the stories of testdata/script, each in a directory of its own. A
// script's "exits N COMMAND…" checks an exit code.
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

// exits runs a command and checks the code it exits with. What it wrote is in the files
// out and err.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ...")
	}
	code := exitCode(ts, args[1:])
	if code != args[0] {
		ts.Fatalf("exited with %s, want %s: %s%s", code, args[0], ts.ReadFile("out"), ts.ReadFile("err"))
	}
}

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/exit"
)

// terminal opens a pseudo-terminal and returns the end a program writes to, and a
// function that returns what a person sees.
func terminal(t *testing.T) (tty *os.File, seen func() string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no pseudo-terminal: %v", err)
	}
	t.Cleanup(func() { master.Close() })
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Skipf("no pseudo-terminal: %v", err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return tty, func() string {
		b := make([]byte, 4096)
		n, err := master.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(string(b[:n]), "\r\n", "\n")
	}
}

func TestTable(t *testing.T) {
	head, rows := []string{"DEVICE", "CLASS"}, [][]string{{"möhre", "x"}, {"mon-70000", "y"}}
	var piped bytes.Buffer
	a := &app{stdout: &piped}
	if err := a.table(head, rows); err != nil {
		t.Fatal(err)
	}
	if want := "DEVICE\tCLASS\nmöhre\tx\nmon-70000\ty\n"; piped.String() != want {
		t.Errorf("piped: got %q, want %q", piped.String(), want)
	}
	tty, seen := terminal(t)
	a.stdout = tty
	if err := a.table(head, rows); err != nil {
		t.Fatal(err)
	}
	if got, want := seen(), "DEVICE     CLASS\nmöhre      x\nmon-70000  y\n"; got != want {
		t.Errorf("at a terminal: got %q, want %q", got, want)
	}
}

func TestColour(t *testing.T) {
	tty, _ := terminal(t)
	for _, tt := range []struct {
		name string
		env  map[string]string
		tty  bool
		json bool
		want bool
	}{
		{"terminal", nil, true, false, true},
		{"pipe", nil, false, false, false},
		{"NO_COLOR", map[string]string{"NO_COLOR": "1"}, true, false, false},
		{"dumb", map[string]string{"TERM": "dumb"}, true, false, false},
		{"CORDON_COLOR=never", map[string]string{"CORDON_COLOR": "never"}, true, false, false},
		{"CORDON_COLOR=always", map[string]string{"CORDON_COLOR": "always", "NO_COLOR": "1", "TERM": "dumb"}, false, false, true},
		{"CORDON_COLOR=auto", map[string]string{"CORDON_COLOR": "auto"}, true, false, true},
		{"json", map[string]string{"CORDON_COLOR": "always"}, true, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, name := range []string{"NO_COLOR", "CORDON_COLOR", "TERM"} {
				t.Setenv(name, tt.env[name])
			}
			a := &app{json: tt.json, stdout: tty}
			if !tt.tty {
				a.stdout = &bytes.Buffer{}
			}
			paint := a.palette(a.stdout)
			for allow, word := range map[bool]string{true: "ALLOW", false: "DENY"} {
				got := verdict(allow, paint)
				if !strings.Contains(got, word) || strings.Contains(got, "\x1b") != tt.want {
					t.Errorf("verdict(%v) = %q, want the word %s, colour %v", allow, got, word, tt.want)
				}
			}
		})
	}
}

// TestExitCodes holds which code a script sees for what.
func TestExitCodes(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want int
	}{
		{errors.New("disk on fire"), exit.Failed},
		{exit.Error{Message: "x"}, exit.Failed},
		{fmt.Errorf("cannot do: %w", exit.Error{Message: "x", Exit: exit.Unreachable}), exit.Unreachable},
		{config.Faults{{Code: "config.value"}}, exit.Checks},
		{config.Faults{{Code: "config.value", Proposed: true}}, exit.Usage},
		{config.Faults{{Code: "config.listener.conflict"}}, exit.Checks},
		{config.Faults{{Code: "config.listener.conflict", Proposed: true}}, exit.Conflict},
		{config.Faults{{Code: "config.file.missing"}}, exit.NotFound},
		{fmt.Errorf("cannot add: %w", config.ErrChanged), exit.Conflict},
		{&os.PathError{Op: "open", Path: "x", Err: os.ErrNotExist}, exit.NotFound},
	} {
		var out bytes.Buffer
		a := &app{stderr: &out}
		if got := a.fail(tt.err); got != tt.want {
			t.Errorf("%v: exit %d, want %d", tt.err, got, tt.want)
		}
	}
}

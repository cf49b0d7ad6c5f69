package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"

	"cordon/cmd/cordon/exit"

	"golang.org/x/sys/unix"
)

// errNobody says that nobody can be asked.
var errNobody = errors.New("nobody can be asked here")

// ask asks a person at a terminal. Of what is offered a number will do.
func (a *app) ask(question string, offered []string) (string, error) {
	in, isFile := a.stdin.(io.Writer) // a terminal can be written to
	if !isFile || !a.terminal(in) || a.json {
		return "", errNobody
	}
	for i, s := range offered {
		fmt.Fprintf(a.stderr, "  %d  %s\n", i+1, s)
	}
	fmt.Fprintf(a.stderr, "%s: ", question)
	line, err := readLine(a.stdin)
	if n, bad := strconv.Atoi(line); bad == nil && 1 <= n && n <= len(offered) {
		line = offered[n-1]
	}
	return line, err
}

// askSecrets asks a person at a terminal for what nobody should read over their shoulder, until
// they have no more. Elsewhere it reads standard input, one to a line.
func (a *app) askSecrets(what string) (list []string, err error) {
	const most = 20
	if in, ok := a.stdin.(*os.File); ok && a.terminal(in) {
		back, err := silence(in)
		if err != nil {
			return nil, fmt.Errorf("turn the echo off: %w", err)
		}
		defer back()
		for len(list) < most {
			fmt.Fprintf(a.stderr, "%s %d, not shown; nothing when there are no more: ", what, len(list)+1)
			line, err := readLine(in)
			fmt.Fprintln(a.stderr)
			if line == "" {
				return list, err
			}
			list = append(list, line)
		}
		return list, nil
	}
	lines := bufio.NewScanner(io.LimitReader(a.stdin, 8<<10))
	for lines.Scan() && len(list) < most {
		if s := strings.TrimSpace(lines.Text()); s != "" {
			list = append(list, s)
		}
	}
	return list, lines.Err()
}

// readLine reads one line, byte by byte: what is behind it is for the next question.
func readLine(in io.Reader) (string, error) {
	var line []byte
	for one := make([]byte, 1); len(line) < 1<<10; {
		n, err := in.Read(one)
		if n == 1 && one[0] != '\n' {
			line = append(line, one[0])
			continue
		}
		if errors.Is(err, io.EOF) && len(line) > 0 {
			err = nil
		}
		if n == 1 || err != nil {
			return strings.TrimSpace(string(line)), err
		}
	}
	return "", errors.New("that is too long")
}

// silence turns a terminal's echo off until back is called or the program is interrupted.
func silence(tty *os.File) (back func(), err error) {
	fd := int(tty.Fd())
	was, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, err
	}
	quiet := *was
	quiet.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &quiet); err != nil {
		return nil, err
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, unix.SIGINT, unix.SIGTERM)
	done := make(chan struct{})
	go func() {
		select {
		case <-interrupted:
			unix.IoctlSetTermios(fd, unix.TCSETS, was)
			os.Exit(exit.Failed)
		case <-done:
		}
	}()
	return func() {
		signal.Stop(interrupted)
		close(done)
		unix.IoctlSetTermios(fd, unix.TCSETS, was)
	}, nil
}

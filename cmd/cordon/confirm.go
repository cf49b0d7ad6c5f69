package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"cordon/cmd/cordon/exit"
)

// confirm asks a person at a terminal to type a word before something is done that others feel. Where
// nobody can be asked, that is an error which says that nothing was done.
func (a *app) confirm(question, word string) error {
	undone := exit.Error{Code: "unconfirmed", Message: "nothing was done", Exit: exit.Usage, Try: []string{"the same command with --yes"}}
	in, isFile := a.stdin.(io.Writer) // a terminal can be written to
	if !isFile || !a.terminal(in) || a.json {
		return undone
	}
	fmt.Fprintf(a.stderr, "%s Type %s to go on: ", question, word)
	line, err := bufio.NewReader(io.LimitReader(a.stdin, 1<<10)).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != word {
		return undone
	}
	return nil
}

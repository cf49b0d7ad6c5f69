package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// object writes one value as JSON. It is a struct whose first field is its schema,
// "cordon.device/v1".
func (a *app) object(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	if a.terminal(a.stdout) {
		enc.SetIndent("", "  ")
	}
	return enc.Encode(v)
}

// line writes one value of a stream as JSON, always on one line.
func (a *app) line(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// table writes rows in columns: aligned at a terminal, separated by tabs elsewhere. The
// head is left out with -q. Cells are one line each, and what does not print is shown, see plain.
func (a *app) table(head []string, rows [][]string) error {
	rows = slices.Clone(rows)
	for i, row := range rows {
		rows[i] = make([]string, len(row))
		for j, cell := range row {
			rows[i][j] = plain(cell)
		}
	}
	if !a.quiet {
		rows = append([][]string{head}, rows...)
	}
	align := a.terminal(a.stdout)
	width := make([]int, len(head))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		for i, cell := range row {
			switch {
			case i == len(row)-1:
				b.WriteString(cell)
			case align:
				b.WriteString(cell + strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)+2))
			default:
				b.WriteString(cell + "\t")
			}
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(a.stdout, b.String())
	return err
}

// plain shows what does not print: words of a policy's author or of a client do not move the cursor of who reads them,
// hide what stands before them, or turn their order round.
func plain(s string) string {
	if strings.IndexFunc(s, unprinted) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unprinted(r) {
			fmt.Fprintf(&b, "\\u{%x}", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func unprinted(r rune) bool { return !unicode.IsPrint(r) }

// verdict is how a decision is written, in words first.
func verdict(allow bool, paint func(color, string) string) string {
	if allow {
		return paint(green, "ALLOW")
	}
	return paint(red, "DENY ")
}

// color is an SGR parameter of ECMA-48.
type color int

const (
	red   color = 31
	green color = 32
)

// palette returns what colours text on w: nothing where w is no terminal or the
// person wants none. CORDON_COLOR (always, never, auto) goes before NO_COLOR.
func (a *app) palette(w io.Writer) func(color, string) string {
	use := a.terminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	switch os.Getenv("CORDON_COLOR") {
	case "always":
		use = true
	case "never":
		use = false
	}
	return func(c color, text string) string {
		if !use || a.json {
			return text
		}
		return fmt.Sprintf("\x1b[%dm%s\x1b[0m", c, text)
	}
}

// terminal reports whether a person sees w.
func (a *app) terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return err == nil
}

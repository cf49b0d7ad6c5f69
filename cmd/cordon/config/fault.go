package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxFaults bounds what is said about one file: nobody reads more, and a foreign
// file can be wrong in a million places.
const maxFaults = 20

// Fault is one thing wrong with a configuration.
type Fault struct {
	Code      string   // stable, dotted: "config.listener.conflict"
	Message   string   // one line that names the thing, the value seen and what was expected
	File      string   // as it was given; "" if the fault is not in a file
	Line, Col int      // from 1; Col counts characters; 0 if the whole file is meant
	Excerpt   string   // the line with a caret under the fault, secrets blotted out
	Try       []string // what to do next
	Proposed  bool     // the line is not in the file: it was about to be written
}

// Faults is everything found wrong with one file, in file order, at most 20.
type Faults []Fault

// Error returns one line for each fault.
func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.Message
		if f.Line > 0 {
			lines[i] = fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Col, f.Message)
		}
	}
	return strings.Join(lines, "\n")
}

// source is a file's text, and the faults found in it.
type source struct {
	file   string
	lines  []string // without line ends
	faults Faults
}

func newSource(file string, text []byte) *source {
	s := strings.ReplaceAll(string(text), "\r\n", "\n")
	return &source{file: file, lines: strings.Split(s, "\n")}
}

func (s *source) err() error {
	if len(s.faults) == 0 {
		return nil
	}
	slices.SortStableFunc(s.faults, func(a, b Fault) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Col - b.Col
	})
	return s.faults
}

// fault records something wrong at n.
func (s *source) fault(n *node, code, message, try string) { s.note(n, code, message, "", try) }

// note is fault with a remark beside the caret.
func (s *source) note(n *node, code, message, remark, try string) {
	if len(s.faults) == maxFaults {
		return
	}
	f := s.at(n, code, message, remark)
	f.Try = []string{try}
	s.faults = append(s.faults, f)
}

// whole records something wrong with the file as such.
func (s *source) whole(code, message, try string) {
	s.faults = append(s.faults, Fault{Code: code, Message: message, File: s.file, Try: []string{try}})
}

func (s *source) at(n *node, code, message, remark string) Fault {
	// The YAML scanner's positions are foreign data like the rest: keep them inside.
	line := min(max(n.line, 1), len(s.lines))
	col := min(max(n.col, 1), utf8.RuneCountInString(s.lines[line-1])+1)
	return Fault{Code: code, Message: message, File: s.file, Line: line, Col: col,
		Excerpt: s.excerpt(line, col, max(n.width, 1), remark)}
}

// excerptWidth is how many characters of a line are shown.
const excerptWidth = 100

func (s *source) excerpt(line, col, width int, remark string) string {
	text := []rune(strings.ToValidUTF8(s.lines[line-1], "\uFFFD"))
	if s.secret(line) {
		text, width = []rune(s.blotted(line)), 1
	}
	col = min(col, len(text)+1)
	from := 0
	if col > excerptWidth*3/4 {
		from = col - excerptWidth/2
	}
	text = text[from:min(len(text), from+excerptWidth)]
	for i, r := range text {
		if r < ' ' || r == 0x7f || hidesText(r) {
			text[i] = ' '
		}
	}
	caret := strings.Repeat(" ", col-1-from) + strings.Repeat("^", max(1, min(width, len(text)-(col-1-from))))
	if remark != "" {
		caret += " " + remark
	}
	number := fmt.Sprint(line)
	return fmt.Sprintf("    %s | %s\n    %s | %s", number, string(text), strings.Repeat(" ", len(number)), caret)
}

// secretKey is what the name of a key looks like whose value nobody may see on a
// screen or in a ticket.
var secretKey = regexp.MustCompile(`(?i)(passw|passphrase|secret|token|credential|(private|api|access|shared)[_-]?key|(^|[\s{,"'_-])pin\b)`)

// blotted returns a secret line with nothing left but the key it begins with.
func (s *source) blotted(line int) string {
	text := s.lines[line-1]
	key, _, found := strings.Cut(text, ":")
	if found && plainKey.MatchString(key) && !s.nested(line) {
		return key + ": …"
	}
	return text[:indentOf(text)] + "…"
}

var plainKey = regexp.MustCompile(`^ *[A-Za-z_-]+$`)

// secret reports whether a line holds a secret or belongs to a value that is one.
func (s *source) secret(line int) bool {
	text := s.lines[line-1]
	if secretKey.MatchString(text) || strings.Contains(text, "PRIVATE KEY") {
		return true
	}
	return s.nested(line)
}

// nested reports whether a line stands under a key that names a secret.
func (s *source) nested(line int) bool {
	indent := indentOf(s.lines[line-1])
	for i := line - 2; i >= 0 && indent > 0; i-- {
		above := s.lines[i]
		if strings.TrimSpace(above) == "" || indentOf(above) >= indent {
			continue
		}
		if secretKey.MatchString(above) {
			return true
		}
		indent = indentOf(above)
	}
	return false
}

func indentOf(line string) int { return len(line) - len(strings.TrimLeft(line, " \t")) }

// Nearest returns the candidate a person who typed word most likely meant, or "" if
// none is close.
func Nearest(word string, candidates []string) string {
	best, distance := "", 1+max(1, len(word)/3)
	for _, c := range candidates {
		if d := editDistance(word, c, distance); d < distance {
			best, distance = c, d
		}
	}
	return best
}

// editDistance is the least number of characters to add, drop, change or swap with
// their neighbour to make b of a (Damerau-Levenshtein, optimal string alignment). It
// returns at least limit early where the lengths alone say so.
func editDistance(a, b string, limit int) int {
	if abs(len(a)-len(b)) >= limit || len(a) > 64 || len(b) > 64 {
		return limit
	}
	var before, previous []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, previous, row = previous, row, make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(previous[j+1]+1, row[j]+1, previous[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}

func abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}

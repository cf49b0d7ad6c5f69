package http

import (
	"bytes"
	"strings"
)

// limits are those of a head.
type limits struct {
	line   int // bytes of the first line
	head   int // bytes of all
	fields int
}

// scan looks for the end of a head. It remembers what it has looked at, so that a head that
// arrives in tiny pieces costs no more than one that arrives at once.
type scan struct {
	at    int // bytes looked at
	line  int // where the line under way begins
	lines int // complete lines
}

// find returns the length of the head that data begins with, its empty line included, or 0
// if more is needed. What is wrong is told as soon as it is certain: bytes that are no HTTP
// need not come to an end.
func (s *scan) find(data []byte, max *limits, starts func(line []byte) bool, loneLF bool) (int, *fault) {
	for {
		limit := max.head
		if s.lines == 0 {
			limit = min(limit, max.line+2)
		}
		seen := data[:min(len(data), limit)]
		i := bytes.IndexByte(seen[s.at:], '\n')
		switch {
		case i >= 0:
		case len(seen) == limit && s.lines == 0:
			return 0, lineLong
		case len(seen) == limit:
			return 0, headLong
		default:
			s.at = len(seen)
			return 0, nil
		}
		line, ended := cutLine(seen[s.line:s.at+i], loneLF)
		s.at += i + 1
		s.line = s.at
		switch {
		case !ended:
			return 0, bareLF
		case len(line) == 0 && s.lines == 0:
			return 0, emptyStart
		case len(line) == 0:
			return s.at, nil
		case s.lines == 0 && !starts(line):
			return 0, notHTTP
		case s.lines > max.fields:
			return 0, manyFields
		}
		s.lines++
	}
}

// cutLine takes the CR off a line that LF follows. A line without one has not ended, unless a
// lone LF is enough.
func cutLine(line []byte, loneLF bool) ([]byte, bool) {
	if n := len(line); n > 0 && line[n-1] == '\r' {
		return line[:n-1], true
	}
	return line, loneLF
}

// nextLine cuts the first line off a head that scan has found.
func nextLine(head string) (line, rest string) {
	line, rest, _ = strings.Cut(head, "\n")
	return strings.TrimSuffix(line, "\r"), rest
}

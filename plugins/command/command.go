package command

import (
	"bytes"
	"strings"

	"cordon/policy"
)

// command is an entry of the list of commands.
type command struct {
	name    string // of the operation
	class   policy.Class
	match   []byte
	exact   bool // else match is what it begins with
	facts   []fact
	replies replies
	reply   [][]byte // what its replies begin with; none: with anything
	last    [][]byte // what the last of many begins with
	refused refusalKind
}

// replies says how many frames answer a command.
type replies string

const (
	noReply     replies = "none"
	oneReply    replies = "one"
	manyReplies replies = "many"
)

// reading is what is understood of a frame of the client.
type reading struct {
	command *command
	op      policy.Operation
	wrong   string // it is malformed
}

// read reads one frame.
func (set *settings) read(frame []byte) reading {
	r := reading{command: &set.unknown}
	content, wrong := set.frame.content(frame)
	if wrong == "" && set.refused(content) {
		wrong = "byte that no command has"
	}
	if set.trim {
		content = bytes.Trim(content, " ")
	}
	if wrong == "" {
		for i := range set.commands {
			if c := &set.commands[i]; set.fits(c, content) {
				r.command = c
				break
			}
		}
	}
	r.op = policy.Operation{Name: r.command.name, Class: r.command.class, Attributes: make(policy.Attributes, 0, 2+len(r.command.facts))}
	r.op.Attributes.Set("size", int64(len(frame)))
	switch {
	case set.frame.checksum.kind == "":
	case wrong == wrongChecksum:
		r.op.Attributes.Set("checksum", "wrong")
	case wrong == "":
		r.op.Attributes.Set("checksum", "ok")
	}
	for i := range r.command.facts {
		f := &r.command.facts[i]
		v, err := f.value(content)
		if err != nil && wrong == "" {
			wrong = f.name + " " + err.Error()
		} else if v != nil {
			if s, isText := v.(string); isText && set.ignoreCase {
				v = strings.ToUpper(s)
			}
			r.op.Attributes.Set(f.name, v)
		}
	}
	r.wrong = wrong
	return r
}

// refused reports whether a frame's content, or the beginning of it, has a byte that no
// command may have, behind its start. Its length may be any number.
func (set *settings) refused(content []byte) bool {
	start, _, _ := set.frame.start(content)
	l := set.frame.length
	for i, c := range content {
		if i >= start && (i < l.at || i >= l.at+l.size) && set.refusedBytes[c] {
			return true
		}
	}
	return false
}

// fits reports whether a frame's content is a command.
func (set *settings) fits(c *command, content []byte) bool {
	n := len(c.match)
	if len(content) < n || c.exact && len(content) > n {
		return false
	}
	return set.equal(content[:n], c.match)
}

// equal compares as many bytes as each has.
func (set *settings) equal(a, b []byte) bool {
	if !set.ignoreCase {
		return bytes.Equal(a, b)
	}
	for i := range a {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

// lower folds ASCII only: what else is a letter, devices do not agree on.
func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

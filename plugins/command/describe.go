package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// read reads a framing out of the settings.
func (f *framing) read(value json.RawMessage) error {
	order := "big"
	*f = framing{}
	err := sdk.Settings{
		"start":  texts(&f.starts, 4),
		"end":    text(&f.end, 1, 8),
		"escape": text(&f.escape, 1, 1),
		"length": func(value json.RawMessage) error {
			l := &f.length
			err := sdk.Settings{
				"at":    sdk.Int(&l.at, 0, 255),
				"size":  sdk.Int(&l.size, 1, 4),
				"order": sdk.OneOf(&order, "big", "little"),
				"adds":  sdk.Int(&l.adds, -255, 255),
			}.Read(value)
			if err == nil && (l.size == 0 || l.size == 3) {
				err = errors.New("size is not 1, 2 or 4 bytes")
			}
			return err
		},
		"checksum": func(value json.RawMessage) error {
			c := &f.checksum
			err := sdk.Settings{
				"kind": sdk.OneOf(&c.kind, "sum8_hex", "sum8", "fcs16"),
				"skip": sdk.Int(&c.skip, 0, 16),
			}.Read(value)
			if err == nil && c.kind == "" {
				err = errors.New("it has no kind")
			}
			return err
		},
	}.Read(value)
	f.length.little = order == "little"
	if err != nil {
		return err
	}
	return f.check()
}

// check refuses framings by which frames cannot be told apart for certain.
func (f *framing) check() error {
	switch {
	case (f.end != nil) == (f.length.size > 0):
		return errors.New("frames have either an end or a length")
	case f.escape == nil && !f.binary() && (f.checksum.kind == "sum8" || f.checksum.kind == "fcs16"):
		return fmt.Errorf("a checksum of the kind %s may have any byte in it: the end cannot be told from it without escape", f.checksum.kind)
	case f.length.size > 0 && f.escape != nil:
		return errors.New("frames with a length have no escape")
	case f.length.size > 0 && len(f.starts) > 0 && f.length.at < longest(f.starts):
		return errors.New("the length is inside the start")
	}
	if f.escape == nil {
		for _, s := range f.starts {
			if f.length.size == 0 && strings.ContainsAny(string(s), string(f.end)) {
				return errors.New("start and end share a byte, which takes an escape")
			}
		}
		return nil
	}
	if len(f.starts) != 1 || len(f.starts[0]) != 1 || len(f.end) != 1 {
		return errors.New("with escape, start and end are one byte each")
	}
	if e := f.escape[0]; e == f.end[0] || e == f.starts[0][0] {
		return errors.New("escape is the byte that starts or ends a frame")
	}
	for _, c := range []byte{f.escape[0], f.starts[0][0], f.end[0]} {
		if f.special(c ^ escapeXOR) {
			return fmt.Errorf("%#02x, escaped, would have to be escaped again", c)
		}
	}
	return nil
}

func longest(list [][]byte) (n int) {
	for _, b := range list {
		n = max(n, len(b))
	}
	return n
}

// readCommands reads the list of commands.
func (set *settings) readCommands(value json.RawMessage) error {
	var list []json.RawMessage
	if err := json.Unmarshal(value, &list); err != nil || len(list) > mostCommands {
		return fmt.Errorf("not a list of up to %d commands", mostCommands)
	}
	set.commands = make([]command, 0, len(list))
	for i, v := range list {
		c := command{replies: oneReply}
		if err := c.read(v); err != nil {
			return fmt.Errorf("%d, %q: %w", i+1, strings.TrimPrefix(c.name, prefix), err)
		}
		set.commands = append(set.commands, c)
	}
	return nil
}

// taken are names that the plugin itself gives.
var taken = [...]string{"session", "unknown", "malformed"}

func (c *command) read(value json.RawMessage) error {
	var exact, begin []byte
	err := sdk.Settings{
		"name": func(value json.RawMessage) error {
			var name string
			if json.Unmarshal(value, &name) != nil || !named(name, true) {
				return fmt.Errorf("%.40s is not a name of up to %d letters, digits, _, . and -", value, longestText)
			}
			if slices.Contains(taken[:], name) {
				return fmt.Errorf("%q is a name of the plugin's own", name)
			}
			c.name = prefix + name
			return nil
		},
		"class":      sdk.OneOf(&c.class, policy.Classes[:len(policy.Classes)-1]...), // unknown is the last
		"exact":      text(&exact, 0, longestText),
		"prefix":     text(&begin, 1, longestText),
		"replies":    sdk.OneOf(&c.replies, oneReply, noReply, manyReplies),
		"reply":      texts(&c.reply, longestText),
		"last":       texts(&c.last, longestText),
		"refused":    sdk.OneOf(&c.refused, refusalAnswer, refusalSilent, refusalEnd),
		"attributes": c.readFacts,
	}.Read(value)
	switch {
	case err != nil:
		return err
	case c.name == "" || c.class == "":
		return errors.New("it has no name or no class")
	case (exact == nil) == (begin == nil):
		return errors.New("it has either exact or prefix")
	case (c.replies == manyReplies) != (c.last != nil):
		return errors.New("last is for commands with many replies, and they need it")
	case c.replies == noReply && c.reply != nil:
		return errors.New("there is no reply to it")
	}
	for _, l := range c.last {
		if c.reply != nil && !hasPrefix(l, c.reply) {
			return errors.New("its last reply is none of its replies")
		}
	}
	c.match, c.exact = append(exact, begin...), exact != nil
	return nil
}

func (c *command) readFacts(value json.RawMessage) error {
	var list []json.RawMessage
	if err := json.Unmarshal(value, &list); err != nil || len(list) > 16 {
		return errors.New("not a list of up to 16 attributes")
	}
	for i, v := range list {
		f := fact{at: -1}
		if err := f.read(v); err != nil {
			return fmt.Errorf("%d, %q: %w", i+1, f.name, err)
		}
		if slices.ContainsFunc(c.facts, func(o fact) bool { return o.name == f.name }) {
			return fmt.Errorf("%d, %q: there is one of this name", i+1, f.name)
		}
		c.facts = append(c.facts, f)
	}
	return nil
}

func (f *fact) read(value json.RawMessage) error {
	err := sdk.Settings{
		"name":      sdk.Value(&f.name),
		"at":        sdk.Int(&f.at, 0, maxFrame),
		"length":    sdk.Int(&f.length, 1, longestFact),
		"field":     sdk.Int(&f.field, 1, 256),
		"separator": text(&f.separator, 1, 4),
		"number":    sdk.Flag(&f.number),
		"decimals":  sdk.Int(&f.decimals, 0, 6),
		"optional":  sdk.Flag(&f.optional),
	}.Read(value)
	switch {
	case err != nil:
		return err
	case !named(f.name, false) || f.name == "size" || f.name == "checksum":
		return errors.New("its name is not of a to z, digits and _, or the plugin's own")
	case (f.at >= 0) == (f.field > 0):
		return errors.New("it has either at or field")
	case (f.separator != nil) != (f.field > 0):
		return errors.New("field and separator belong together")
	case f.length > 0 && f.field > 0:
		return errors.New("length belongs to at")
	case f.decimals > 0 && !f.number:
		return errors.New("decimals belong to a number")
	}
	return nil
}

// named reports whether s is a name: of lower case, or also of what commands are called.
func named(s string, command bool) bool {
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '_':
		case command && (c >= 'A' && c <= 'Z' || c == '.' || c == '-'):
		default:
			return false
		}
	}
	return s != "" && len(s) <= longestText
}

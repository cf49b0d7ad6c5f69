package command

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// Protocol returns the plugin of protocols that are described.
//
// Its settings. Bytes are written as in manuals: "OK<CR><LF>", "<ESC>$", "<0x7E>".
//
//	frame         how the client's frames are told apart; required. {end: <CR>}: lines. With
//	              start, a text or several, one of them begins each frame. With escape: "}"
//	              beside start and end of one byte each, those are escaped as in RFC 1662.
//	              {length: {at: 2, size: 2, order: little, adds: 4}}, without end: a number of
//	              1, 2 or 4 bytes, "big" (default) or little, behind at bytes; adds are the bytes
//	              it does not count. checksum: {kind: sum8_hex, skip: 1}: before the end, over
//	              all before it but skip bytes; sum8_hex, the low byte of the sum in upper
//	              case; sum8, the byte itself; fcs16, of RFC 1662, low byte first
//	reply_frame   the same for the device's frames, if they differ
//	max_frame     bytes of a frame, 16 to 64KiB; default 1KiB
//	allow_bytes   what the client may use in text besides printable ASCII: "<HT>"
//	refuse_bytes  what it may not use: ";"
//	ignore_case   true: the device does not tell q from Q. Attributes are told in upper case
//	trim          true: it takes no notice of blanks around a command
//	commands      a list; the first that fits counts; required. See below
//	unsolicited   what the frames begin with that a device sends unasked, a text or several
//	outstanding   commands without a reply at a time, 1 to 16; default 1
//	refusal       {answer: "ERR <CODE>"}: what a refused client is told, framed as a reply,
//	              with the decision code in place of <CODE>; "silent": nothing; "end"
//	              (default): the session ends
//
// A frame's bytes from its start on, without escapes, checksum and end, are what texts below
// are about. A command has the keys
//
//	name        of letters, digits, "_", "." and "-"; several commands may share one
//	class       what it does, a policy.Class but unknown
//	exact       what the frame is, or
//	prefix      what it begins with
//	replies     "one" (default), "none" or "many"
//	reply       what its replies begin with, a text or several; default: anything
//	last        what the last of many begins with; required for many
//	refused     "answer", "silent" or "end" where it is not as refusal says. Without replies
//	            "end" is the default: a refusal would be taken for another command's
//	attributes  [{name: rate, at: 3, length: 5}]: the 5 bytes behind 3, or all that are left;
//	            {name: rate, field: 2, separator: " "}, the second field. Blanks around it do
//	            not count, but where they separate fields there may be one each, as devices
//	            differ in whether a field can be empty. With number: true it is a number and
//	            decimals: 2 has it in hundredths: 12.5 is 1250. A command without it is
//	            malformed, but for optional: true
func Protocol() sdk.Protocol {
	return sdk.Protocol{
		Name:    "command",
		Version: "1.0.0",
		// Replies are held because nothing in them says which command they answer: one that
		// answers none must not reach a client, which would take it for the next one's.
		Modes: [2]sdk.Mode{sdk.Forward: sdk.Held, sdk.Reverse: sdk.Held},
		Configure: func(raw json.RawMessage) (func() sdk.Inspector, error) {
			set, err := parseSettings(raw)
			if err != nil {
				return nil, err
			}
			return func() sdk.Inspector { return &session{set: set} }, nil
		},
	}
}

const (
	prefix          = "command:"
	minFrame        = 16
	maxFrame        = 64 << 10
	defaultFrame    = 1 << 10
	mostOutstanding = 16
	mostCommands    = 256
	longestText     = 64
)

// settings are one service's; read-only once parsed.
type settings struct {
	frame, reply       framing // of the client's side and of the device's
	maxFrame           int
	refusedBytes       [256]bool // in a command
	ignoreCase, trim   bool
	commands           []command
	unknown, malformed command
	unsolicited        [][]byte
	outstanding        int
	refusal            refusal
}

// framing is that of the side whose frames go in a direction.
func (set *settings) framing(dir sdk.Direction) *framing {
	if dir == sdk.Forward {
		return &set.frame
	}
	return &set.reply
}

func parseSettings(raw json.RawMessage) (*settings, error) {
	set := &settings{maxFrame: defaultFrame, outstanding: 1, refusal: refusal{kind: refusalEnd}}
	var replyFrame *framing
	var allow, refuse []byte
	err := sdk.Settings{
		"frame": set.frame.read,
		"reply_frame": func(value json.RawMessage) error {
			replyFrame = &set.reply
			return replyFrame.read(value)
		},
		"max_frame":    sdk.Size(&set.maxFrame, minFrame, maxFrame),
		"allow_bytes":  text(&allow, 1, longestText),
		"refuse_bytes": text(&refuse, 1, longestText),
		"ignore_case":  sdk.Flag(&set.ignoreCase),
		"trim":         sdk.Flag(&set.trim),
		"commands":     set.readCommands,
		"unsolicited":  texts(&set.unsolicited, longestText),
		"outstanding":  sdk.Int(&set.outstanding, 1, mostOutstanding),
		"refusal":      set.refusal.read,
	}.Read(raw)
	if err != nil {
		return nil, err
	}
	if set.frame.end == nil && set.frame.length.size == 0 {
		return nil, errors.New(`frame is not set: say how frames are told apart, such as {"end": "<CR><LF>"}`)
	}
	if set.commands == nil {
		return nil, errors.New("commands is not set: list what the device understands, or [] if nothing may pass")
	}
	if replyFrame == nil {
		set.reply = set.frame
	}
	if set.trim && (len(set.frame.starts) > 0 || set.frame.length.size > 0) {
		return nil, errors.New(`setting "trim": it is for frames without a start and without a length`)
	}
	if err := set.forbid(allow, refuse); err != nil {
		return nil, err
	}
	if err := set.complete(); err != nil {
		return nil, err
	}
	return set, set.tryAnswer()
}

// forbid says which bytes a command cannot have behind its start.
func (set *settings) forbid(allow, refuse []byte) error {
	f := &set.frame
	if !f.binary() {
		for c := range set.refusedBytes {
			set.refusedBytes[c] = c < ' ' || c > '~'
		}
		for _, c := range slices.Concat(append(f.starts, f.end)...) {
			set.refusedBytes[c] = true
			if bytes.IndexByte(allow, c) >= 0 {
				return fmt.Errorf(`setting "allow_bytes": %#02x starts or ends a frame`, c)
			}
		}
	} else if allow != nil {
		return errors.New(`setting "allow_bytes": it is for frames of text`)
	}
	for _, c := range allow {
		set.refusedBytes[c] = false
	}
	for _, c := range refuse {
		if bytes.IndexByte(allow, c) >= 0 {
			return fmt.Errorf(`setting "refuse_bytes": %#02x is allowed as well`, c)
		}
		set.refusedBytes[c] = true
	}
	return nil
}

// complete says what depends on more than one setting, and refuses what cannot be meant.
func (set *settings) complete() error {
	set.unknown = command{name: prefix + "unknown", class: policy.ClassUnknown, replies: oneReply, refused: set.refusal.kind}
	set.malformed = command{name: prefix + "malformed", class: policy.ClassUnknown, replies: noReply, refused: set.refusal.kind}
	for i := range set.commands {
		c := &set.commands[i]
		wrong := func(format string, args ...any) error {
			return fmt.Errorf(`setting "commands": %d, %q: %s`, i+1, c.name[len(prefix):], fmt.Sprintf(format, args...))
		}
		if _, ok, _ := set.frame.start(c.match); !ok {
			return wrong("it does not begin with a start of the frame")
		} else if set.refused(c.match) {
			return wrong("it has a byte that no command may have")
		}
		if set.trim && len(bytes.Trim(c.match, " ")) < len(c.match) && (c.exact || c.match[0] == ' ') {
			return wrong("it has blanks that trim takes away")
		}
		for j := range set.commands[:i] {
			if e := &set.commands[j]; (c.exact || !e.exact) && set.fits(e, c.match) {
				return wrong("it is never reached: %q fits before it", e.name[len(prefix):])
			}
		}
		for _, r := range append(slices.Clone(c.reply), c.last...) {
			if begins(set.unsolicited, r) {
				return wrong("its reply could be what the device sends unasked")
			}
		}
		if c.refused == "" {
			c.refused = set.refusal.kind
			if c.replies == noReply && c.refused == refusalAnswer {
				c.refused = refusalEnd
			}
		}
		if c.refused == refusalAnswer && set.refusal.kind != refusalAnswer {
			return wrong("the setting refusal has no answer")
		}
	}
	return nil
}

// tryAnswer makes sure that a refusal is one frame, whatever its code is.
func (set *settings) tryAnswer() error {
	if set.refusal.kind != refusalAnswer {
		return nil
	}
	b := set.answer(codeBytes)
	n, wrong := set.reply.cut(b, 0, set.maxFrame)
	if wrong == "" && n == len(b) {
		_, wrong = set.reply.content(b)
	}
	if wrong != "" || n != len(b) {
		return errors.New(`setting "refusal": its answer is not one frame of the device: ` + cmp.Or(wrong, "it has the end of a frame in it"))
	}
	return nil
}

func (r *refusal) read(value json.RawMessage) error {
	if !bytes.HasPrefix(value, []byte("{")) {
		return sdk.OneOf(&r.kind, refusalSilent, refusalEnd)(value)
	}
	var answer string
	if err := (sdk.Settings{"answer": sdk.Value(&answer)}).Read(value); err != nil {
		return err
	}
	before, after, coded := bytes.Cut([]byte(answer), []byte("<CODE>"))
	r.kind, r.coded = refusalAnswer, coded
	var err, err2 error
	r.before, err = parseBytes(string(before))
	r.after, err2 = parseBytes(string(after))
	if err := cmp.Or(err, err2); err != nil {
		return err
	}
	if n := len(r.before) + len(r.after); n == 0 && !coded || n > longestText {
		return fmt.Errorf("an answer of %d bytes, not 1 to %d", n, longestText)
	}
	return nil
}

package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"cordon/gateway/audit"
	"cordon/plugins/sdk"
	"cordon/policy"
)

// talk is a toy protocol in which both sides ask: a request is "?name payload\n", a reply
// "!text\n" to the oldest request of the other side. "!+text" says that more replies follow
// to the same, and "!bad" is malformed. A payload "a=b" is a fact. It refuses with "!refused CODE\n"; a request that
// is named "slow" goes on until a line ".\n" and is refused there.
type talk struct {
	asked [2][]sdk.OpID // without a final reply, by who asked
	slow  sdk.OpID      // still going on
	late  []byte        // its refusal
}

func talkProtocol() sdk.Protocol {
	return sdk.Protocol{
		Name: "talk", Version: "test", Modes: [2]sdk.Mode{sdk.Held, sdk.Held},
		Configure: func(json.RawMessage) (func() sdk.Inspector, error) {
			return func() sdk.Inspector { return &talk{} }, nil
		},
	}
}

func (p *talk) Inspect(dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
	for {
		n := bytes.IndexByte(data, '\n') + 1
		if n == 0 {
			return
		}
		line := string(data[:n-1])
		data = data[n:]
		if name, asks := strings.CutPrefix(line, "?"); asks {
			name, payload, _ := strings.Cut(name, " ")
			asked := policy.Operation{Name: "talk:" + name, Class: policy.ClassWrite}
			if fact, value, ok := strings.Cut(payload, "="); ok {
				asked.Attributes.Set(fact, value)
			}
			op := out.Operation(asked)
			switch name {
			case "long":
				out.Keep(op)
			case "slow":
				p.slow = op
			}
			p.asked[dir] = append(p.asked[dir], op)
			out.Span(op, int64(n))
			continue
		}
		if p.slow != 0 {
			out.Span(p.slow, int64(n))
			if line == "." {
				out.Refusal(p.slow, p.late)
				p.slow = 0
			}
			continue
		}
		asked := &p.asked[dir.Opposite()]
		if len(*asked) == 0 {
			out.End("a reply to nothing")
			return
		}
		op := (*asked)[0]
		if line == "!bad" {
			out.Abort(op, "a bad reply")
			return
		}
		out.Span(op, int64(n))
		if !strings.HasPrefix(line, "!+") {
			*asked = (*asked)[1:]
			out.Done(op)
		}
	}
}

func (p *talk) Refuse(op sdk.OpID, why sdk.Refusal, out *sdk.Steps) {
	asked := &p.asked[op.Direction()]
	for i, a := range *asked {
		if a == op {
			*asked = append((*asked)[:i:i], (*asked)[i+1:]...)
		}
	}
	answer := []byte("!refused " + why.Code + strings.Join(why.Obligations, " ") + "\n")
	if op == p.slow {
		p.late = answer
		return
	}
	out.Refusal(op, answer)
}

// answerTalk is what a device of this protocol may be told.
func answerTalk(b []byte) error {
	if !bytes.HasPrefix(b, []byte("!refused ")) || bytes.IndexByte(b, '\n') != len(b)-1 {
		return fmt.Errorf("%q is no refusal", b)
	}
	return nil
}

// A device that asks back: what it asks is decided, too, and what it is refused it is told.
func TestDeviceAsks(t *testing.T) {
	told := make(chan string, 10)
	w := newWard(t, wardConfig{protocol: "talk", answer: answerTalk, reply: func(line string) string {
		switch {
		case line == "?fetch":
			return "!+begun\n?store 1\n?no 2\n?store 3\n"
		case strings.HasPrefix(line, "!"):
			told <- line
		}
		if line == "!thanks 3" {
			return "!done\n"
		}
		return ""
	}})
	c := w.dial()
	c.send("?fetch\n")
	c.expect("!+begun")
	c.expect("?store 1")
	c.expect("?store 3")
	c.send("!thanks 1\n!thanks 3\n")
	c.expect("!done")
	var got []string
	for range 3 {
		line, _, _ := strings.Cut(<-told, " ")
		got = append(got, line)
	}
	if all := strings.Join(got, " "); strings.Count(all, "!thanks") != 2 || strings.Count(all, "!refused") != 1 {
		t.Errorf("the device was told %q", all)
	}
	asked := map[string]string{}
	for _, r := range entries(t, w) {
		asked[r.Operation.Name] = r.Session.Direction
	}
	if asked["talk:fetch"] != policy.Inbound || asked["talk:store"] != policy.Outbound || asked["talk:no"] != policy.Outbound {
		t.Errorf("the log says who asked as %v", asked)
	}
}

// entries are the requests in the log.
func entries(t *testing.T, w *ward) []policy.Request {
	t.Helper()
	r, err := audit.OpenReader(w.logDir)
	if err != nil {
		t.Fatal(err)
	}
	var list []policy.Request
	for e, err := range r.Entries(0, math.MaxInt64) {
		if err != nil {
			t.Fatal(err)
		}
		var q policy.Request
		if json.Unmarshal(e.Input, &q) == nil {
			list = append(list, q)
		}
	}
	return list
}

// Where nobody says what a refusal for a device looks like, a device is told nothing.
func TestMuteToDevice(t *testing.T) {
	for name, answer := range map[string]func([]byte) error{
		"no answer":      nil,
		"another answer": func([]byte) error { return errors.New("not one of ours") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWard(t, wardConfig{protocol: "talk", answer: answer, reply: func(string) string { return "?no 2\n?store 3\n" }})
			c := w.dial()
			c.send("?fetch\n")
			if got := c.ends(); got != "" {
				t.Errorf("the client received %q", got)
			}
			if got := w.device.all(); got != "?fetch\n" {
				t.Errorf("the device received %q", got)
			}
		})
	}
}

// A reply that turns out wrong is not passed on; the client is told instead.
func TestBadReply(t *testing.T) {
	w := newWard(t, wardConfig{protocol: "talk", answer: answerTalk, reply: func(string) string { return "!+good\n!bad\n!worse\n" }})
	c := w.dial()
	c.send("?fetch\n")
	c.expect("!+good")
	c.expect("!refused *")
	c.CloseWrite()
	if got := c.ends(); strings.Contains(got, "bad") {
		t.Errorf("the client received %q", got)
	}
}

// An operation may go on while more others than are remembered come and go inside it.
func TestLongOperation(t *testing.T) {
	inner := 0
	w := newWard(t, wardConfig{protocol: "talk", answer: answerTalk, reply: func(line string) string {
		if strings.HasPrefix(line, "?long") {
			return ""
		}
		if inner++; inner > sdk.MaxOpen {
			return "!the last\n"
		}
		return ""
	}})
	c := w.dial()
	c.send("?long\n")
	for range sdk.MaxOpen + 1 {
		c.send("?short\n")
	}
	c.expect("!the last")
}

// Obligations choose among a protocol's negative answers; others' are not its business.
func TestObligations(t *testing.T) {
	w := newWard(t, wardConfig{protocol: "talk", policy: decider(func(r *policy.Request) policy.Decision {
		return policy.Decision{Allow: r.Phase == policy.PhaseConnect, Obligations: []string{"hl7:x", "talk:politely", "talking:y"}, Reason: "test", Cause: policy.CausePolicy}
	})})
	c := w.dial()
	c.send("?fetch\n")
	if line := c.line(); !strings.HasSuffix(line, "talk:politely") {
		t.Errorf("the client received %q", line)
	}
}

// As long as a refused operation arrives, the refusal it is owed is no stall, though the direction
// in which it is owed is silent. That one is looked at as often as the session may be idle.
func TestSlowRefused(t *testing.T) {
	const stall = 2 * time.Second
	w := newWard(t, wardConfig{protocol: "talk", policy: allowBut("slow"), idle: stall, limits: Limits{StallTimeout: stall}, reply: func(string) string { return "!done\n" }})
	c := w.dial()
	c.send("?slow\n")
	for end := time.Now().Add(stall * 3 / 2); time.Now().Before(end); time.Sleep(stall / 100) {
		c.send("more\n")
	}
	c.send(".\n?fetch\n")
	c.expect("!refused *")
	c.expect("!done")
}

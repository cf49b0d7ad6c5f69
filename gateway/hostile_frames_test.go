package gateway

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cordon/plugins/control"
	"cordon/plugins/sdk"
	"cordon/plugins/wire"
	"cordon/policy"
)

// hostileFrames are processes that send what the sdk's runtime would not.
func hostileFrames() []hostile {
	one := func(steps ...sdk.Step) turns { return turns{append([]sdk.Step{op(1, "one"), span(1, 4)}, steps...)} }
	held2 := described("hostile", sdk.Held, sdk.Held)
	return []hostile{
		// Spans.
		(&puppet{forward: turns{{span(1, 4), op(1, "one")}}}).named("span before its operation", hostile{ends: "a span of operation 1, which is not among the latest"}),
		(&puppet{open: turns{{span(1, 4)}}}).named("span before anything was said", hostile{ends: "a span of operation 1, which is not among the latest"}),
		(&puppet{forward: turns{{op(1, "one"), span(0, 4)}}}).named("span of no operation", hostile{ends: "a span of operation 0"}),
		(&puppet{forward: turns{{op(1, "one"), span(2, 4)}}}).named("span of an operation to come", hostile{ends: "a span of operation 2"}),
		(&puppet{forward: turns{append(ops(300), span(1, 4))}}).named("span of an operation long gone", hostile{ends: "a span of operation 1, which is not among the latest"}),
		(&puppet{forward: turns{{op(1, "one"), span(1, -1)}}}).named("negative span", hostile{ends: "malformed frame"}),
		(&puppet{forward: turns{{op(1, "one"), span(1, math.MinInt64)}}}).named("most negative span", hostile{ends: "malformed frame"}),
		(&puppet{forward: turns{{op(1, "one"), span(1, 0)}}}).named("empty span", hostile{ends: "a span of 0 bytes"}),
		(&puppet{forward: one(span(1, math.MaxInt64))}).named("overflowing span", hostile{device: "one\n", client: "ok one\n", ends: "a span of 9223372036854775807 bytes at 4"}),
		(&puppet{forward: one(span(1, math.MaxInt64-4), span(1, 1))}).named("span behind the end of all spans", hostile{device: "one\n", client: "ok one\n", ends: "a span of 1 bytes at 9223372036854775807"}),
		(&puppet{forward: turns{{op(1, "no"), span(1, 4)}}, refuse: turns{{refusal(1, 0, "refused\n")}}}).named("span of a refused operation",
			hostile{client: "refused\n", ends: "idle"}),
		(&puppet{forward: turns{{invalid(1, "one"), span(1, 4)}}}).named("span of an invalid operation", hostile{ends: stuck}),
		(&puppet{forward: turns{{op(1, "one"), abort(1), span(1, 4)}}}).named("span of an aborted operation", hostile{ends: stuck}),
		playing((&puppet{forward: turns{{op(1, "one"), span(1, 8), abort(1)}}, act: func(p *puppet, f any) bool {
			r, ok := f.(wire.Refuse)
			if ok {
				p.say(f, refusal(r.Op, r.After, "refused\n"))
			}
			return ok
		}}).named("rest of an aborted operation", hostile{ends: stuck}), playAborted),
		(&puppet{forward: turns{{op(1, "no"), span(1, 2), op(2, "one"), span(2, 2)}}}).named("spans that overlap the bytes of a refused operation",
			hostile{device: "e\n", client: "ok e\n", ends: stuck}),
		(&puppet{forward: one(), reverse: turns{{span(1, 7), span(1, math.MaxInt64)}}}).named("overflowing span of replies",
			hostile{device: "one\n", client: "ok one\n", ends: "a span of 9223372036854775807 bytes at 7"}),
		playing((&puppet{forward: turns{{op(1, "one"), span(1, 4)}, {op(2, "no"), span(2, 4)}}, act: oneRefusalAtATime()}).named("both directions find something to refuse",
			hostile{}), playBoth),
		(&puppet{forward: turns{{op(1, "one"), span(1, 4), op(2, "no")}}, reverse: turns{{span(2, 7)}}}).named("reply to a refused operation",
			hostile{device: "one\n", client: "ok one\n", ends: "a reply to operation 2, which was refused"}),

		// Operations and their numbers.
		(&puppet{forward: turns{{op(2, "one"), span(2, 4)}}}).named("number left out", hostile{ends: "operation 2 after 0"}),
		(&puppet{forward: turns{{op(1, "no"), op(1, "one"), span(1, 4)}}}).named("number used twice", hostile{ends: "operation 1 after 1"}),
		(&puppet{forward: turns{{op(0, "one"), span(0, 4)}}}).named("number zero", hostile{ends: "operation 0 after 0"}),
		(&puppet{forward: turns{{op(math.MaxUint64, "one"), span(math.MaxUint64, 4)}}}).named("last number of all", hostile{ends: "operation 18446744073709551615, announced in the forward direction"}),
		(&puppet{forward: turns{{named(op(1, ""), "lines:ping"), span(1, 4)}}}).named("operation of another protocol", hostile{ends: stuck}),
		(&puppet{forward: turns{{named(op(1, ""), "hostile\x00:one"), span(1, 4)}}}).named("protocol with a zero byte", hostile{ends: stuck}),
		(&puppet{forward: turns{{named(op(1, ""), ""), span(1, 4)}}}).named("operation without a name", hostile{ends: stuck}),
		(&puppet{forward: turns{{op(1, strings.Repeat("n", sdk.MaxName)), span(1, 4)}}}).named("name too long", hostile{ends: "malformed frame"}),
		(&puppet{forward: turns{{op(1, "\xff\xfe"), span(1, 4)}}}).named("name that is not UTF-8", hostile{ends: "malformed frame"}),
		(&puppet{forward: turns{{classed(op(1, "one"), "root"), span(1, 4)}}}).named("class that there is not", hostile{ends: "malformed frame"}),
		(&puppet{forward: turns{{classed(op(1, "one"), ""), span(1, 4)}}}).named("no class", hostile{ends: "malformed frame"}),
		(&puppet{forward: turns{{classed(op(1, "one"), policy.ClassUnknown), span(1, 4)}}}).named("unknown class", hostile{ends: stuck}),
		(&puppet{forward: turns{{with(op(1, "one"), fact("a", strings.Repeat("a", sdk.MaxFacts))), span(1, 4)}}}).named("facts too large", hostile{ends: "malformed frame"}),
		(&puppet{forward: turns{{with(op(1, "one"), facts(257)...), span(1, 4)}}}).named("facts too many", hostile{ends: "malformed frame"}),
		(&puppet{forward: turns{{with(op(1, "one"), fact("b", "1"), fact("a", "2")), span(1, 4)}}}).named("facts out of order", hostile{ends: "malformed frame"}),
		(&puppet{forward: turns{{with(op(1, "one"), fact("a", "1"), fact("a", "2")), span(1, 4)}}}).named("fact twice", hostile{ends: "malformed frame"}),
		(&puppet{forward: turns{{with(op(1, "one"), fact("a", 1.5)), span(1, 4)}}}).named("fact of no type", hostile{ends: "malformed frame"}),
		(&puppet{forward: turns{{with(op(1, "one"), fact("a", strings.Repeat("\x00", sdk.MaxFacts-8))), span(1, 4)}}}).named("facts that grow in the log",
			hostile{device: "one\n", client: "ok one\n", ends: stuck}),
		(&puppet{forward: turns{ops(sdk.MaxSteps + 1)}}).named("steps too many", hostile{ends: "malformed frame"}),
		(&puppet{forward: turns{{op(1, "one"), abort(2), span(1, 4)}}}).named("abort of an operation to come", hostile{ends: "operation 2 cannot be aborted"}),
		(&puppet{forward: turns{{op(1, "no"), abort(1), span(1, 4)}}}).named("abort of a refused operation", hostile{ends: stuck}),
		(&puppet{forward: turns{{op(1, "one"), abort(1), abort(1), span(1, 4)}}}).named("abort twice", hostile{ends: stuck}),
		(&puppet{forward: one(), reverse: turns{{abort(1)}}}).named("abort from the other direction",
			hostile{device: "one\n", client: "ok one\n", ends: stuck}),
		(&puppet{forward: turns{{op(1, "one"), end(), span(1, 4)}}}).named("span after the end", hostile{ends: "the inspector ended the session"}),
		(&puppet{open: turns{{end()}}, forward: one()}).named("operation after the end", hostile{ends: "the inspector ended the session"}),

		// Modes.
		(&puppet{description: described("hostile", sdk.Unseen, sdk.Observed)}).named("requests said to be unseen", hostile{ends: stuck}),
		(&puppet{description: described("hostile", sdk.Observed, sdk.Observed)}).named("requests said to be observed", hostile{ends: stuck}),
		(&puppet{description: described("hostile", sdk.Held, sdk.Unseen), forward: one(), reverse: turns{{end()}}}).named("replies said to be unseen",
			hostile{device: "one\n", client: "ok one\n", ends: "the inspector ended the session"}),

		// Refusals.
		(&puppet{forward: one(refusal(1, 0, "EVIL\n"))}).named("refusal of an allowed operation",
			hostile{device: "one\n", client: "ok one\n", ends: "a refusal of operation 1, to which none is owed"}),
		(&puppet{forward: turns{{refusal(1, 0, "EVIL\n")}}}).named("refusal of nothing", hostile{ends: "to which none is owed"}),
		(&puppet{open: turns{{refusal(1, 0, "EVIL\n")}}}).named("refusal before anything was said", hostile{ends: "to which none is owed"}),
		(&puppet{forward: turns{{op(1, "no")}}, refuse: turns{{refusal(1, 0, "refused\n"), refusal(1, 0, "EVIL\n")}}}).named("refusal twice",
			hostile{client: "refused\n", ends: "to which none is owed"}),
		(&puppet{forward: turns{{op(1, "no"), span(1, 4)}, {refusal(1, 0, "EVIL\n")}}, refuse: turns{{refusal(1, 0, "refused\n")}}}).named("refusal again later",
			hostile{lines: []string{"not\n", "two\n"}, client: "refused\n", ends: "to which none is owed"}),
		(&puppet{forward: turns{{op(1, "one"), span(1, 4)}, {op(2, "no")}}, refuse: turns{{refusal(2, 0, "EVIL\n")}}}).named("refusal placed in the past",
			hostile{lines: []string{"one\n", "two\n"}, device: "one\n", client: "ok one\n", ends: "a refusal at 0, where 7 bytes have moved"}),
		(&puppet{forward: turns{{op(1, "no"), span(1, 4)}}, refuse: turns{{refusal(1, 1<<40, "EVIL\n")}}}).named("refusal placed far ahead", hostile{ends: stuck}),
		(&puppet{forward: turns{{op(1, "no"), span(1, 4)}}, refuse: turns{{refusal(1, -1, "EVIL\n")}}}).named("refusal placed before the beginning", hostile{ends: "malformed frame"}),
		(&puppet{forward: turns{{op(1, "no"), op(2, "no")}}, refuse: turns{{}, {refusal(2, 9, "EVIL\n"), refusal(1, 4, "EVIL\n")}}}).named("refusals out of order",
			hostile{ends: "out of order"}),
		(&puppet{forward: turns{{op(1, "no")}}, refuse: turns{{refusal(1, 0, strings.Repeat("E", sdk.MaxRefusal+1))}}}).named("refusal too large", hostile{ends: "malformed frame"}),
		(&puppet{forward: turns{{op(1, "no"), span(1, 4)}}}).named("no refusal", hostile{ends: stuck}),
		(&puppet{forward: turns{{op(1, "no")}}, refuse: turns{{span(1, 4)}}}).named("span in the answer to a refusal", hostile{ends: "step kind 2 in the answer to a refusal"}),
		(&puppet{forward: turns{{op(1, "no")}}, refuse: turns{{op(2, "one"), refusal(1, 0, "EVIL\n")}}}).named("operation in the answer to a refusal", hostile{ends: "step kind 1 in the answer to a refusal"}),
		(&puppet{forward: turns{{op(1, "one"), op(2, "no")}}, refuse: turns{{abort(1)}}}).named("abort in the answer to a refusal", hostile{ends: "step kind 3 in the answer to a refusal"}),
		(&puppet{forward: one(), reverse: turns{{op(back, "one"), refusal(back, 0, "EVIL\n"), span(back, 7)}}}).named("refusal towards the device",
			hostile{device: "one\n", client: "ok one\n", ends: "the device sent what is not a reply"}),
		(&puppet{forward: one(), reverse: turns{{invalid(back, "one")}}, refuse: turns{{refusal(back, 4, "EVIL\n")}}}).named("refusal of what the device sent",
			hostile{device: "one\n", client: "ok one\n", ends: "the device sent what is not a reply"}),

		// What the device asks.
		(&puppet{forward: turns{{op(back, "one"), span(back, 4)}}}).named("operation of the other direction", hostile{ends: "announced in the forward direction"}),
		(&puppet{description: held2, forward: one(), reverse: turns{{op(2, "one"), span(2, 7)}}}).named("operation of the client seen from the device",
			hostile{device: "one\n", ends: "announced in the reverse direction"}),
		(&puppet{description: held2, forward: one(), reverse: turns{{op(back, "no"), span(back, 7)}}, refuse: turns{{refusal(back, 4, "EVIL\n")}}}).named("anything but a refusal to the device",
			hostile{device: "one\n", ends: "what it would tell the device"}),
		(&puppet{description: held2, forward: one(), reverse: turns{{op(back, "no"), span(back, 7)}}, refuse: turns{{refusal(back, 4, "refused\n"), refusal(back, 4, "refused\n")}}}).named("refusal to the device twice",
			hostile{device: "one\nrefused\n", ends: "to which none is owed"}),
		(&puppet{description: held2, forward: one(refusal(back, 4, "refused\n"))}).named("refusal to a device that asked for nothing",
			hostile{device: "one\n", client: "ok one\n", ends: "to which none is owed"}),
		(&puppet{description: held2, forward: turns{{op(1, "one"), span(1, 4)}, {span(back, 4)}}, reverse: turns{{op(back, "no"), span(1, 7)}}, refuse: turns{{refusal(back, 4, "refused\n")}}}).named("reply to what the device was refused",
			hostile{lines: []string{"one\n", "two\n"}, device: "one\nrefused\n", client: "ok one\n", ends: "which was refused"}),
		(&puppet{description: held2, forward: turns{{op(1, "one"), span(1, 4)}, {op(2, "one"), span(2, 4)}}, reverse: turns{{span(1, 14), abort(1)}}}).named("rest of a reply that was aborted",
			hostile{lines: []string{"one\n", "two\n"}, device: "one\ntwo\n", client: "ok one\n", ends: stuck}),
		(&puppet{description: held2, forward: one(), reverse: turns{{span(back, 7)}}}).named("span of what the device did not ask",
			hostile{device: "one\n", ends: "which is not among the latest"}),

		// What is kept.
		(&puppet{forward: turns{{kept(1)}}}).named("keep of an operation to come", hostile{ends: "cannot be kept"}),
		(&puppet{forward: turns{append(ops(300), kept(1))}}).named("keep of an operation long gone", hostile{ends: "cannot be kept"}),
		(&puppet{forward: turns{append(ops(sdk.MaxKept+1), keptAll(sdk.MaxKept+1)...)}}).named("keep of too many", hostile{ends: "cannot be kept"}),
		(&puppet{forward: turns{append(ops(2), kept(1), done(1), done(1), done(9), kept(0))}}).named("done again, and with nothing", hostile{ends: "cannot be kept"}),
		(&puppet{forward: turns{{op(1, "no"), kept(1), span(1, 4)}}}).named("keep of a refused operation", hostile{ends: stuck}),

		// Answers.
		acting("two answers to one notice", hostile{device: "one\n", client: "ok one\n"}, func(p *puppet, f any) bool {
			if n, ok := f.(wire.Notice); ok && n.Dir == sdk.Forward {
				p.say(f, op(1, "one"))
				p.say(f, span(1, 4))
				return true
			}
			return false
		}),
		// The client says nothing, or by the time that the answer is read it might have been asked for.
		acting("answer that nobody asked for", hostile{lines: []string{}, ends: "nobody asked for"}, func(p *puppet, f any) bool {
			if o, ok := f.(wire.Open); ok {
				p.say(f)
				p.say(wire.Notice{Session: o.Session}, op(1, "one"), span(1, 4))
				return true
			}
			return false
		}),
		acting("answer for no session", hostile{ends: "nobody asked for"}, func(p *puppet, f any) bool {
			if n, ok := f.(wire.Notice); ok {
				n.Session += 1000
				p.say(n, op(1, "one"), span(1, 4))
				return true
			}
			return false
		}),
		acting("opening answered twice", hostile{ends: "nobody asked for|take a window"}, func(p *puppet, f any) bool {
			if _, ok := f.(wire.Open); ok {
				p.say(f)
				p.say(f, op(1, "one"), span(1, 4))
				return true
			}
			return false
		}),
		acting("opening answered as a notice", hostile{ends: "nobody asked for"}, func(p *puppet, f any) bool {
			if o, ok := f.(wire.Open); ok {
				p.say(wire.Notice{Session: o.Session}, op(1, "one"), span(1, 4))
				return true
			}
			return false
		}),
		acting("notice answered for the other direction", hostile{ends: "nobody asked for"}, func(p *puppet, f any) bool {
			if n, ok := f.(wire.Notice); ok {
				n.Dir = n.Dir.Opposite()
				p.say(n, op(1, "one"), span(1, 4))
				return true
			}
			return false
		}),
		acting("notice answered as a refusal", hostile{ends: "nobody asked for"}, func(p *puppet, f any) bool {
			if n, ok := f.(wire.Notice); ok {
				p.say(wire.Refuse{Session: n.Session}, op(1, "one"), span(1, 4))
				return true
			}
			return false
		}),
		acting("answer to nothing there is", hostile{ends: "read from plugin"}, func(p *puppet, f any) bool {
			if n, ok := f.(wire.Notice); ok {
				p.send(wire.Steps{Session: n.Session, To: 77, List: []sdk.Step{op(1, "one"), span(1, 4)}}.Append(nil))
				return true
			}
			return false
		}),
		playing(acting("answers of another session", hostile{ends: ""}, swapAnswers()), playTwo),
		playing(acting("answer for an idle session", hostile{ends: "nobody asked for"}, func(p *puppet, f any) bool {
			if n, ok := f.(wire.Notice); ok && n.Session == 2 {
				n.Session = 1
				p.say(n, op(1, "one"), span(1, math.MaxInt64))
				return true
			}
			return false
		}), playIdle),

		playing(acting("one session left waiting", hostile{owes: true}, func(p *puppet, f any) bool {
			n, ok := f.(wire.Notice)
			return ok && n.Session == 1
		}), playBusy),

		// Frames.
		noticed("frame too large", hostile{ends: "malformed frame"}, func(p *puppet) { p.send([]byte{255, 255, 255, 255}) }),
		noticed("frame just too large", hostile{ends: "malformed frame"}, func(p *puppet) {
			p.send(append(binary.LittleEndian.AppendUint32(nil, wire.MaxFrame+1), make([]byte, wire.MaxFrame+1)...))
		}),
		noticed("frame of nothing", hostile{ends: "malformed frame"}, func(p *puppet) { p.send(make([]byte, 4)) }),
		noticed("frame of an unknown type", hostile{ends: "malformed frame"}, func(p *puppet) { p.send([]byte{2, 0, 0, 0, 99, 1}) }),
		noticed("frame that is the gateway's", hostile{ends: "is not for the gateway"}, func(p *puppet) { p.send(wire.Open{Session: 1}.Append(nil)) }),
		noticed("frame with bytes left over", hostile{ends: "malformed frame"}, func(p *puppet) {
			b := wire.Steps{Session: 1, To: wire.TypeNotice}.Append(nil)
			b[0]++
			p.send(append(b, 0))
		}),
		noticed("frame of noise", hostile{ends: "malformed frame"}, func(p *puppet) { p.send(bytes.Repeat([]byte{0xa5, 1, 0, 0, 7}, 100)) }),
		noticed("frame cut short", hostile{ends: "read from plugin"}, func(p *puppet) {
			p.send(wire.Steps{Session: 1, To: wire.TypeNotice, List: []sdk.Step{op(1, "one"), span(1, 4)}}.Append(nil)[:20])
			p.steps.CloseWrite()
		}),
		noticed("flood", hostile{ends: "nobody asked for"}, func(p *puppet) {
			for b := (wire.Steps{Session: 1, To: wire.TypeRefuse, List: ops(4000)}).Append(nil); ; {
				p.send(b)
			}
		}),
		noticed("flood of one endless frame", hostile{ends: "malformed frame"}, func(p *puppet) {
			for b := bytes.Repeat([]byte{1}, 1<<20); ; {
				p.send(b)
			}
		}),

		// Time and death.
		noticed("silence", hostile{ends: "no answer for 2s", owes: true}, func(p *puppet) {}),
		noticed("slow drip", hostile{ends: "no answer for 2s", owes: true}, func(p *puppet) {
			b := wire.Steps{Session: 1, To: wire.TypeNotice, List: []sdk.Step{op(1, "one"), span(1, 4)}}.Append(nil)
			for i := range b {
				p.send(b[i : i+1])
				time.Sleep(200 * time.Millisecond)
			}
		}),
		noticed("exit", hostile{ends: "plugin hostile"}, func(p *puppet) { os.Exit(0) }),
		noticed("crash", hostile{ends: "plugin hostile"}, func(p *puppet) { panic("crash") }),
		noticed("answer and exit", hostile{device: "one\n", client: "ok one\n", ends: "plugin hostile"}, func(p *puppet) {
			p.say(wire.Notice{Session: 1}, op(1, "one"), span(1, 4))
			os.Exit(0)
		}),
		noticed("hanging up", hostile{ends: "read from plugin"}, func(p *puppet) { p.steps.Close() }),
		noticed("stopping itself", hostile{ends: "no answer for 2s", owes: true}, func(p *puppet) {
			syscall.Kill(os.Getpid(), syscall.SIGSTOP) // in vain for a namespace's first process
			select {}
		}),
		noticed("stopping its control server", hostile{ends: "no answer for 2s", owes: true}, func(p *puppet) {
			closeControl()
			select {}
		}),

		// Windows.
		lending("window never mapped", hostile{ends: "window 0|idle", dies: true}, func(p *puppet) error { select {} }),
		lending("window answered with another", hostile{ends: "unexpected answer", dies: true}, func(p *puppet) error {
			p.windows.Read(make([]byte, 4))
			p.windows.Write([]byte{9, 9, 9, 9})
			return nil
		}),
		lending("window answered at length", hostile{ends: "unexpected answer", dies: true}, func(p *puppet) error {
			p.windows.Read(make([]byte, 4))
			p.windows.Write(make([]byte, 64<<10))
			return nil
		}),
		lending("window channel closed", hostile{ends: "window 0", dies: true}, func(p *puppet) error { return p.windows.Close() }),
		noticed("descriptors sent to the gateway", hostile{device: "one\n", client: "ok one\n", ends: "nobody asked for|unexpected answer"}, func(p *puppet) {
			rights := unix.UnixRights(0, 1, 2, 0, 1, 2)
			p.steps.WriteMsgUnix(wire.Steps{Session: 1, To: wire.TypeNotice, List: []sdk.Step{op(1, "one"), span(1, 4)}}.Append(nil), rights, nil)
			for range 50 {
				p.windows.WriteMsgUnix([]byte{1}, rights, nil)
			}
			p.steps.WriteMsgUnix(wire.Steps{Session: 2, To: wire.TypeNotice}.Append(nil), rights, nil)
		}),
	}
}

func described(name string, forward, reverse sdk.Mode) *control.DescribeResponse {
	return &control.DescribeResponse{Name: name, Version: "test", ForwardMode: uint32(forward), ReverseMode: uint32(reverse)}
}

// stuck is the end of a session in which bytes or a refusal wait for a plugin that has
// nothing more to say.
const stuck = "an operation began|idle"

// acting is a puppet that sees each frame first.
func acting(name string, h hostile, act func(*puppet, any) bool) hostile {
	return (&puppet{act: act}).named(name, h)
}

// noticed is a puppet that does something when it should answer the client's bytes.
func noticed(name string, h hostile, do func(*puppet)) hostile {
	return acting(name, h, func(p *puppet, f any) bool {
		if n, ok := f.(wire.Notice); ok && n.Dir == sdk.Forward {
			do(p)
			return true
		}
		return false
	})
}

// lending is a puppet that takes windows in its own way.
func lending(name string, h hostile, lend func(*puppet) error) hostile {
	return (&puppet{lend: lend}).named(name, h)
}

func playing(h hostile, play func(*testing.T, *ward)) hostile {
	h.play = play
	return h
}

func ops(n int) []sdk.Step {
	list := make([]sdk.Step, n)
	for i := range list {
		list[i] = op(sdk.OpID(i+1), "one")
	}
	return list
}

func named(s sdk.Step, name string) sdk.Step { s.Operation.Name = name; return s }

func classed(s sdk.Step, c policy.Class) sdk.Step { s.Operation.Class = c; return s }

func with(s sdk.Step, a ...policy.Attribute) sdk.Step { s.Operation.Attributes = a; return s }

func fact(name string, value any) policy.Attribute { return policy.Attribute{Name: name, Value: value} }

func facts(n int) []policy.Attribute {
	list := make([]policy.Attribute, n)
	for i := range list {
		list[i] = fact(string([]byte{'a' + byte(i/26), 'a' + byte(i%26)}), int64(i))
	}
	return list
}

// closeControl takes go-plugin's server away from the gateway: whoever asks it to shut
// down waits.
func closeControl() {
	for fd := control.WindowFD + 1; fd < 64; fd++ {
		if on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && on == 0 {
			if _, err := unix.Getpeername(fd); err == nil {
				unix.Shutdown(fd, unix.SHUT_RD) // reads end, and the connection is not closed
			}
		}
	}
}

// swapAnswers waits for a notice of each of two sessions, and answers both with spans that
// fit the other.
func swapAnswers() func(*puppet, any) bool {
	var waiting []wire.Notice
	return func(p *puppet, f any) bool {
		n, ok := f.(wire.Notice)
		if !ok || n.Dir != sdk.Forward {
			return false
		}
		if waiting = append(waiting, n); len(waiting) == 2 {
			p.say(waiting[1], op(1, "one"), span(1, waiting[0].Arrived))
			p.say(waiting[0], op(1, "no"), span(1, waiting[1].Arrived))
		}
		return len(waiting) <= 2
	}
}

// playAborted has a client send an operation of which half has passed when it is aborted.
func playAborted(t *testing.T, g *ward) {
	c := g.dial()
	c.send("one\n")
	if got := []string{c.line(), c.line()}; !slices.Contains(got, "refused") || !slices.Contains(got, "ok one") {
		t.Errorf("the client received %q", got)
	}
	c.send("two\n")
	if got := c.ends(); got != "" {
		t.Errorf("the client received %q more", got)
	}
	if got := g.device.all(); got != "one\n" {
		t.Errorf("the device received %q", got)
	}
}

// playTwo has two clients speak at the same time; neither's bytes may reach the other's
// device connection.
func playTwo(t *testing.T, g *ward) {
	a, b := g.dial(), g.dial()
	a.send("first of all\n")
	b.send("two\n")
	a.ends()
	b.ends()
	for i := range 2 {
		if got := g.device.received(i); !strings.HasPrefix("first of all\n", got) && !strings.HasPrefix("two\n", got) {
			t.Errorf("the device received %q", got)
		}
	}
}

// playIdle has a second client speak while the first has said nothing yet.
func playIdle(t *testing.T, g *ward) {
	a := g.dial()
	g.sessionWith("answer for an idle session") // sessions are numbered as they open
	b := g.dial()
	b.send("two\n")
	b.ends()
	a.ends()
	if got := g.device.all(); got != "" {
		t.Errorf("the device received %q", got)
	}
}

// playBusy has a client speak, and others after it until its session has ended.
func playBusy(t *testing.T, g *ward) {
	g.dial().send("one\n")
	first := g.sessionWith("one session left waiting")
	running := func() bool { return slices.Contains(g.gateway.live(), first) }
	if !eventually(func() bool {
		c := g.dial()
		defer c.Close()
		c.Write([]byte("two\n"))
		time.Sleep(100 * time.Millisecond)
		return !running()
	}) {
		t.Error("the session waits for ever")
	}
}

// oneRefusalAtATime is a plugin that takes its time for the refusal of operation 2, finds the
// reply to operation 1 wrong meanwhile, and leaves if it is asked for another refusal before
// it has answered.
func oneRefusalAtATime() func(*puppet, any) bool {
	var mu sync.Mutex
	var open any      // the request for operation 2's refusal, to be answered
	var pending []any // the notice of the reply, held until then
	return func(p *puppet, f any) bool {
		mu.Lock()
		defer mu.Unlock()
		switch f := f.(type) {
		case wire.Notice:
			if f.Dir != sdk.Reverse {
				return false
			}
			if pending = append(pending, f); open != nil {
				p.say(f, abort(1))
			}
			return true
		case wire.Refuse:
			if open != nil {
				os.Exit(1)
			}
			if f.Op == 1 {
				p.say(f, refusal(1, f.After, "refused 1\n"))
				return true
			}
			open = f
			for _, n := range pending {
				p.say(n, abort(1))
			}
			time.AfterFunc(300*time.Millisecond, func() {
				mu.Lock()
				defer mu.Unlock()
				open = nil
				p.say(f, refusal(2, f.After, "refused 2\n"))
			})
			return true
		}
		return false
	}
}

// playBoth has the reply to one operation and the next operation refused at the same time.
func playBoth(t *testing.T, g *ward) {
	c := g.dial()
	c.send("one\n")
	c.expect("ok one") // replies move before they are looked at
	c.send("two\n")
	got := []string{c.line(), c.line()}
	if slices.Sort(got); !slices.Equal(got, []string{"refused 1", "refused 2"}) {
		t.Errorf("the client received %q", got)
	}
}

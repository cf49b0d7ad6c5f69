package poct1a

import (
	"strings"
	"testing"

	"cordon/plugins/sdk"
)

// BenchmarkResult is a result and its acknowledgement, BenchmarkDirective a directive and its.
func BenchmarkResult(b *testing.B) { benchmarkExchange(b, sdk.Forward, result("7"), ack("7")) }

func BenchmarkDirective(b *testing.B) { benchmarkExchange(b, sdk.Reverse, lock, ack("50")) }

// BenchmarkList is an operator list of 64 KiB.
func BenchmarkList(b *testing.B) {
	ids := strings.Fields(numbered(460, "op%d "))
	benchmarkExchange(b, sdk.Reverse, operators("OPL.R01", ids...), ack("60"))
}

func benchmarkExchange(b *testing.B, dir sdk.Direction, asked, answered string) {
	s, out := accepted(b)
	message, answer := []byte(asked), []byte(answered)
	b.SetBytes(int64(len(message) + len(answer)))
	b.ReportAllocs()
	for b.Loop() {
		out.Begin(dir)
		s.Inspect(dir, message, false, out)
		out.Begin(dir.Opposite())
		s.Inspect(dir.Opposite(), answer, false, out)
	}
	if s.dead || len(s.sides[dir].open) != 0 {
		b.Fatal("the message is not answered")
	}
}

// accepted is a session in which Forward's hello was accepted.
func accepted(b *testing.B) (*session, *sdk.Steps) {
	b.Helper()
	set, err := parseSettings(nil)
	if err != nil {
		b.Fatal(err)
	}
	s, out := newSession(set), &sdk.Steps{}
	out.Begin(sdk.Forward)
	s.Inspect(sdk.Forward, []byte(hello), false, out)
	out.Begin(sdk.Reverse)
	s.Inspect(sdk.Reverse, []byte(ack("1")), false, out)
	if s.state != talking {
		b.Fatal("the hello is not accepted")
	}
	return s, out
}

// BenchmarkDribble is a result that arrives byte by byte.
func BenchmarkDribble(b *testing.B) {
	s, out := accepted(b)
	message, answer := []byte(result("7")), []byte(ack("7"))
	b.SetBytes(int64(len(message)))
	for b.Loop() {
		for n := range message {
			out.Begin(sdk.Forward)
			s.Inspect(sdk.Forward, message[:n+1], false, out)
		}
		out.Begin(sdk.Reverse)
		s.Inspect(sdk.Reverse, answer, false, out)
	}
	if s.dead {
		b.Fatal("the session ended")
	}
}

package command

import (
	"bytes"
	"testing"

	"cordon/plugins/sdk"
)

func BenchmarkLine(b *testing.B) { benchmark(b, rack, "GET rate\r\n", "VAL 7\r\n") }
func BenchmarkMedibus(b *testing.B) {
	benchmark(b, profile(b, "draeger-medibus"), "\x1b-48\r", "\x01-2E\r")
}
func BenchmarkEscaped(b *testing.B) {
	benchmark(b, delimited, "~\x01\x00}]}^\xfc~", "~\x01\x00}]}^\xfc~")
}

// benchmark is one command and its reply.
func benchmark(b *testing.B, settings, asked, answered string) {
	in, command, reply := open(b, settings), []byte(asked), []byte(answered)
	var out sdk.Steps
	b.ReportAllocs()
	for b.Loop() {
		out.Begin(sdk.Forward)
		in.Inspect(sdk.Forward, command, false, &out)
		out.Begin(sdk.Reverse)
		in.Inspect(sdk.Reverse, reply, false, &out)
	}
	if s := in.(*session); len(s.open) != 0 || s.dead {
		b.Fatal("the exchange did not go as it should")
	}
}

// BenchmarkTrickle is the longest frame, a byte at a time.
func BenchmarkTrickle(b *testing.B) {
	frame := append(bytes.Repeat([]byte("A"), maxFrame-1), '\r')
	b.SetBytes(maxFrame)
	for b.Loop() {
		in := open(b, lines(query, `,"max_frame":"64KiB"`))
		var out sdk.Steps
		for n := range frame {
			out.Begin(sdk.Forward)
			in.Inspect(sdk.Forward, frame[:n+1], false, &out)
		}
		if out.Covered(sdk.Forward) != maxFrame {
			b.Fatal("not covered")
		}
	}
}

// BenchmarkWindow is a window full of commands nobody answers.
func BenchmarkWindow(b *testing.B) {
	window := bytes.Repeat([]byte("NOTE\r\n"), sdk.WindowSize/6)
	b.SetBytes(int64(len(window)))
	for b.Loop() {
		in := open(b, rack)
		var out sdk.Steps
		for rest := window; len(rest) > 0; {
			before := out.Covered(sdk.Forward)
			out.Begin(sdk.Forward)
			in.Inspect(sdk.Forward, rest, false, &out)
			rest = rest[out.Covered(sdk.Forward)-before:]
		}
	}
}

package modbus

import (
	"testing"

	"cordon/plugins/sdk"
)

func BenchmarkRead(b *testing.B)  { benchmarkExchange(b, read(1), tenRegisters(1)) }
func BenchmarkWrite(b *testing.B) { benchmarkExchange(b, write(1, 1000, 200), write(1, 1000, 200)) }

// BenchmarkLargest is the longest write of registers and its response.
func BenchmarkLargest(b *testing.B) {
	benchmarkExchange(b, adu(1, 16, word(0, 123), 246, string(make([]byte, 246))), adu(1, 16, word(0, 123)))
}

func benchmarkExchange(b *testing.B, asked, answered string) {
	in, request, response := open(b, `{}`), []byte(asked), []byte(answered)
	var out sdk.Steps
	b.ReportAllocs()
	for b.Loop() {
		out.Begin(sdk.Forward)
		in.Inspect(sdk.Forward, request, false, &out)
		out.Begin(sdk.Reverse)
		in.Inspect(sdk.Reverse, response, false, &out)
	}
	if len(in.(*session).open) != 0 {
		b.Fatal("requests stay open")
	}
}

// BenchmarkWindow is a window full of requests nobody answers: the most an inspector can be
// asked to look at.
func BenchmarkWindow(b *testing.B) {
	var window []byte
	for id := 0; len(window) < sdk.WindowSize-12; id++ {
		window = append(window, read(id)...)
	}
	b.SetBytes(int64(len(window)))
	for b.Loop() {
		in := open(b, `{"max_outstanding":128}`)
		var out sdk.Steps
		for rest := window; len(rest) > 0; {
			before := out.Covered(sdk.Forward)
			out.Begin(sdk.Forward)
			in.Inspect(sdk.Forward, rest, false, &out)
			rest = rest[out.Covered(sdk.Forward)-before:]
		}
	}
}

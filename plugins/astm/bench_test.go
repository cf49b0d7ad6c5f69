package astm

import (
	"encoding/json"
	"strings"
	"testing"

	"cordon/plugins/sdk"
)

func open(tb testing.TB, settings string) sdk.Inspector {
	tb.Helper()
	maker, err := Protocol().Configure(json.RawMessage(settings))
	if err != nil {
		tb.Fatal(err)
	}
	return maker()
}

// BenchmarkResult is the transmission of one result in one frame: two operations, and the
// answers to them.
func BenchmarkResult(b *testing.B) {
	benchmarkTransmission(b, fr(1, recH, recP, recO, recR, recL))
}

// BenchmarkLongest is one of the longest frame, full of results of one test.
func BenchmarkLongest(b *testing.B) {
	benchmarkTransmission(b, fr(1, recH, strings.Repeat(recR+"\r", (longestLimit-100)/(len(recR)+1)-1)+recL))
}

// BenchmarkTests is one of a frame in which each result is of another test, as many as policy
// can be told.
func BenchmarkTests(b *testing.B) {
	var results strings.Builder
	for i := range maxList {
		results.WriteString("R|1|^^^" + string([]byte{byte('A' + i/16), byte('A' + i%16)}) + "|1\r")
	}
	benchmarkTransmission(b, fr(1, recH, results.String()+recL))
}

func benchmarkTransmission(b *testing.B, frame string) {
	in := open(b, `{}`)
	var out sdk.Steps
	turn := func(dir sdk.Direction, data []byte) {
		out.Begin(dir)
		in.Inspect(dir, data, false, &out)
	}
	bid, sent, end, accept := []byte(sENQ), []byte(frame), []byte(sEOT), []byte(sACK)
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		turn(sdk.Reverse, bid)
		turn(sdk.Forward, accept)
		turn(sdk.Reverse, sent)
		turn(sdk.Forward, accept)
		turn(sdk.Reverse, end)
	}
	if s := in.(*session); s.malformed != 0 || len(s.sides[sdk.Reverse].waiting) > 1 {
		b.Fatal("the transmission did not pass")
	}
}

// BenchmarkBytes is the longest frame, byte by byte.
func BenchmarkBytes(b *testing.B) {
	frame := []byte(fr(1, recH, "C|1|I|"+strings.Repeat("x", longestLimit-100)))
	for b.Loop() {
		in := open(b, `{}`)
		var out sdk.Steps
		for i := range frame {
			out.Begin(sdk.Forward)
			in.Inspect(sdk.Forward, frame[:i+1], false, &out)
		}
	}
}

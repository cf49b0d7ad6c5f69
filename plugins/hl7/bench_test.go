package hl7

import (
	"fmt"
	"strings"
	"testing"

	"cordon/plugins/sdk"
)

// BenchmarkMessage is a message of 1 KiB and its acknowledgement.
func BenchmarkMessage(b *testing.B) {
	segments := []string{msh("ORU^R01^ORU_R01", "1", "2.5.1"), "PID|1||4711^^^HOSP^MR||DOE^JANE", "PV1|1|I|ICU^12^A||||||||||||||||V1", "OBR|1||F9|GLU^Glucose^L"}
	for i := 0; len(frame(segments...)) < 1000; i++ {
		segments = append(segments, fmt.Sprintf("OBX|%d|NM|%d^MDC_TEMP^MDC||37.1|Cel^Cel^UCUM|||||F", i+1, 150344+i))
	}
	message, answer := []byte(frame(segments...)), []byte(ack("1"))
	in := open(b, `{}`)
	var steps sdk.Steps
	b.ReportAllocs()
	b.SetBytes(int64(len(message)))
	for b.Loop() {
		steps.Begin(sdk.Forward)
		in.Inspect(sdk.Forward, message, false, &steps)
		steps.Begin(sdk.Reverse)
		in.Inspect(sdk.Reverse, answer, false, &steps)
	}
	if len(in.(*session).open) != 0 {
		b.Fatal("messages stay open")
	}
}

// BenchmarkBody is the streaming part of a large message, in full windows.
func BenchmarkBody(b *testing.B) {
	text := strings.Repeat("OBX|1|NM|150344^MDC_TEMP^MDC||37.1|Cel^Cel^UCUM|||||F\r", 4000)
	for name, piece := range map[string][]byte{"base64": []byte(strings.Repeat("QUJD", 50<<10)), "segments": []byte(text)} {
		b.Run(name, func(b *testing.B) {
			in := open(b, `{"max_message":1073741824}`).(*session)
			var steps sdk.Steps
			start := []byte("\x0b" + large(headSize))
			if name == "base64" {
				start = start[:len(start)-1] // the line goes on
			}
			begin := func() {
				*in = session{set: in.set}
				steps = sdk.Steps{}
				steps.Begin(sdk.Forward)
				in.Inspect(sdk.Forward, start, false, &steps)
			}
			begin()
			b.SetBytes(int64(len(piece)))
			for b.Loop() {
				if in.size > 1<<29 {
					begin()
				}
				steps.Begin(sdk.Forward)
				in.Inspect(sdk.Forward, piece, false, &steps)
			}
			if in.phase != body {
				b.Fatal("the body was refused")
			}
		})
	}
}

package http

import (
	"strings"
	"testing"

	"cordon/plugins/sdk"
)

// BenchmarkRequest is a request as a browser sends it, and a response of 1 KiB.
func BenchmarkRequest(b *testing.B) {
	browser := []byte(get("/status/pulse?unit=3", "Connection: keep-alive", "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36",
		"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "Accept-Encoding: gzip, deflate, br", "Accept-Language: en-GB", "Cookie: session=0123456789"))
	rest := []byte(ask("PUT", "/fhir/Observation/4711", "Content-Type: application/fhir+json", "Authorization: Bearer 0123456789", "Content-Length: 4") + "body")
	answer := []byte(ok(strings.Repeat("x", 1024), "Server: device", "Content-Type: text/html"))
	for name, request := range map[string][]byte{"browser": browser, "minimal": []byte(get("/status")), "fhir": rest} {
		b.Run(name, func(b *testing.B) {
			in := open(b, `{"fhir":{"base":"/fhir"},"paths":[{"prefix":"/firmware","class":"admin"}]}`)
			var steps sdk.Steps
			b.ReportAllocs()
			for b.Loop() {
				steps.Begin(sdk.Forward)
				in.Inspect(sdk.Forward, request, false, &steps)
				steps.Begin(sdk.Reverse)
				in.Inspect(sdk.Reverse, answer, false, &steps)
			}
			if s := in.(*session); len(s.open) != 0 || s.phase != between {
				b.Fatal("requests stay open")
			}
		})
	}
}

// BenchmarkChunks is a window full of chunks of 1 KiB, and of one byte.
func BenchmarkChunks(b *testing.B) {
	for name, size := range map[string]int{"1KiB": 1024, "1B": 1} {
		b.Run(name, func(b *testing.B) {
			one := inChunks(strings.Repeat("x", size))
			one = one[:len(one)-len("0\r\n\r\n")]
			piece := []byte(strings.Repeat(one, 128<<10/len(one)))
			t := body{chunked: true, limit: sdk.Unlimited}
			b.SetBytes(int64(len(piece)))
			for b.Loop() {
				left := piece
				if t.started {
					t = body{chunked: true, limit: sdk.Unlimited}
				}
				for len(left) > 2 {
					n, _, wrong := t.take(left, true)
					if wrong != nil || n == 0 {
						b.Fatal(n, wrong)
					}
					left = left[n:]
				}
			}
		})
	}
}

// BenchmarkTrickle is a head that arrives byte by byte.
func BenchmarkTrickle(b *testing.B) {
	request := []byte(get("/", "X: "+strings.Repeat("x", 16<<10)))
	for b.Loop() {
		in := open(b, `{}`)
		var steps sdk.Steps
		for n := 1; n <= len(request); n++ {
			steps.Begin(sdk.Forward)
			in.Inspect(sdk.Forward, request[:n], false, &steps)
		}
	}
}

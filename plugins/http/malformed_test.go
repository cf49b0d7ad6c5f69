package http

import (
	"fmt"
	"strings"
	"testing"

	"cordon/plugins/sdk"
	"cordon/plugins/sdk/conformance"
	"cordon/policy"
)

// Each of these is known to be read differently by some two programs. None reaches the device,
// and each is answered. The request behind it is not read any more.
func TestMalformedRequests(t *testing.T) {
	const host = "Host: pump-4"
	body := func(fields ...string) string { return ask("POST", "/a", fields...) + "12345" }
	tests := []struct {
		name, sent, settings string
		wrong                *fault
	}{
		{"HTTP/0.9", "GET /\r\n", "", notHTTP},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "", notHTTP},
		{"HTTP/1.2", lines("GET / HTTP/1.2", host), "", notHTTP},
		{"http/1.1", lines("GET / http/1.1", host), "", notHTTP},
		{"TLS", "\x16\x03\x01\x02\x00\x01", "", notHTTP},
		{"MLLP", "\x0bMSH|^~\\&|", "", notHTTP},
		{"empty line first", "\r\n" + get("/"), "", emptyStart},
		{"line feed alone", "GET / HTTP/1.1\nHost: x\n\n", "", bareLF},
		{"line feed alone in a field", "GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", "", bareLF},
		{"carriage return in a field", get("/", "X: a\rb"), "", badValue},
		{"NUL in a field", get("/", "X: a\x00b"), "", badValue},
		{"two spaces", lines("GET  / HTTP/1.1", host), "", badTarget},
		{"space in the target", lines("GET /a b HTTP/1.1", host), "", badTarget},
		{"tab for a space", lines("GET\t/ HTTP/1.1", host), "", badMethod},
		{"space behind the version", lines("GET / HTTP/1.1 ", host), "", notHTTP},
		{"method that is no token", lines("GE(T / HTTP/1.1", host), "", badMethod},
		{"long method", lines(strings.Repeat("A", 33)+" / HTTP/1.1", host), "", badMethod},
		{"no target", lines("GET  HTTP/1.1", host), "", badTarget},
		{"relative target", lines("GET admin HTTP/1.1", host), "", badTarget},
		{"fragment", get("/a#b"), "", badTarget},
		{"byte beyond ASCII", get("/\xc3\xa4"), "", badTarget},
		{"star for GET", get("*"), "", badTarget},
		{"other scheme", get("ftp://pump-4/"), "", badTarget},
		{"absolute form for another host", get("http://admin/"), "", otherHost},
		{"absolute form with a user", get("http://a@pump-4/"), "", badTarget},
		{"absolute form without a path", get("http://pump-4?x"), "", badTarget},
		{"CONNECT without a port", lines("CONNECT pump-4 HTTP/1.1", host), "", badTarget},
		{"CONNECT to other than Host", lines("CONNECT x:22 HTTP/1.1", "Host: x:80"), "", otherHost},
		{"no Host", lines("GET / HTTP/1.1", "X: y"), "", noHost},
		{"two Hosts", get("/", "Host: pump-4"), "", severalHosts},
		{"two Hosts in HTTP/1.0", lines("GET / HTTP/1.0", host, host), "", severalHosts},
		{"Host with a path", lines("GET / HTTP/1.1", "Host: a/b"), "", badHost},
		{"Host with a user", lines("GET / HTTP/1.1", "Host: a@b"), "", badHost},
		{"two Hosts in one", lines("GET / HTTP/1.1", "Host: a, b"), "", badHost},
		{"Host with a bad port", lines("GET / HTTP/1.1", "Host: a:80a"), "", badHost},
		{"folded field", get("/", "X: a", " b"), "", folded},
		{"folded with a tab", get("/", "X: a", "\tb"), "", folded},
		{"folded first field", lines("GET / HTTP/1.1", " Host: a"), "", folded},
		{"space before the colon", get("/", "X : a"), "", badName},
		{"tab before the colon", body("Transfer-Encoding\t: chunked"), "", badName},
		{"no colon", get("/", "X"), "", badName},
		{"empty name", get("/", ": a"), "", badName},
		{"name that is no token", get("/", "X(y): a"), "", badName},
		{"name beyond ASCII", get("/", "X\x80: a"), "", badName},
		{"length and chunked", body("Content-Length: 5", "Transfer-Encoding: chunked"), "", lengthTwice},
		{"chunked and length", body("Transfer-Encoding: chunked", "Content-Length: 5"), "", lengthTwice},
		{"two lengths", body("Content-Length: 5", "Content-Length: 6"), "", badLength},
		{"the same length twice", body("Content-Length: 5", "Content-Length: 5"), "", badLength},
		{"list of lengths", body("Content-Length: 5, 5"), "", badLength},
		{"signed length", body("Content-Length: +5"), "", badLength},
		{"negative length", body("Content-Length: -5"), "", badLength},
		{"hexadecimal length", body("Content-Length: 0x5"), "", badLength},
		{"length with a leading zero", body("Content-Length: 05"), "", badLength},
		{"length with a space", body("Content-Length: 5 5"), "", badLength},
		{"empty length", body("Content-Length:"), "", badLength},
		{"length beyond 63 bits", body("Content-Length: 18446744073709551621"), "", badLength},
		{"length in other digits", body("Content-Length: \xd9\xa5"), "", badLength},
		{"length with an underscore", body("Content_Length: 5"), "", disguised},
		{"coding with an underscore", body("Transfer_Encoding: chunked"), "", disguised},
		{"other coding", body("Transfer-Encoding: gzip, chunked"), "", badTransfer},
		{"coding in capitals", body("Transfer-Encoding: Chunked"), "", badTransfer},
		{"coding with a parameter", body("Transfer-Encoding: chunked;a=b"), "", badTransfer},
		{"coding in quotes", body(`Transfer-Encoding: "chunked"`), "", badTransfer},
		{"vertical tab before the coding", body("Transfer-Encoding: \x0bchunked"), "", badValue},
		{"identity", body("Transfer-Encoding: identity"), "", badTransfer},
		{"two codings", body("Transfer-Encoding: chunked", "Transfer-Encoding: identity"), "", badTransfer},
		{"chunked twice", body("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), "", badTransfer},
		{"chunked in HTTP/1.0", lines("POST / HTTP/1.0", host, "Transfer-Encoding: chunked"), "", badTransfer},
		{"GET with a body", ask("GET", "/", "Content-Length: 5") + "12345", "", bodyForbidden},
		{"HEAD with a body", ask("HEAD", "/", "Transfer-Encoding: chunked"), "", bodyForbidden},
		{"long body", body("Content-Length: 10485761"), "", bodyLong},
		{"no body at all", body("Content-Length: 1"), `{"max_body":0}`, bodyLong},
		{"compressed body", body("Content-Length: 5", "Content-Encoding: gzip"), "", encoded},
		{"two codings of the content", body("Content-Length: 5", "Content-Encoding: gzip, gzip"), `{"content_encodings":["gzip"]}`, encoded},
		{"two content types", body("Content-Length: 5", "Content-Type: a/b", "Content-Type: c/d"), "", repeatedField},
		{"forged identity", get("/", "X-Remote-User: root"), `{"refuse_fields":["x-remote-user"]}`, refusedField},
		{"forged with an underscore", get("/", "X_Remote_User: root"), `{"refuse_fields":["x-remote-user"]}`, refusedField},
		{"long content type", body("Content-Length: 5", "Content-Type: "+strings.Repeat("a", 129)), "", longValue},
		{"long content coding", body("Content-Length: 5", "Content-Encoding: "+strings.Repeat("a", 129)), "", longValue},
		{"upgrade that is no UTF-8", get("/", "Connection: upgrade", "Upgrade: \xff"), "", badUpgrade},
		{"override that is no token", get("/", "X-HTTP-Method-Override: DE LETE"), "", badMethod},
		{"two authorizations", get("/", "Authorization: Basic eA==", "Authorization: Bearer x"), "", repeatedField},
		{"Connection drops a field", body("Content-Length: 5", "Connection: close, Content-Length"), "", nominated},
		{"Connection drops the token", get("/", "Connection: Authorization"), "", nominated},
		{"other expectation", body("Content-Length: 5", "Expect: 200-ok"), "", badExpect},
		{"two expectations", body("Content-Length: 5", "Expect: 100-continue", "Expect: 100-continue"), "", repeatedField},
		{"upgrade with a body", body("Content-Length: 5", "Upgrade: websocket", "Connection: upgrade"), "", badUpgrade},
		{"upgrade without Connection", get("/", "Upgrade: h2c"), "", badUpgrade},
		{"upgrade in HTTP/1.0", lines("GET / HTTP/1.0", "Upgrade: h2c", "Connection: upgrade, keep-alive"), "", badUpgrade},
		{"long request line", get("/" + strings.Repeat("a", 8<<10)), "", lineLong},
		{"request line without an end", strings.Repeat("a", 9<<10), "", lineLong},
		{"line longer than a setting", get("/" + strings.Repeat("a", 256)), `{"max_line":256}`, lineLong},
		{"long head", get("/", "X: "+strings.Repeat("a", 32<<10)), "", headLong},
		{"many fields", get("/", strings.Split(strings.Repeat("X: y,", 100), ",")[:100]...), "", manyFields},
		{"head cut off", "GET / HTTP/1.1\r\nHost: x\r\n", "", cutOff},
		{"long cookie name", get("/", "Cookie: "+strings.Repeat("a", 129)+"=b"), "", badCookie},
		{"many cookies", get("/", "Cookie: "+strings.Repeat("a=b; ", 65)), "", badCookie},
		{"control character in a cookie", get("/", "Cookie: a\tb=c"), "", badCookie},
		{"long query key", get("/?" + strings.Repeat("a", 129)), "", badQuery},
		{"many query keys", get("/?" + strings.Repeat("a&", 65)), "", badQuery},
		{"semicolon in a query", get("/?a=1;b=2&c;d"), "", badQuery},
		{"query key that is no UTF-8", get("/?%ff=1"), "", badQuery},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			settings := test.settings
			if settings == "" {
				settings = `{}`
			}
			open, err := Protocol().Configure([]byte(settings))
			if err != nil {
				t.Fatal(err)
			}
			for size := 1; size <= len(test.sent); size *= 5 {
				in := open()
				var steps sdk.Steps
				var op policy.Operation
				for at := 0; op.Name == "" && at < len(test.sent); {
					at = min(at+size, len(test.sent))
					steps.Begin(sdk.Forward)
					in.Inspect(sdk.Forward, []byte(test.sent[:at]), at == len(test.sent), &steps)
					if list := steps.List(); len(list) > 0 {
						op = list[0].Operation
						if !list[0].Invalid || list[0].Reason != test.wrong.reason {
							t.Fatalf("in pieces of %d: %s, invalid %t, %s; want %s", size, op.Name, list[0].Invalid, list[0].Reason, test.wrong.reason)
						}
					}
				}
				if op.Name == "" {
					t.Fatalf("in pieces of %d: nothing is said", size)
				}
			}
			refusal := problemOf(test.wrong.status, test.wrong.reason, closing)
			if strings.HasPrefix(test.sent, "HEAD") {
				refusal = refusal[:strings.Index(refusal, "\r\n\r\n")+4]
			}
			d := conformance.Forward(test.sent).WantForward("").WantReverse(refusal)
			if test.wrong == cutOff || len(test.sent) > 2000 {
				return
			}
			conformance.Run(t, Protocol(), settings, d)
		})
	}
}

// What is wrong with chunks shows when some of the body has passed.
func TestMalformedChunks(t *testing.T) {
	head := ask("POST", "/a", "Transfer-Encoding: chunked")
	for _, test := range []struct {
		name, sent string
		passed     int // of sent
		wrong      *fault
	}{
		{"no number", "x\r\n", 0, badChunk},
		{"no digits", "\r\n", 0, badChunk},
		{"sign", "+3\r\nabc\r\n", 0, badChunk},
		{"prefix", "0x3\r\nabc\r\n", 0, badChunk},
		{"space", "3 \r\nabc\r\n", 0, badChunk},
		{"line feed alone", "3\nabc\r\n", 0, badChunk},
		{"carriage return alone", "3\rabc", 0, badChunk},
		{"beyond 60 bits", "1000000000000000\r\n", 0, badChunk},
		{"leading zeros without end", strings.Repeat("0", 16), 0, badChunk},
		{"extension", "3;a=b\r\nabc\r\n", 0, chunkExtension},
		{"extension with line feed", "3;\n\r\nabc\r\n", 0, chunkExtension},
		{"size too small", "3\r\nabcd\r\n0\r\n\r\n", 6, badChunkEnd},
		{"line feed behind the content", "3\r\nabc\n0\r\n\r\n", 6, badChunkEnd},
		{"second chunk", "3\r\nabc\r\n4\r\ndefg\r\nz", 15, badChunk},
		{"longer than the limit", "a00001\r\n", 0, bodyLong},
		{"trailer", "0\r\nX: y\r\n\r\n", 3, hasTrailer},
		{"end cut short", "0\r\n\rX", 3, bareLF},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.wrong == bareLF {
				t.Logf("%s", test.wrong.reason)
			}
			conformance.Run(t, Protocol(), `{}`,
				conformance.Forward(head+test.sent+get("/b")).
					WantOperation("http:POST", policy.ClassWrite).WantAbort(1).
					WantRefusal(1, problemOf(test.wrong.status, test.wrong.reason, closing)).WantEnd().
					WantForward(head+test.sent[:test.passed]),
				conformance.Forward(head+test.sent+get("/b")).Refused(1).
					WantOperation("http:POST", policy.ClassWrite).
					WantRefusal(1, farewell).WantForward(""))
		})
	}
	allowed := head + "3\r\nabc\r\n0\r\nX-Checksum: 1\r\n\r\n"
	conformance.Run(t, Protocol(), `{"trailers":true}`,
		conformance.Named("trailer allowed").Forward(allowed).Forward(get("/b")).
			WantOperation("http:POST", policy.ClassWrite).WantOperation("http:GET", policy.ClassRead).WantForward(allowed+get("/b")),
		conformance.Named("trailer that frames").Forward(head+"0\r\nContent-Length: 4\r\n\r\n").
			WantOperation("http:POST", policy.ClassWrite).WantAbort(1).
			WantRefusal(1, problemOf(400, badTrailer.reason, closing)).WantEnd(),
		conformance.Named("trailer that authorizes").Forward(head+"0\r\nX: y\r\nAuthorization: Basic x\r\n\r\n").
			WantOperation("http:POST", policy.ClassWrite).WantAbort(1).
			WantRefusal(1, problemOf(400, badTrailer.reason, closing)).WantEnd(),
		conformance.Named("folded trailer").Forward(head+"0\r\nX: y\r\n z\r\n\r\n").
			WantOperation("http:POST", policy.ClassWrite).WantAbort(1).
			WantRefusal(1, problemOf(400, folded.reason, closing)).WantEnd())
}

// A response that two parsers could read differently never reaches the client.
func TestMalformedResponses(t *testing.T) {
	for _, test := range []struct {
		name, sent string
		wrong      *fault
	}{
		{"no HTTP", "SSH-2.0-x\r\n", replyMalformed},
		{"HTTP/2", "HTTP/2 200\r\n\r\n", replyMalformed},
		{"status of two digits", "HTTP/1.1 20 OK\r\n\r\n", replyMalformed},
		{"status beyond 599", "HTTP/1.1 600 OK\r\n\r\n", replyMalformed},
		{"NUL in the reason", lines("HTTP/1.1 200 O\x00K", "Content-Length: 0"), replyMalformed},
		{"line feed alone", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", replyMalformed},
		{"folded field", lines("HTTP/1.1 200 OK", "X: a", " b"), replyMalformed},
		{"space before the colon", lines("HTTP/1.1 200 OK", "Content-Length : 5"), replyMalformed},
		{"NUL", lines("HTTP/1.1 200 OK", "X: \x00"), replyMalformed},
		{"two lengths", lines("HTTP/1.1 200 OK", "Content-Length: 5", "Content-Length: 6"), replyAmbiguous},
		{"length and chunked", lines("HTTP/1.1 200 OK", "Content-Length: 5", "Transfer-Encoding: chunked"), replyAmbiguous},
		{"signed length", lines("HTTP/1.1 200 OK", "Content-Length: +5"), replyAmbiguous},
		{"other coding", lines("HTTP/1.1 200 OK", "Transfer-Encoding: gzip"), replyAmbiguous},
		{"chunked in HTTP/1.0", lines("HTTP/1.0 200 OK", "Transfer-Encoding: chunked"), replyAmbiguous},
		{"204 with content", lines("HTTP/1.1 204 No Content", "Content-Length: 5"), replyAmbiguous},
		{"101 unasked", lines("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket"), replySwitches},
		{"endless head", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 65<<10), replyMalformed},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := conformance.Forward(get("/a")).Reverse(test.sent).
				WantOperation("http:GET", policy.ClassRead).WantAbort(1).
				WantRefusal(1, problemOf(502, test.wrong.reason, closing)).WantEnd().
				WantReverse(problemOf(502, test.wrong.reason, closing))
			conformance.Run(t, Protocol(), `{}`, d)
		})
	}
	conformance.Run(t, Protocol(), `{}`,
		conformance.Named("a response to nothing").Reverse(ok("")).WantEnd().WantReverse(""),
		conformance.Named("a second response").Forward(get("/a")).Reverse(ok("a")+ok("split")).
			WantOperation("http:GET", policy.ClassRead).WantEnd(),
		conformance.Named("bytes behind a response that closes").Forward(get("/a")+get("/b")).Reverse(ok("a", closing)+ok("b")).
			WantOperation("http:GET", policy.ClassRead).WantOperation("http:GET", policy.ClassRead).WantEnd(),
		conformance.Named("bad chunk").Forward(get("/a")).Reverse(lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked")+"3;x\r\nabc\r\n").
			WantOperation("http:GET", policy.ClassRead).WantEnd(),
		conformance.Named("101 for another protocol").Forward(get("/a", "Connection: upgrade", "Upgrade: websocket")).
			Reverse(lines("HTTP/1.1 101 Switching Protocols", "Upgrade: h2c")).
			WantOperation("http:upgrade-websocket", policy.ClassUnknown).WantAbort(1).
			WantRefusal(1, problemOf(502, replySwitches.reason, closing)).WantEnd())
	early := "HTTP/1.0 200 OK\nContent-Length: 2\n\nok"
	conformance.Run(t, Protocol(), `{"bare_lf":true}`,
		conformance.Named("lines of an old device").Forward(get("/a")).Reverse(early).
			WantOperation("http:GET", policy.ClassRead).WantReverse(early))
}

// A client that never stops sending requests is not waited for.
func TestFlood(t *testing.T) {
	for _, test := range []struct {
		first, again string
		steps        int
	}{
		{get("/a"), get("/a"), 2*maxPipelined + 1},
		{get("/a", closing), get("/a"), 2 + 1},
	} {
		in := open(t, `{}`)
		var steps sdk.Steps
		steps.Begin(sdk.Forward)
		in.Inspect(sdk.Forward, []byte(test.first+strings.Repeat(test.again, maxHeld/len(test.again)+1)), false, &steps)
		list := steps.List()
		if n := len(list); n != test.steps || list[n-1].Kind != sdk.StepEnd {
			t.Errorf("%q: %d steps, want %d, the last of them End", test.first, n, test.steps)
		}
	}
}

func open(t testing.TB, settings string) sdk.Inspector {
	t.Helper()
	open, err := Protocol().Configure([]byte(settings))
	if err != nil {
		t.Fatal(fmt.Errorf("%s: %w", settings, err))
	}
	return open()
}

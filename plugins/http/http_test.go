package http

import (
	"fmt"
	"strings"
	"testing"

	"cordon/plugins/sdk"
	"cordon/plugins/sdk/conformance"
	"cordon/policy"
)

// get is a request without a body.
func get(path string, fields ...string) string { return ask("GET", path, fields...) }

func ask(method, path string, fields ...string) string {
	return lines(append([]string{method + " " + path + " HTTP/1.1", "Host: pump-4"}, fields...)...)
}

func lines(list ...string) string { return strings.Join(list, "\r\n") + "\r\n\r\n" }

// post is a request with content of a known length.
func post(path, content string, fields ...string) string {
	return ask("POST", path, append(fields, fmt.Sprintf("Content-Length: %d", len(content)))...) + content
}

// chunked is one whose content comes in chunks.
func chunked(path string, chunks ...string) string {
	return ask("POST", path, "Transfer-Encoding: chunked") + inChunks(chunks...)
}

func inChunks(chunks ...string) string {
	var b strings.Builder
	for _, c := range append(chunks, "") {
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(c), c)
	}
	return b.String()
}

func ok(content string, fields ...string) string {
	return lines(append([]string{"HTTP/1.1 200 OK", fmt.Sprintf("Content-Length: %d", len(content))}, fields...)...) + content
}

// problemOf is a refusal as problem+json.
func problemOf(status int, reason string, fields ...string) string {
	content := fmt.Sprintf(`{"type":"about:blank","title":"%s","status":%d,"detail":"%s. Decision code: 7QF-21","instance":"7QF-21"}`+"\n", statusText(status), status, reason)
	return refusalOf(status, "application/problem+json", content, fields...)
}

func refusalOf(status int, kind, content string, fields ...string) string {
	return lines(append([]string{fmt.Sprintf("HTTP/1.1 %d %s", status, statusText(status)), "Content-Type: " + kind,
		fmt.Sprintf("Content-Length: %d", len(content)), "Cache-Control: no-store", "X-Content-Type-Options: nosniff"}, fields...)...) + content
}

const closing = "Connection: close"

var (
	forbidden = problemOf(403, "not permitted")
	farewell  = problemOf(403, "not permitted", closing)
)

var dialogues = []conformance.Dialogue{
	conformance.Named("allowed").
		Forward(get("/status?unit=3&b", "User-Agent: curl/8", "Authorization: Bearer s3cret", "Cookie: sid=1; lang=de")).Reverse(ok("ready")).
		Forward(post("/rates", "rate=3", "Content-Type: application/x-www-form-urlencoded; charset=x")).Reverse(ok("")).
		WantOperation("http:GET", policy.ClassRead, "method", "GET", "host", "pump-4", "path", "/status", "raw_path", nil, "query_keys", []string{"b", "unit"},
			"user_agent", "curl/8", "authorization_scheme", "bearer", "cookie_names", []string{"lang", "sid"}, "version", "1.1", "content_length", nil).
		WantOperation("http:POST", policy.ClassWrite, "content_length", 6, "content_type", "application/x-www-form-urlencoded", "transfer", nil).
		WantForward(get("/status?unit=3&b", "User-Agent: curl/8", "Authorization: Bearer s3cret", "Cookie: sid=1; lang=de") + post("/rates", "rate=3", "Content-Type: application/x-www-form-urlencoded; charset=x")).
		WantReverse(ok("ready") + ok("")),
	conformance.Named("refused, and the connection goes on").
		Forward(get("/a")).Forward(post("/b", "12345")).Forward(chunked("/c", "123", "4567")).Forward(get("/d")).Reverse(ok("d")).Refused(1, 2, 3).
		WantOperation("http:GET", policy.ClassRead).WantOperation("http:POST", policy.ClassWrite).
		WantOperation("http:POST", policy.ClassWrite, "transfer", "chunked").WantOperation("http:GET", policy.ClassRead).
		WantRefusal(1, forbidden).WantRefusal(2, forbidden).WantRefusal(3, forbidden).
		WantForward(get("/d")).WantReverse(forbidden + forbidden + forbidden + ok("d")),
	conformance.Named("refusals keep the order of pipelined requests").
		Forward(get("/a")+get("/b")+get("/c")+get("/d")).Reverse(ok("a")).Reverse(ok("c")).Refused(2, 4).
		WantOperation("http:GET", policy.ClassRead).WantOperation("http:GET", policy.ClassRead).
		WantOperation("http:GET", policy.ClassRead).WantOperation("http:GET", policy.ClassRead).
		WantRefusal(2, forbidden).WantRefusal(4, forbidden).
		WantForward(get("/a") + get("/c")).WantReverse(ok("a") + forbidden + ok("c") + forbidden),
	conformance.Named("chunked both ways").
		Forward(chunked("/a", "hello", strings.Repeat("x", 300))).Reverse(lines("HTTP/1.1 200 OK", "Transfer-Encoding: Chunked")+inChunks("abc", "d")).
		Forward(get("/b")).Reverse(ok("b")).
		WantOperation("http:POST", policy.ClassWrite).WantOperation("http:GET", policy.ClassRead).
		WantForward(chunked("/a", "hello", strings.Repeat("x", 300)) + get("/b")),
	conformance.Named("HEAD, 204, 304 and interim responses").
		Forward(ask("HEAD", "/a")+get("/b")+get("/c")+get("/d")).
		Reverse(lines("HTTP/1.1 200 OK", "Content-Length: 900")).Reverse(lines("HTTP/1.1 204 No Content")).
		Reverse(lines("HTTP/1.1 304 Not Modified", "Content-Length: 4")).Reverse(lines("HTTP/1.1 103 Early Hints")+ok("d")).
		WantOperation("http:HEAD", policy.ClassRead).WantOperation("http:GET", policy.ClassRead).
		WantOperation("http:GET", policy.ClassRead).WantOperation("http:GET", policy.ClassRead).
		WantReverse(lines("HTTP/1.1 200 OK", "Content-Length: 900") + lines("HTTP/1.1 204 No Content") +
			lines("HTTP/1.1 304 Not Modified", "Content-Length: 4") + lines("HTTP/1.1 103 Early Hints") + ok("d")),
	conformance.Named("response to the end of the connection").
		Forward(lines("GET / HTTP/1.0")).Reverse(lines("HTTP/1.0 200 OK")).Reverse("the page").
		WantOperation("http:GET", policy.ClassRead, "version", "1.0", "host", nil).
		WantReverse(lines("HTTP/1.0 200 OK") + "the page"),
	conformance.Named("no place for a refusal behind a response without an end").
		Forward(get("/a")+get("/b")).Reverse(lines("HTTP/1.1 200 OK")+"the page").Refused(2).
		WantOperation("http:GET", policy.ClassRead).WantOperation("http:GET", policy.ClassRead).
		WantRefusal(2, "").WantReverse(lines("HTTP/1.1 200 OK") + "the page"),
	conformance.Named("nor behind one that will not be answered").
		Forward(get("/a")+get("/b")+get("/c")).Reverse(lines("HTTP/1.1 200 OK")+"the page").Refused(3).
		WantOperation("http:GET", policy.ClassRead).WantOperation("http:GET", policy.ClassRead).WantOperation("http:GET", policy.ClassRead).
		WantRefusal(3, "").WantReverse(lines("HTTP/1.1 200 OK") + "the page"),
	conformance.Named("a request behind the last response stays").
		Forward(get("/a")).Reverse(ok("a", closing)).Forward(get("/b")).
		WantOperation("http:GET", policy.ClassRead).WantForward(get("/a")),
	conformance.Named("a request behind the last request stays").
		Forward(get("/a", closing)+get("/b")).Reverse(ok("a")).
		WantOperation("http:GET", policy.ClassRead).WantForward(get("/a", closing)).WantReverse(ok("a")),
	conformance.Named("bytes behind an upgrade that is not answered").
		Forward(get("/live", "Connection: Upgrade", "Upgrade: websocket")+get("/admin")).
		WantOperation("http:upgrade-websocket", policy.ClassUnknown).WantEnd(),
	conformance.Named("the device closes with a refusal owed").
		Forward(get("/a")+get("/b")).Refused(2).ReverseEnds().
		WantOperation("http:GET", policy.ClassRead).WantOperation("http:GET", policy.ClassRead).WantEnd(),
	conformance.Named("a refused body is cut off").
		Forward(ask("POST", "/a", "Transfer-Encoding: chunked")+"3\r\nabc\r\n").Refused(1).
		WantOperation("http:POST", policy.ClassWrite).WantRefusal(1, farewell).WantForward(""),
	conformance.Named("HEAD is refused without content").
		Forward(ask("HEAD", "/a")).Refused(1).
		WantOperation("http:HEAD", policy.ClassRead).
		WantRefusal(1, forbidden[:strings.Index(forbidden, "\r\n\r\n")+4]),
	conformance.Named("refused and closed, as the client says").
		Forward(get("/a", "Connection: close")).Refused(1).
		WantOperation("http:GET", policy.ClassRead).WantRefusal(1, farewell).WantEnd(),
	conformance.Named("doubt").
		Forward(post("/a", "123")).RefusedWith(sdk.Refusal{Code: "7QF-21", Cause: policy.CauseDoubt, Reason: "temporarily unavailable"}, 1).
		WantOperation("http:POST", policy.ClassWrite).
		WantRefusal(1, problemOf(503, "temporarily unavailable", "Retry-After: 5", closing)).WantEnd(),
	conformance.Named("Expect passes as it is").
		Forward(get("/first")).Reverse(ok("")).Forward(ask("POST", "/a", "Expect: 100-continue", "Content-Length: 4")).Reverse(lines("HTTP/1.1 100 Continue")).Forward("body").Reverse(ok("")).
		Forward(get("/b")).Reverse(ok("b")).
		WantOperation("http:GET", policy.ClassRead).WantOperation("http:POST", policy.ClassWrite).WantOperation("http:GET", policy.ClassRead).
		WantForward(get("/first") + ask("POST", "/a", "Expect: 100-continue", "Content-Length: 4") + "body" + get("/b")),
	conformance.Named("Expect, and the device never heard of it").
		Forward(ask("POST", "/a", "Expect: 100-continue", "Content-Length: 4")).Forward("body").Reverse(ok("")).Forward(get("/b")).Reverse(ok("b")).
		WantOperation("http:POST", policy.ClassWrite).WantOperation("http:GET", policy.ClassRead).WantReverse(ok("") + ok("b")),
	conformance.Named("what Expect held back does not reach a device that has answered").
		Forward(get("/first")).Reverse(ok("")).Forward(ask("POST", "/a", "Expect: 100-continue", "Content-Length: 40")).Reverse(ok("no")[:len(ok("no"))-1]).Forward(get("/admin")).Reverse("o").
		WantOperation("http:GET", policy.ClassRead).WantOperation("http:POST", policy.ClassWrite).WantEnd().
		WantForward(get("/first") + ask("POST", "/a", "Expect: 100-continue", "Content-Length: 40")),
	conformance.Named("Expect refused").
		Forward(get("/first")).Reverse(ok("")).Forward(ask("POST", "/a", "Expect: 100-continue", "Content-Length: 4")).Refused(2).
		WantOperation("http:GET", policy.ClassRead).WantOperation("http:POST", policy.ClassWrite).WantRefusal(2, farewell).WantEnd(),
	conformance.Named("WebSocket").
		Forward(get("/live", "Connection: keep-alive, Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")).
		Reverse(lines("HTTP/1.1 101 Switching Protocols", "Upgrade: WebSocket", "Connection: Upgrade")+"\x81\x05hello").
		Forward("\x81\x85frame\x00\x01").Reverse("\x88\x00").
		WantOperation("http:upgrade-websocket", policy.ClassUnknown, "upgrade", []string{"websocket"}, "method", "GET").
		WantForward(get("/live", "Connection: keep-alive, Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13") + "\x81\x85frame\x00\x01"),
	conformance.Named("upgrade that the device does not follow").
		Forward(get("/live", "Connection: Upgrade", "Upgrade: h2c")).Reverse(ok("no")).Forward(get("/b")).Reverse(ok("b")).
		WantOperation("http:upgrade", policy.ClassUnknown).WantOperation("http:GET", policy.ClassRead).
		WantReverse(ok("no") + ok("b")),
	conformance.Named("CONNECT").
		Forward(lines("CONNECT pump-5:80 HTTP/1.1", "Host: pump-5:80")).Reverse(lines("HTTP/1.1 200 OK")).Forward("SSH-2.0\r\n").Reverse("SSH-2.0-x\r\n").
		WantOperation("http:CONNECT", policy.ClassUnknown, "host", "pump-5:80").
		WantReverse(lines("HTTP/1.1 200 OK") + "SSH-2.0-x\r\n"),
	conformance.Named("upgrade refused").
		Forward(get("/live", "Connection: Upgrade", "Upgrade: websocket")).Refused(1).
		WantOperation("http:upgrade-websocket", policy.ClassUnknown).WantRefusal(1, farewell).WantEnd(),
	conformance.Named("early response").
		Forward(get("/first")).Reverse(ok("")).
		Forward(ask("POST", "/a", "Content-Length: 8")+"1234").Reverse(ok("no")).Forward("5678").Forward(get("/b")).Reverse(ok("b")).
		WantOperation("http:GET", policy.ClassRead).WantOperation("http:POST", policy.ClassWrite).WantOperation("http:GET", policy.ClassRead).
		WantReverse(ok("") + ok("no") + ok("b")),
	conformance.Named("early response, and then the body is wrong").
		Forward(ask("POST", "/a", "Transfer-Encoding: chunked")+"3\r\nabc\r\n").Reverse(ok("no")).Forward("x\r\n").
		WantOperation("http:POST", policy.ClassWrite).WantEnd().WantReverse(ok("no")),
	conformance.Named("a browser's refusal").
		Forward(get("/a", "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")).Refused(1).
		WantOperation("http:GET", policy.ClassRead).
		WantRefusal(1, refusalOf(403, "text/html; charset=utf-8", "<!DOCTYPE html>\n<html lang=\"en\">\n<title>403 Forbidden</title>\n<h1>Forbidden</h1>\n"+
			"<p>The gateway refused this request: not permitted.</p>\n<p>Decision code: <strong>7QF-21</strong></p>\n</html>\n")),
	conformance.Named("a client that reads FHIR").
		Forward(get("/a", "Accept: application/fhir+json")).Refused(1).
		WantOperation("http:GET", policy.ClassRead).
		WantRefusal(1, refusalOf(403, "application/fhir+json", `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"forbidden","diagnostics":"not permitted. Decision code: 7QF-21"}]}`+"\n")),
}

func TestDialogue(t *testing.T) { conformance.Run(t, Protocol(), `{}`, dialogues...) }

// The most that a request may tell fits into what an operation may.
func TestFactsAreBounded(t *testing.T) {
	var cookies strings.Builder
	for i := range maxNames {
		fmt.Fprintf(&cookies, "%0*d=x; ", maxName, i)
	}
	path := "/fhir/" + strings.Repeat("%41", 2500)
	line := "GET " + path + "?"
	for i := range 6 {
		line += fmt.Sprintf("%0*d&", 100, i)
	}
	request := lines(line+" HTTP/1.1", "Host: "+strings.Repeat("a", 255), "Cookie: "+cookies.String(), "User-Agent: "+strings.Repeat("a", maxAgent),
		"Content-Type: "+strings.Repeat("a", maxName), "Authorization: "+strings.Repeat("a", maxMethod))
	set, err := parseSettings([]byte(`{"fhir":{"base":"/fhir"}}`))
	if err != nil {
		t.Fatal(err)
	}
	r := set.readRequest(request)
	b, _ := r.op.Attributes.MarshalJSON() // longer than what is sent
	if r.wrong != nil || len(b) < sdk.MaxFacts/2 || len(b) > sdk.MaxFacts {
		t.Errorf("%v, %d bytes of facts", r.wrong, len(b))
	}
}

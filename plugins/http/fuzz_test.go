package http

import (
	"strings"
	"testing"

	"cordon/plugins/sdk"
	"cordon/plugins/sdk/conformance"
	"cordon/policy"
)

var seeds = append([]conformance.Dialogue{
	conformance.Forward(get("/a") + "\x16\x03").Reverse(ok("a")),
	conformance.Forward(chunked("/a", "x") + chunked("/b", "yy", "z")).Reverse(ok("") + lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + inChunks("x")).Refused(2),
	conformance.Forward(ask("POST", "/a", "Transfer-Encoding: chunked") + "3\r\nabcd").Refused(1),
	conformance.Forward(ask("POST", "/a", "Transfer-Encoding: chunked", "Expect: 100-continue") + "3\r\nabc\r\n").Reverse(lines("HTTP/1.1 417 No")),
	conformance.Forward(ask("POST", "/a", "Transfer-Encoding: chunked") + "1\r\na\r\n0\r\nX: y\r\n\r\n").Reverse(lines("HTTP/1.0 200") + "x"),
	conformance.Forward(get("/fhir/Patient/1/_history/2?_format=json") + get("/fhir/$export;x")).Refused(1),
	conformance.Forward(get("/a%20b/%e2%82%ac/./..//c")).Reverse("HTTP/1.1 200 OK\nContent-Length: 1\n\nx"),
	conformance.Forward(lines("CONNECT a:1 HTTP/1.1", "Host: a:1")).Reverse(lines("HTTP/1.1 200 OK") + "x").Forward("y"),
}, dialogues...)

func FuzzDialogue(f *testing.F) { conformance.Fuzz(f, Protocol(), `{}`, seeds...) }

func FuzzLooseDialogue(f *testing.F) {
	conformance.Fuzz(f, Protocol(), `{"path_allow":["parameters","empty_segments"],"trailers":true,"bare_lf":true,"max_body":"1KiB","max_line":256,
		"max_head":1024,"content_encodings":["gzip"],"fhir":{"base":"/fhir"},"paths":[{"prefix":"/a","class":"admin"}]}`, seeds...)
}

// Whatever a path is, what policy is told is one reading of it: no separator, dot segment or
// second coding is left in it, and decoding it again changes nothing.
func FuzzPath(f *testing.F) {
	for _, path := range []string{"/", "/a/b%20c", "/%2e%2e/a", "/a;b/..;/c", "/a//b", "/%c0%af", "/%252e", "*"} {
		f.Add(path, true)
	}
	f.Fuzz(func(t *testing.T, path string, loose bool) {
		set := &settings{pathParameters: loose, emptySegments: loose}
		target, wrong := splitTarget("GET", path)
		if wrong != nil || target.decodePath(set) != nil {
			return
		}
		got := target.path
		if !strings.HasPrefix(got, "/") || strings.Contains(got, "//") || strings.ContainsAny(got, "\\\x00\r\n?#") || strings.Contains(got, ";") {
			t.Fatalf("%q becomes %q", path, got)
		}
		for segment := range strings.SplitSeq(got, "/") {
			if segment == "." || segment == ".." {
				t.Fatalf("%q becomes %q", path, got)
			}
		}
		again := target
		if again.raw = got; again.decodePath(set) != nil || again.path != got {
			t.Fatalf("%q becomes %q and then %q", path, got, again.path)
		}
	})
}

// Whatever is refused for whatever reason, the answer is one response, and its page no program.
func FuzzRefusal(f *testing.F) {
	f.Add("7QF-21", "not permitted", byte(2), 403)
	f.Add("<script>", `\"`, byte(1), 400)
	f.Add(`"`, "<script>", byte(2), 400)
	f.Fuzz(func(t *testing.T, code, reason string, accepts byte, status int) {
		x := exchange{accepts: format(accepts % 3), wrong: &fault{400 + status&127, reason}, refused: &sdk.Refusal{Code: code, Reason: reason, Cause: policy.CauseProtocol}}
		answer := x.answer()
		head, content, _ := strings.Cut(string(answer), "\r\n\r\n")
		h, wrong := readReply(head + "\r\n\r\n")
		if wrong != nil || !h.hasLength || h.length != int64(len(content)) || h.status != x.wrong.status {
			t.Fatalf("%q: %+v %v", answer, h, wrong)
		}
		if x.accepts == page && strings.Contains(content, "<script") {
			t.Fatalf("%q", answer)
		}
	})
}

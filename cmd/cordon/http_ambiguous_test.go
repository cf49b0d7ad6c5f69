package main

import (
	"bufio"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// tellAmbiguous sends nginx, by way of the gateway, what programs are known to understand in
// different ways. None of it arrives, each is answered, and the gateway goes on serving.
func tellAmbiguous(t *testing.T, cordon string) {
	s, p := newWebSite(t, cordon, startNginx(t, t.TempDir()))
	d := s.serve(t)
	const good = "GET /api/good HTTP/1.1\r\nHost: mon-7\r\n\r\n"
	for _, sent := range []string{
		"GET /\r\n",
		"GET / HTTP/1.1\n\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"GET / HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
		"GET http://other/ HTTP/1.1\r\nHost: mon-7\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: mon-7\r\n X: y\r\n\r\n",
		"GET / HTTP/1.1\r\nHost : mon-7\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: mon-7\r\nX: a\x00b\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: mon-7\r\nX: a\rGET /admin HTTP/1.1\r\n\r\n",
		"GET /%2e%2e/admin HTTP/1.1\r\nHost: mon-7\r\n\r\n",
		"GET /a%2fb HTTP/1.1\r\nHost: mon-7\r\n\r\n",
		"GET /a%252fb HTTP/1.1\r\nHost: mon-7\r\n\r\n",
		"GET /a;/..;/b HTTP/1.1\r\nHost: mon-7\r\n\r\n",
		"GET /%c0%ae/b HTTP/1.1\r\nHost: mon-7\r\n\r\n",
		"GET /a%00 HTTP/1.1\r\nHost: mon-7\r\n\r\n",
		"GET //other/a HTTP/1.1\r\nHost: mon-7\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: mon-7\r\nContent-Length: 42\r\n\r\n" + good,
		"POST /api HTTP/1.1\r\nHost: mon-7\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + good,
		"POST /api HTTP/1.1\r\nHost: mon-7\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde" + good,
		"POST /api HTTP/1.1\r\nHost: mon-7\r\nContent-Length: +4\r\n\r\nabcd" + good,
		"POST /api HTTP/1.1\r\nHost: mon-7\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + good,
		"POST /api HTTP/1.1\r\nHost: mon-7\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + good,
		"POST /api HTTP/1.0\r\nHost: mon-7\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + good,
		"POST /api HTTP/1.1\r\nHost: mon-7\r\nConnection: Content-Length\r\nContent-Length: 4\r\n\r\nabcd" + good,
		"GET /" + strings.Repeat("a", 9000) + " HTTP/1.1\r\nHost: mon-7\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: mon-7\r\n" + strings.Repeat("X: y\r\n", 200) + "\r\n",
	} {
		if answer := s.sendHTTP(t, "engine", sent); !strings.HasPrefix(answer, "HTTP/1.1 4") && !strings.HasPrefix(answer, "HTTP/1.1 501 ") || decisionCode.FindString(answer) == "" || strings.Contains(answer, "GET /api/good") {
			t.Errorf("%.200q is answered with %q", sent, answer)
		}
		if got := p.take(); got != "" {
			t.Errorf("%.200q: the device received %q", sent, got)
		}
		if answer := s.sendHTTP(t, "engine", good+strings.Replace(good, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1)); strings.Count(answer, "GET /api/good") != 2 {
			t.Fatalf("behind %.200q, a page is answered with %q", sent, answer)
		}
		p.take()
	}
	// A chunk extension shows only when the head has passed.
	answer := s.sendHTTP(t, "engine", "POST /api/late HTTP/1.1\r\nHost: mon-7\r\nTransfer-Encoding: chunked\r\n\r\n4;a=b\r\nabcd\r\n0\r\n\r\n"+good)
	if sent := p.take(); strings.Contains(sent, "abcd") || strings.Contains(sent, "good") {
		t.Errorf("a chunk extension is answered with %q, and the device received %q", answer, sent)
	}
	d.stop(t)
}

// sendHTTP sends bytes as they are and returns all that is answered until the gateway closes.
func (s *site) sendHTTP(t *testing.T, badge, text string) string {
	t.Helper()
	c, err := tls.Dial("tcp", s.listen, s.badge(t, badge))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	io.WriteString(c, text)
	answer, err := io.ReadAll(c)
	if err != nil {
		t.Errorf("%.200q: %v", text, err)
	}
	if r, err := http.ReadResponse(bufio.NewReader(strings.NewReader(string(answer))), nil); err != nil {
		t.Errorf("%.200q is answered with %q, which is no response: %v", text, answer, err)
	} else {
		r.Body.Close()
	}
	return string(answer)
}

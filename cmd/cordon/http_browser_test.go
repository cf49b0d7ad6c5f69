package main

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// devicePage reads a page of the device, changes a setting, and listens to its WebSocket. Its
// load event waits for /wait, which the device answers once it has heard the browser.
const devicePage = `<!DOCTYPE html><title>mon-7</title><p id=pulse></p><p id=limit></p><img src="/wait">
<script>
var live = new WebSocket("ws://" + location.host + "/live");
live.onmessage = function (m) { document.getElementById("pulse").textContent = m.data; live.send("heard"); };
var change = new XMLHttpRequest();
change.open("POST", "/limit", false);
change.send("high=90");
document.getElementById("limit").textContent = change.status + " " + change.responseText;
</script>`

// webDevice is a device's web interface.
type webDevice struct {
	heard chan string // what came by WebSocket
	once  sync.Once
}

func (d *webDevice) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/live":
		d.live(w, r)
	case "/wait":
		select {
		case <-d.heard:
		case <-time.After(patience):
		}
	case "/":
		io.WriteString(w, devicePage)
	default:
		fmt.Fprintf(w, "%s done", r.Method)
	}
}

// live shakes hands (RFC 6455 section 4.2.2), sends a text frame and takes one, which is masked.
func (d *webDevice) live(w http.ResponseWriter, r *http.Request) {
	c, buf, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n\x81\x08pulse 72",
		base64.StdEncoding.EncodeToString(sum[:]))
	c.SetReadDeadline(time.Now().Add(patience))
	if text, err := shortFrame(buf.Reader); err == nil {
		d.once.Do(func() { d.heard <- text })
	}
}

func shortFrame(r *bufio.Reader) (string, error) {
	var head [6]byte // a short frame, with its mask
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return "", err
	}
	text := make([]byte, head[1]&0x7f)
	_, err := io.ReadFull(r, text)
	for i := range text {
		text[i] ^= head[2+i%4]
	}
	return string(text), err
}

// tellBrowser opens a device's page in a browser, which a tunnel gives a nurse's certificate.
// The page may listen, but not change a setting, and a page of the firmware is refused with one
// that a person can read.
func tellBrowser(t *testing.T, cordon string) {
	chromium := peer(t, "chromium", "chromium")
	device := &webDevice{heard: make(chan string, 1)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: device}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })

	s, p := newWebSite(t, cordon, l.Addr().String(), "--set",
		`paths=[{"prefix":"/firmware","class":"admin"},{"exact":"/live","method":"upgrade-websocket","class":"read"}]`)
	d := s.serve(t)
	port := s.tunnel(t, "nurse")
	browse := func(path string) string {
		t.Helper()
		out := runProgram(t, s.dir, nil, chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
			"--disable-background-networking", "--disable-component-update", "--user-data-dir="+t.TempDir(), "--dump-dom", "http://127.0.0.1:"+port+path)
		return out.stdout
	}
	shown := browse("/")
	for _, want := range []string{`<p id="pulse">pulse 72</p>`, `<p id="limit">403 {"type":"about:blank"`} {
		if !strings.Contains(shown, want) {
			t.Errorf("the browser shows %s, want %s in it", shown, want)
		}
	}
	s.explained(t, decisionCode.FindString(shown), "DENY http:POST", "user/nurse.ito")
	sent := p.take()
	if !strings.Contains(sent, "GET /live HTTP/1.1\r\n") || strings.Contains(sent, "high=90") {
		t.Errorf("the device received %q", sent)
	}

	shown = browse("/firmware/update")
	if !strings.Contains(shown, "<h1>Forbidden</h1>") {
		t.Errorf("the browser shows %s", shown)
	}
	s.explained(t, decisionCode.FindString(shown), "DENY http:GET", "user/nurse.ito")
	if sent := p.take(); strings.Contains(sent, "GET /firmware") {
		t.Errorf("the device received %q", sent)
	}
	d.stop(t)
}

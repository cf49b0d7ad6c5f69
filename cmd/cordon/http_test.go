package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// tap stands between the gateway and a device and records what the device is sent.
type tap struct {
	listener net.Listener
	serving  sync.WaitGroup

	mu   sync.Mutex
	sent strings.Builder
}

func newTap(t *testing.T, device string) *tap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{listener: l}
	p.serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.serving.Go(func() { p.pass(c, device) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.serving.Wait()
	})
	return p
}

// pass moves one connection's bytes, until both sides have closed or nothing comes for long.
func (p *tap) pass(c net.Conn, device string) {
	defer c.Close()
	d, err := net.Dial("tcp", device)
	if err != nil {
		return
	}
	defer d.Close()
	for _, conn := range []net.Conn{c, d} {
		conn.SetDeadline(time.Now().Add(patience))
	}
	var up sync.WaitGroup
	up.Go(func() {
		io.Copy(d, io.TeeReader(c, p))
		d.(*net.TCPConn).CloseWrite()
	})
	io.Copy(c, d)
	c.Close()
	up.Wait()
}

func (p *tap) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent.Write(b)
}

// take returns what was sent since it was last called.
func (p *tap) take() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.sent.Reset()
	return p.sent.String()
}

func (p *tap) port() string {
	_, port, _ := net.SplitHostPort(p.listener.Addr().String())
	return port
}

// startPython serves a directory as many device pages are: HTTP/1.0, one request per connection.
func startPython(t *testing.T, dir string) string {
	t.Helper()
	address := freeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	b := start(t, dir, peer(t, "python3", "python3"), "-m", "http.server", "--bind", "127.0.0.1", port)
	b.listening(t, address)
	return address
}

// startNginx serves a directory, reads and answers every request below /api, and sends what it
// compresses below /chunked in chunks.
func startNginx(t *testing.T, dir string) string {
	t.Helper()
	address, inner := freeAddress(t), filepath.Join(t.TempDir(), "api")
	text := fmt.Sprintf(`daemon off; master_process off; pid %[1]s/nginx.pid; error_log stderr;
events {}
http {
	access_log off; default_type text/plain; client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
	server {
		listen %[2]s; root %[3]s; client_max_body_size 0;
		location /api { proxy_pass http://unix:%[4]s:; }
		location /chunked { gzip on; gzip_min_length 1; gzip_types text/plain; alias %[3]s; }
	}
	server { listen unix:%[4]s; return 200 "$request_method $request_uri\n"; }
}
`, t.TempDir(), address, dir, inner)
	file := filepath.Join(t.TempDir(), "nginx.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	b := start(t, dir, peer(t, "/usr/sbin/nginx", "nginx-light"), "-c", file)
	b.listening(t, address)
	return address
}

// listening waits until something accepts connections.
func (b *background) listening(t *testing.T, address string) {
	t.Helper()
	if !eventually(func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err == nil
	}) {
		t.Fatalf("nobody listens on %s:\n%s", address, b.said())
	}
}

// newWebSite makes a gateway for a device's web server, with a tap before it.
func newWebSite(t *testing.T, cordon, device string, settings ...string) (*site, *tap) {
	t.Helper()
	s, p := emptySite(t, cordon), newTap(t, device)
	s.add(t, "mon-7", "monitor/bedside", "http", p.port(), settings...)
	s.issueStaff(t)
	return s, p
}

// tellCurl has curl read and write: a nurse may read, an interface engine write, and neither
// delete. What is allowed reaches the device as curl sends it, which is learnt by sending it
// without a gateway.
func tellCurl(t *testing.T, cordon string) {
	curl := peer(t, "curl", "curl")
	pages := t.TempDir()
	page, body := strings.Repeat("pulse 72\n", 1000), strings.Repeat("limit=90&", 20000)
	for name, text := range map[string]string{"status.txt": page, "body": body} {
		if err := os.WriteFile(filepath.Join(pages, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, server := range []struct {
		name  string
		start func(*testing.T, string) string
		reads bool // bodies, before it answers
	}{{"python3 -m http.server", startPython, false}, {"nginx", startNginx, true}} {
		t.Run(server.name, func(t *testing.T) {
			s, p := newWebSite(t, cordon, server.start(t, pages), "--set", `fhir={"base":"/fhir"}`)
			d := s.serve(t)
			ask := func(badge string, args ...string) outcome {
				t.Helper()
				return runProgram(t, pages, nil, curl, append([]string{"--silent", "--show-error", "--max-time", "20", "--header", "Host: mon-7", "--cacert", s.path("ca.pem"),
					"--cert", s.path(badge + ".pem"), "--key", s.path(badge + ".key")}, args...)...)
			}
			for _, allowed := range []struct {
				badge string
				args  []string
				want  string // in the answer; "": whatever it is
			}{
				{"nurse", []string{"/status.txt"}, page},
				{"nurse", []string{"/status.txt?unit=1", "/status.txt"}, page + page},
				{"nurse", []string{"--http1.0", "/status.txt"}, page},
				{"nurse", []string{"--head", "/status.txt"}, "Content-Length: 9000"},
				{"nurse", []string{"--range", "0-4", "/status.txt"}, "pulse"},
				{"nurse", []string{"--compressed", "/chunked/status.txt"}, ""},
				{"nurse", []string{"/none"}, "404"},
				{"engine", []string{"--data", "rate=3", "/api/rates"}, ""},
				{"engine", []string{"--data-binary", "@body", "/api/rates"}, ""},
				{"engine", []string{"--header", "Expect: 100-continue", "--data-binary", "@body", "/api/rates"}, ""},
				{"engine", []string{"--header", "Transfer-Encoding: chunked", "--data-binary", "@body", "/api/rates"}, ""},
				{"engine", []string{"--request", "PUT", "--data", "x", "/api/rates"}, ""},
			} {
				if !server.reads && slices.Contains(allowed.args, "@body") {
					continue // how much of it arrives is up to chance
				}
				var args, direct []string
				for _, a := range allowed.args {
					if strings.HasPrefix(a, "/") {
						args, direct = append(args, "https://"+s.listen+a), append(direct, "http://127.0.0.1:"+p.port()+a)
					} else {
						args, direct = append(args, a), append(direct, a)
					}
				}
				plain := runProgram(t, pages, nil, curl, append([]string{"--silent", "--max-time", "20", "--header", "Host: mon-7"}, direct...)...)
				want := p.take()
				out := ask(allowed.badge, args...)
				if !strings.Contains(out.stdout, allowed.want) || out.stdout != plain.stdout && !strings.Contains(plain.stdout, "Date:") {
					t.Errorf("%s: curl says %.300q%s, and %.300q without a gateway", allowed.args, out.stdout, out.stderr, plain.stdout)
				}
				if got := p.take(); got != want {
					t.Errorf("%s: the device received\n%.500q, want\n%.500q", allowed.args, got, want)
				}
			}
			for _, refused := range []struct {
				badge string
				args  []string
				wants []string
			}{
				{"nurse", []string{"--data", "rate=3", "/api/rates"}, []string{"HTTP/1.1 403 Forbidden", "application/problem+json", `"status":403`}},
				{"nurse", []string{"--data-binary", "@body", "/api/rates"}, []string{"HTTP/1.1 403 Forbidden"}},
				{"nurse", []string{"--header", "Expect: 100-continue", "--data-binary", "@body", "/api/rates"}, []string{"HTTP/1.1 403 Forbidden", "Connection: close"}},
				{"nurse", []string{"--header", "Transfer-Encoding: chunked", "--data-binary", "@body", "/api/rates"}, []string{"HTTP/1.1 403 Forbidden"}},
				{"nurse", []string{"--header", "Accept: text/html", "--request", "DELETE", "/api/rates"}, []string{"HTTP/1.1 403 Forbidden", "<h1>Forbidden</h1>"}},
				{"engine", []string{"--request", "DELETE", "/fhir/Patient/1"}, []string{"HTTP/1.1 403 Forbidden", `"resourceType":"OperationOutcome"`}},
				{"engine", []string{"--request", "TRACE", "/"}, []string{"HTTP/1.1 403 Forbidden"}},
				{"engine", []string{"--header", "Connection: Upgrade", "--header", "Upgrade: websocket", "/live"}, []string{"HTTP/1.1 403 Forbidden"}},
				{"engine", []string{"--path-as-is", "/a/../b"}, []string{"HTTP/1.1 400 Bad Request"}},
			} {
				last := len(refused.args) - 1
				args := append([]string{"--include"}, refused.args[:last]...)
				out := ask(refused.badge, append(args, "https://"+s.listen+refused.args[last])...)
				for _, want := range refused.wants {
					if !strings.Contains(out.stdout, want) {
						t.Errorf("%s: curl says %q%s, want %q in it", refused.args, out.stdout, out.stderr, want)
					}
				}
				s.explained(t, decisionCode.FindString(out.stdout[strings.Index(out.stdout, "\r\n\r\n")+1:]), "DENY http:")
				if got := p.take(); got != "" {
					t.Errorf("%s: the device received %q", refused.args, got)
				}
			}
			// One connection: a refusal does not end it.
			out := ask("nurse", "--verbose", "--data", "rate=3", "https://"+s.listen+"/api/rates", "--next", "--silent", "--cacert", s.path("ca.pem"),
				"--cert", s.path("nurse.pem"), "--key", s.path("nurse.key"), "https://"+s.listen+"/status.txt")
			if !strings.Contains(out.stderr, "Re-using existing connection") || !strings.HasSuffix(out.stdout, page) {
				t.Errorf("a refusal and a page on one connection: %.300q\n%s", out.stdout, out.stderr)
			}
			d.stop(t)
		})
	}
}

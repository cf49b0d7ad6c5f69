package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// The way HTTP is guarded without a gateway such as this: nginx verifies the client's
// certificate and asks an OPA server about every request (auth_request). It decides what the
// gateway decides, roles × class of device × class of operation from the same tables, but
// knows the roles from a table of people, because nginx can read neither the extension nor
// the alternative name of a certificate. It records nothing. The path is left out of the
// question: nginx cannot quote it for JSON.
const (
	nginxConf = `daemon off;
worker_processes auto;
error_log stderr crit;
pid {dir}/nginx.pid;
events { worker_connections 1024; }
http {
	access_log off;
	client_body_temp_path {dir}/body;
	proxy_temp_path {dir}/proxy;
	fastcgi_temp_path {dir}/fastcgi;
	uwsgi_temp_path {dir}/uwsgi;
	scgi_temp_path {dir}/scgi;
	keepalive_timeout 1h;
	keepalive_requests 1000000000;
	proxy_http_version 1.1;
	proxy_set_header Connection "";
	upstream device { server {device}; keepalive 64; keepalive_requests 1000000000; }
	upstream opa { server {opa}; keepalive 64; keepalive_requests 1000000000; }
	map $request_method $class { default write; GET read; HEAD read; OPTIONS read; DELETE admin; }
	server {
		listen {listen} ssl;
		ssl_protocols TLSv1.3;
		ssl_certificate {pki}/server.pem;
		ssl_certificate_key {pki}/server.key;
		ssl_client_certificate {pki}/ca.pem;
		ssl_verify_client on;
		ssl_verify_depth 2;
		ssl_session_tickets off;
		location / {
			{ask}
			proxy_pass http://device;
		}
		location = /decide {
			internal;
			proxy_pass http://opa/v0/data/ward/permitted;
			proxy_method POST;
			proxy_pass_request_headers off;
			proxy_pass_request_body off;
			proxy_set_header Connection "";
			proxy_set_header Content-Type application/json;
			proxy_set_body '{"subject":"$ssl_client_s_dn","device_class":"pump/web","class":"$class"}';
			proxy_intercept_errors on;
			error_page 404 =403 /refused;
		}
		location = /refused { internal; return 403; }
	}
}
`

	// What is not permitted is undefined, which this way of asking answers with 404.
	wardRego = `package ward

permitted if {
	some role in data.people[input.subject]
	some device_class in device_classes
	input.class in data.roles[role][device_class]
}

device_classes := {
	input.device_class,
	concat("", [split(input.device_class, "/")[0], "/*"]),
	"*",
}
`
	wardPeople = `people: {CN=load: [biomed, radiologist]}
`
)

// installOPA builds the OPA server into dir, of the version that is linked into the gateway.
func installOPA(ctx context.Context, dir string) error {
	const module = "github.com/open-policy-agent/opa"
	version, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Version}}", module).Output()
	if err != nil {
		return fmt.Errorf("find the version of %s: %w", module, err)
	}
	install := exec.CommandContext(ctx, "go", "install", module+"@"+strings.TrimSpace(string(version)))
	install.Env = append(os.Environ(), "GOBIN="+dir)
	if out, err := install.CombinedOutput(); err != nil {
		return fmt.Errorf("build the OPA server: %w\n%s", err, out)
	}
	return nil
}

// prepareToday reports what is missing for it.
func (w *world) prepareToday(ctx context.Context) error {
	if _, err := exec.LookPath("nginx"); err != nil {
		return err
	}
	features, err := exec.CommandContext(ctx, "nginx", "-V").CombinedOutput()
	if err != nil || !bytes.Contains(features, []byte("http_auth_request_module")) {
		return errors.Join(errors.New("this nginx has no auth_request"), err)
	}
	fmt.Fprintln(os.Stderr, "building the OPA server")
	w.today = filepath.Join(filepath.Dir(w.dir), "today")
	if err := installOPA(ctx, w.today); err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(w.today, "ward.rego"), []byte(wardRego), 0o644),
		os.WriteFile(filepath.Join(w.today, "people.yaml"), []byte(wardPeople), 0o644))
}

// startNginx starts nginx as a proxy that only verifies certificates.
func (w *world) startNginx(ctx context.Context) (*proxy, error) {
	return w.nginx(ctx, "nginx", "", "127.0.0.1:9")
}

// startNginxOPA starts nginx and the OPA server it asks.
func (w *world) startNginxOPA(ctx context.Context) (*proxy, error) {
	opa, address := exec.CommandContext(ctx, filepath.Join(w.today, "opa"), "run", "--server", "--log-level", "error", "--skip-version-check"), freeAddress()
	opa.Args = append(opa.Args, "--addr", address, filepath.Join(w.today, "ward.rego"), filepath.Join(w.today, "people.yaml"),
		filepath.Join(w.dir, "policy", "data.yaml"))
	stop, err := startAt(ctx, opa, address)
	if err != nil {
		return nil, err
	}
	p, err := w.nginx(ctx, "nginx → OPA", "auth_request /decide;", address)
	if err != nil {
		stop()
		return nil, err
	}
	pids, stopNginx := p.pids, p.stop
	p.pids = func() []int { return append(pids(), opa.Process.Pid) }
	p.stop = func() { stopNginx(); stop() }
	if err := w.decides(p); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

// nginx starts nginx; ask is what it does before it passes a request on.
func (w *world) nginx(ctx context.Context, name, ask, opa string) (*proxy, error) {
	address := freeAddress()
	conf := strings.NewReplacer("{dir}", w.today, "{pki}", w.pki, "{listen}", address, "{device}", w.device["http"], "{opa}", opa, "{ask}", ask).Replace(nginxConf)
	file := filepath.Join(w.today, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "nginx", "-e", "stderr", "-c", file)
	stop, err := startAt(ctx, cmd, address)
	if err != nil {
		return nil, err
	}
	return &proxy{name: name, address: map[string]string{"http": address}, pids: func() []int { return family(cmd.Process.Pid) }, stop: stop}, nil
}

// startAt starts a program that will listen at an address, and waits until it does.
func startAt(ctx context.Context, cmd *exec.Cmd, address string) (stop func(), err error) {
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // nginx ends its workers
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop = func() { cmd.Process.Signal(syscall.SIGTERM); cmd.Wait() }
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			return stop, nil
		}
	}
	stop()
	return nil, fmt.Errorf("start %s: it does not listen at %s", cmd.Path, address)
}

// decides reports an error unless p passes on what is permitted and refuses what is not:
// else its figures would be those of another thing.
func (w *world) decides(p *proxy) error {
	client := http.Client{Transport: &http.Transport{TLSClientConfig: w.client, DisableKeepAlives: true}, Timeout: 10 * time.Second}
	for method, want := range map[string]int{http.MethodGet: http.StatusOK, http.MethodPost: http.StatusForbidden} {
		request, err := http.NewRequest(method, "https://"+p.address["http"]+"/status", nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		response.Body.Close()
		if response.StatusCode != want {
			return fmt.Errorf("%s answers %s with %s, not %d", p.name, method, response.Status, want)
		}
	}
	return nil
}

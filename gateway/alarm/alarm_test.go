package alarm

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience bounds every wait. None takes nearly as long.
const patience = 30 * time.Second

func example() *Alarm {
	return &Alarm{ID: "alarm_1", Time: time.Date(2026, 11, 22, 12, 0, 0, 123456789, time.UTC), Gateway: "radiology-east", Name: "break-glass-opened", Severity: Alert,
		Subject: "user/nurse.ito", Device: "ct-2", Text: "E-7QF2K opened"}
}

func TestSyslogForm(t *testing.T) {
	for _, c := range []struct {
		change func(*Alarm)
		want   string
	}{
		{func(*Alarm) {}, `^<81>1 2026-11-22T12:00:00.123456Z radiology-east cordon \d+ break-glass-opened \[cordon@32473 id="alarm_1" subject="user/nurse.ito" device="ct-2"\] E-7QF2K opened$`},
		{func(a *Alarm) { a.Severity, a.Subject, a.Device = Notice, "", "" }, `^<85>1 .* \[cordon@32473 id="alarm_1"\] E-7QF2K opened$`},
		{func(a *Alarm) { a.Device = "a\"b]c\\d\ne" }, `device="a\\"b\\]c\\\\d e"\] `},
		{func(a *Alarm) { a.Text = "Überfällig" }, `\] \x{FEFF}Überfällig$`},
		{func(a *Alarm) { a.Text = "one\r\n<81>1 two" }, `\] one  <81>1 two$`},
		{func(a *Alarm) { a.Gateway, a.Name = "", "two words" }, `Z - cordon \d+ two_words \[`},
		{func(a *Alarm) { a.Gateway = strings.Repeat("x", 300) }, `Z x{255} cordon`},
	} {
		a := example()
		c.change(a)
		if got := a.syslog(); !regexp.MustCompile(c.want).MatchString(got) || strings.ContainsAny(got, "\r\n") {
			t.Errorf("got  %q\nwant %s", got, c.want)
		}
	}
}

func TestParseSyslog(t *testing.T) {
	for _, good := range []string{"unix:///dev/log", "udp://log.hospital.example:514", "tcp://10.0.0.1:601", "tcp://[fd00::1]:601"} {
		if _, err := ParseSyslog(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "/dev/log", "unix:dev/log", "unix://host/dev/log", "udp://host", "udp://host:0", "udp://host:70000", "udp://:514", "tcp://host:601/x", "tcp://me@host:601",
		"tls://host:6514", "udp://0.0.0.0:514", "unix:///" + strings.Repeat("x", 200), "udp://host:514?x", "%"} {
		if s, err := ParseSyslog(bad); err == nil {
			t.Errorf("%q is taken for %+v", bad, s)
		}
	}
}

// Each transport has its framing.
func TestSyslogTransports(t *testing.T) {
	dir, err := os.MkdirTemp("", "syslog-") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	packets := func(network, address string) (string, func() string) {
		c, err := net.ListenPacket(network, address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c.LocalAddr().String(), func() string {
			b := make([]byte, 4096)
			c.SetReadDeadline(time.Now().Add(patience))
			n, _, err := c.ReadFrom(b)
			if err != nil {
				t.Error(err)
			}
			return string(b[:n])
		}
	}
	stream := func(network, address string) (string, func() string) {
		l, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l.Addr().String(), func() string {
			c, err := l.Accept()
			if err != nil {
				t.Error(err)
				return ""
			}
			defer c.Close()
			c.SetReadDeadline(time.Now().Add(patience))
			b, err := io.ReadAll(c)
			if err != nil {
				t.Error(err)
			}
			return string(b)
		}
	}
	a := example()
	text := a.syslog()
	for _, c := range []struct {
		name, prefix string
		listen       func() (string, func() string)
		want         string
	}{
		{"datagrams", "unix://", func() (string, func() string) { return packets("unixgram", dir+"/log") }, text},
		{"stream", "unix://", func() (string, func() string) { return stream("unix", dir+"/stream") }, text + "\n"},
		{"UDP", "udp://", func() (string, func() string) { return packets("udp", "127.0.0.1:0") }, text},
		{"TCP", "tcp://", func() (string, func() string) { return stream("tcp", "127.0.0.1:0") }, fmt.Sprintf("%d %s", len(text), text)},
	} {
		address, received := c.listen()
		s, err := ParseSyslog(c.prefix + address)
		if err != nil {
			t.Fatal(err)
		}
		sent := make(chan error, 1)
		go func() { sent <- s.Send(t.Context(), a) }()
		if got := received(); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
		if err := <-sent; err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if err := (&Syslog{"unix", dir + "/none"}).Send(t.Context(), a); err == nil {
		t.Error("sent to nobody")
	}
}

// hook is a receiver with the files to reach it.
func hook(t *testing.T, answer http.HandlerFunc) (*Webhook, *httptest.Server) {
	t.Helper()
	server := httptest.NewTLSServer(answer)
	t.Cleanup(server.Close)
	server.Config.ErrorLog = nil
	dir := t.TempDir()
	w := &Webhook{URL: server.URL + "/T0KEN", SecretFile: filepath.Join(dir, "secret"), TrustFile: filepath.Join(dir, "ca.pem")}
	keep(t, w.SecretFile, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
	keep(t, w.TrustFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	return w, server
}

func keep(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// The example of the Standard Webhooks specification.
func TestSign(t *testing.T) {
	secret, err := ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	if got := Sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`)); got != "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" {
		t.Errorf("signed %s", got)
	}
	for _, bad := range []string{"", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2hvcnQ=", "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, maxSecret+1)), "whsec_%%"} {
		if _, err := ParseSecret(bad); err == nil {
			t.Errorf("%q is taken for a secret", bad)
		}
	}
}

func TestWebhook(t *testing.T) {
	status := http.StatusNoContent
	var got *http.Request
	var body []byte
	w, server := hook(t, func(rw http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		rw.Header().Set("Location", "/elsewhere")
		rw.WriteHeader(status)
	})
	a := example()
	if err := w.Send(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	secret, _ := ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	h := got.Header
	if got.Method != http.MethodPost || got.URL.Path != "/T0KEN" || h.Get("Webhook-Id") != a.ID || h.Get("Webhook-Signature") != "v1,"+Sign(secret, a.ID, h.Get("Webhook-Timestamp"), body) {
		t.Errorf("got %s %s with %v", got.Method, got.URL, h)
	}
	var back struct {
		Schema string
		Alarm
	}
	if err := json.Unmarshal(body, &back); err != nil || back.Alarm != *a || back.Schema != "cordon.alarm/v1" {
		t.Errorf("got %s, %v", body, err)
	}
	for _, status = range []int{301, 307, 400, 401, 500, 503} {
		if err := w.Send(t.Context(), a); err == nil || !strings.Contains(err.Error(), fmt.Sprint(status)) || got.URL.Path != "/T0KEN" {
			t.Errorf("answered with %d: %v, at %s", status, err, got.URL)
		}
	}

	// What keeps it from being sent, without the path in the error: it may be a secret.
	status = http.StatusOK
	for what, breaks := range map[string]func(w *Webhook){
		"other roots": func(w *Webhook) { w.TrustFile = "" },
		"no roots":    func(w *Webhook) { keep(t, w.TrustFile, "none") },
		"no secret":   func(w *Webhook) { w.SecretFile = filepath.Join(t.TempDir(), "secret") },
		"bad secret":  func(w *Webhook) { keep(t, w.SecretFile, "secret") },
		"long secret": func(w *Webhook) { keep(t, w.SecretFile, strings.Repeat("x", 2000)) },
	} {
		other, _ := hook(t, func(http.ResponseWriter, *http.Request) {})
		breaks(other)
		if err := other.Send(t.Context(), a); err == nil || strings.Contains(err.Error(), "T0KEN") {
			t.Errorf("%s: %v", what, err)
		}
	}
	server.Close()
	if err := w.Send(t.Context(), a); err == nil || strings.Contains(err.Error(), "T0KEN") {
		t.Errorf("nobody is there: %v", err)
	}
}

// fickle is a channel that fails as long as it is told to.
type fickle struct {
	broken chan bool // whether the next fails
	got    chan string
}

func (*fickle) Name() string { return "fickle" }

func (f *fickle) Send(ctx context.Context, a *Alarm) error {
	select {
	case broken := <-f.broken:
		if broken {
			return errors.New("down")
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	f.got <- a.ID
	return nil
}

func raise(t *testing.T, s *Spool, ids ...string) {
	t.Helper()
	for _, id := range ids {
		a := example()
		a.ID = id
		if err := s.Raise(a); err != nil {
			t.Fatal(err)
		}
	}
}

// run delivers until the test says so.
func run(t *testing.T, s *Spool) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { s.Run(ctx); close(done) }()
	return func() { cancel(); <-done }
}

// An alarm outlives failures of its channel, and a process that ends; the order stays.
func TestSpool(t *testing.T) {
	dir := t.TempDir()
	f := &fickle{make(chan bool), make(chan string, 10)}
	quiet := slog.New(slog.DiscardHandler)
	s, err := Open(dir, []Channel{f}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	raise(t, s, "one", "two")
	stop := run(t, s)
	f.broken <- true
	f.broken <- true
	stop()
	// Another process, with a file that somebody has broken.
	keep(t, filepath.Join(dir, "fickle", fmt.Sprintf("%020d.json", 7)), "{")
	keep(t, filepath.Join(dir, "fickle", ".new-7"), "{")
	if waiting, oldest, err := Waiting(dir, []Channel{f}); err != nil || waiting["fickle"] != 3 || oldest.UnixNano() != 7 {
		t.Errorf("waiting %v since %v, %v", waiting, oldest, err)
	}
	if s, err = Open(dir, []Channel{f}, quiet); err != nil {
		t.Fatal(err)
	}
	raise(t, s, "three")
	stop = run(t, s)
	for _, want := range []string{"one", "two", "three"} {
		f.broken <- false
		if got := <-f.got; got != want {
			t.Errorf("delivered %s, want %s", got, want)
		}
	}
	raise(t, s, "four")
	f.broken <- false
	if got := <-f.got; got != "four" {
		t.Errorf("delivered %s", got)
	}
	stop()
	if waiting, _, err := Waiting(dir, []Channel{f}); err != nil || waiting["fickle"] > 1 {
		t.Errorf("waiting %v, %v", waiting, err)
	}
}

// One channel that is down does not keep another from its alarms.
func TestChannelsApart(t *testing.T) {
	down := &fickle{make(chan bool), make(chan string, 1)}
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	up, err := ParseSyslog("tcp://" + server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.TempDir(), []Channel{down, up}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer run(t, s)()
	raise(t, s, "one")
	c, err := server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if line, _ := bufio.NewReader(c).ReadString(']'); !strings.Contains(line, `id="one"`) {
		t.Errorf("got %q", line)
	}
}

// Of too many the oldest is dropped.
func TestSpoolBound(t *testing.T) {
	dir := t.TempDir()
	f := &fickle{make(chan bool), make(chan string, 1)}
	s, err := Open(dir, []Channel{f}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxWaiting {
		keep(t, filepath.Join(dir, "fickle", fmt.Sprintf("%020d.json", i+1)), "{}")
	}
	raise(t, s, "new")
	if waiting, oldest, err := Waiting(dir, []Channel{f}); err != nil || waiting["fickle"] != maxWaiting || oldest.UnixNano() != 2 {
		t.Errorf("waiting %v since %d, %v", waiting, oldest.UnixNano(), err)
	}
}

// What the disk does not take is delivered all the same.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	f := &fickle{make(chan bool), make(chan string, 1)}
	s, err := Open(dir, []Channel{f}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for range maxLoose + 3 {
		if err := s.Raise(example()); err == nil {
			t.Error("an alarm is kept, and there is no disk")
		}
	}
	defer run(t, s)()
	f.broken <- true
	for range maxLoose {
		f.broken <- false
		if got := <-f.got; got != example().ID {
			t.Errorf("delivered %s", got)
		}
	}
}

// watchers returns how many wait for attempts.
func watchers(s *Spool) (n int) {
	for _, l := range s.lines {
		l.mu.Lock()
		n += len(l.watchers)
		l.mu.Unlock()
	}
	return n
}

// Who waits for an alarm hears of it, of one before it that fails, and not for ever.
func TestTell(t *testing.T) {
	f := &fickle{make(chan bool, 10), make(chan string, 10)}
	s, err := Open(t.TempDir(), []Channel{f}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer run(t, s)()
	tell := func(id string, within time.Duration) error {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		a := example()
		a.ID = id
		came, err := s.Tell(ctx, a)
		if len(came) != 1 || err != nil {
			t.Fatalf("told %v, %v", came, err)
		}
		return came["fickle"]
	}
	f.broken <- false
	if err := tell("one", patience); err != nil {
		t.Errorf("delivered, and told %v", err)
	}
	raise(t, s, "before")
	var told sync.WaitGroup
	told.Go(func() {
		for end := time.Now().Add(patience); watchers(s) == 0 && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		f.broken <- true // only now: a failure that nobody waits for tells nobody
	})
	defer told.Wait()
	if err := tell("two", patience); err == nil || err.Error() != "down" {
		t.Errorf("one before it failed, and told %v", err)
	}
	if err := tell("three", 10*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nothing was tried, and told %v", err)
	}
	for range 3 {
		f.broken <- false
	}
	for _, want := range []string{"one", "before", "two", "three"} {
		if got := <-f.got; got != want {
			t.Errorf("delivered %s, want %s", got, want)
		}
	}
	if watchers(s) > 0 {
		t.Error("somebody still waits")
	}
	got := s.Attempts()["fickle"]
	for end := time.Now().Add(patience); got.Sent < 4 && time.Now().Before(end); got = s.Attempts()["fickle"] {
		time.Sleep(time.Millisecond) // the last one is counted behind its delivery
	}
	if got != (Attempts{4, 1}) {
		t.Errorf("attempts %+v", got)
	}
}

package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/revision"
	"cordon/policy"
	"cordon/policy/rego"
)

// tellBundles feeds a running gateway signed policies, most of which it must not take.
func tellBundles(t *testing.T, cordon string) {
	t.Run("refused", func(t *testing.T) { bundlesRefused(t, cordon) })
	t.Run("served", func(t *testing.T) { bundlesServed(t, cordon) })
	t.Run("in turn", func(t *testing.T) { bundlesInTurn(t, cordon) })
	t.Run("under load", func(t *testing.T) { rightsFlipped(t, cordon, true) })
	t.Run("a folder under load", func(t *testing.T) { rightsFlipped(t, cordon, false) })
}

// policyFiles are the site's policy folder, as files of a bundle.
func (s *site) policyFiles(t *testing.T) files {
	t.Helper()
	f := files{}
	folder := filepath.Join(s.gw(), "policy")
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".rego") || e.Name() == "data.yaml" {
			text, err := os.ReadFile(filepath.Join(folder, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			f[e.Name()] = string(text)
		}
	}
	return f
}

// bundlesRefused offers bad bundles to a gateway whose clients go on all the while.
func bundlesRefused(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.issueStaff(t)
	_, port, _ := net.SplitHostPort(s.device.address())
	// Its profile relies on a patch, which the small policies of bad bundles lack.
	s.must(t, "device", "add", "mon-8", "--dir", s.gw(), "--profile", "philips-intellivue", "--protocol", "hl7",
		"--address", "127.0.0.1", "--port", port, "--listen", freeAddress(t))
	p := newPublisher(t)
	s.useBundles(t, p, "bundles", "24h")
	good := p.publish(t, s.policyFiles(t), inForceRevision)
	s.offer(t, good)
	d := s.serve(t)
	c := s.chatter(t, "engine", 2, 5*time.Millisecond)
	c.gap.Store(0)
	for range 50 {
		c.next(t)
	}
	before := time.Duration(c.gap.Load())
	bad := badBundles()
	var slowest time.Duration
	var by string
	for _, b := range bad {
		s.offer(t, b.make(t, p))
		c.gap.Store(0)
		done, err := askReload(t.Context(), filepath.Join(s.gw(), "state"))
		f, refused := errors.AsType[exit.Error](err)
		switch {
		case err != nil && !refused:
			t.Fatalf("%s: %v", b.name, err)
		case !refused:
			t.Errorf("%s: taken as %+v, want the refusal %s", b.name, done.Bundle, b.code)
		case f.Code != b.code:
			t.Errorf("%s: refused with %s (%s), want %s", b.name, f.Code, f.Message, b.code)
		case len(f.Message) < 8 || strings.Contains(f.Message, "\n"):
			t.Errorf("%s: refused with the words %q", b.name, f.Message)
		}
		c.next(t)
		if gap := time.Duration(c.gap.Load()); gap > slowest {
			slowest, by = gap, b.name
		}
	}
	c.end()
	if c.refused.Load() > 0 || c.ended.Load() > 2 {
		t.Errorf("%d messages were refused and %d sessions ended", c.refused.Load(), c.ended.Load()-2)
	}
	t.Logf("%d bad bundles, %d messages answered meanwhile, %v between two answers at most (%s); %v before the first", len(bad), c.answered.Load(), slowest, by, before)

	// The old one is in force, now and after a restart, which does not ask the source.
	status := s.bundleStatus(t)
	if status.InForce.Revision != inForceRevision || status.Refused != len(bad) || status.Last == nil || status.Last.Code != "bundle.revision.reused" {
		t.Errorf("the status is %+v %+v", status, status.InForce)
	}
	if n := strings.Count(d.logged(), "bundle refused"); n != len(bad) {
		t.Errorf("%d lines of the log say that a bundle was refused, want %d", n, len(bad))
	}
	d.stop(t)
	if n := strings.Count(s.must(t, "audit", "tail", "-n", "100000", "--dir", s.gw()), "refused: bundle "); n != len(bad) {
		t.Errorf("%d entries say that a bundle was refused, want %d", n, len(bad))
	}
	s.must(t, "audit", "verify", "--dir", s.gw())
}

// bundleStatusJSON is what cordon policy bundle status --json says.
type bundleStatusJSON struct {
	InForce *revision.Chosen `json:"in_force"`
	Kept    []uint64
	revision.BundleStatus
}

func (s *site) bundleStatus(t *testing.T) (out bundleStatusJSON) {
	t.Helper()
	if err := json.Unmarshal([]byte(s.must(t, "policy", "bundle", "status", "--json", "--dir", s.gw())), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// talk is clients that send results as fast as they are answered, until it ends. One whose
// session ends dials again.
type talk struct {
	clients                  int
	pause                    time.Duration // behind each answer
	talking                  sync.WaitGroup
	answered, refused, ended atomic.Int64
	gap                      atomic.Int64 // ns, the longest between two answers to one client
	enough                   atomic.Bool

	mu    sync.Mutex
	codes []string // of the refusals
}

func (s *site) chatter(t *testing.T, badge string, clients int, pause time.Duration) *talk {
	t.Helper()
	c := &talk{clients: clients, pause: pause}
	as := s.badge(t, badge)
	for i := range clients {
		c.talking.Go(func() {
			for n := 0; !c.enough.Load(); c.ended.Add(1) {
				if conn, err := tls.Dial("tcp", s.listen, as); err == nil {
					n = c.send(conn, fmt.Sprintf("%s-%d", badge, i), n)
					conn.Close()
				}
			}
		})
	}
	t.Cleanup(c.end)
	c.next(t)
	return c
}

// send sends message after message from number n, and returns the number of the last.
func (c *talk) send(conn net.Conn, name string, n int) int {
	buf := make([]byte, 4096)
	last := time.Now()
	for ; !c.enough.Load(); n++ {
		time.Sleep(c.pause)
		if _, err := io.WriteString(conn, framed(message("ORU^R01", fmt.Sprintf("%s-%d", name, n), "2.5.1"))); err != nil {
			return n
		}
		answer := ""
		for !strings.HasSuffix(answer, "\x1c\r") {
			got, err := conn.Read(buf)
			if err != nil {
				return n
			}
			answer += string(buf[:got])
		}
		now := time.Now()
		if gap := int64(now.Sub(last)); gap > c.gap.Load() {
			c.gap.Store(gap)
		}
		last = now
		if !strings.Contains(answer, "\rMSA|AA|") {
			c.refused.Add(1)
			c.mu.Lock()
			c.codes = append(c.codes, decisionCode.FindString(answer))
			c.mu.Unlock()
		}
		c.answered.Add(1)
	}
	return n
}

// next waits until as many more messages are answered as there are clients, and one.
func (c *talk) next(t *testing.T) {
	t.Helper()
	before := c.answered.Load()
	if !eventually(func() bool { return c.answered.Load() > before+int64(c.clients) }) {
		t.Fatal("clients are not answered")
	}
}

// end waits for the last answers.
func (c *talk) end() {
	c.enough.Store(true)
	c.talking.Wait()
}

// flipping is a policy under which everybody may connect and an engine may write; a nurse
// may as data says.
var flipping = files{
	"cordon.rego": `package cordon

default allow := false

allow if input.phase == "connect"

allow if input.subject.id == "oie"

allow if {
	input.subject.id == "nurse.ito"
	data.nurse
}
`,
	"cordon_test.rego": `package cordon_test

import data.cordon

test_engine if cordon.allow with input as {"phase": "operation", "subject": {"id": "oie"}}

test_nurse if cordon.allow with input as {"phase": "operation", "subject": {"id": "nurse.ito"}} with data.nurse as true
`,
	"data.json": `{"nurse": true}`,
}

// rightsFlipped replaces the policy a hundred times under load, each time with the nurse's
// right turned round. Every answer agrees with the policy that its entry names.
func rightsFlipped(t *testing.T, cordon string, bundled bool) {
	const reloads = 100
	s := newSite(t, cordon)
	s.issueStaff(t)
	p := newPublisher(t)
	var offers []rego.Delivery
	data := [2]string{`{"nurse": true}`, `{"nurse": false}`}
	folder := filepath.Join(s.gw(), "policy")
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range flipping {
		s.write(t, filepath.Join("gw/policy", name), text)
	}
	if bundled {
		for n := range reloads + 1 {
			offers = append(offers, p.publish(t, flipping.with("data.json", data[n%2]), int64(n+1)))
		}
		s.useBundles(t, p, "bundles", "24h")
		s.offer(t, offers[0])
		// The folder is not what decides: no bundle says this.
		s.write(t, "gw/policy/cordon.rego", "package cordon\n\ndefault allow := false\n")
	}
	d := s.serve(t)
	engine, nurse := s.chatter(t, "engine", 2, 0), s.chatter(t, "nurse", 2, 0)
	digests := map[string]bool{} // whether a nurse may, by the digest of the data
	began := time.Now()
	for n := range reloads + 1 {
		if n > 0 {
			if bundled {
				s.offer(t, offers[n])
			} else {
				s.write(t, "gw/policy/data.json", data[n%2])
			}
		}
		done, err := askReload(t.Context(), filepath.Join(s.gw(), "state"))
		if err != nil || done.Changed != (n > 0) || bundled && done.Bundle.Revision != uint64(n+1) {
			t.Fatalf("reload %d: %+v, %v", n, done, err)
		}
		digests[done.Data] = n%2 == 0
	}
	took := time.Since(began)
	engine.next(t)
	nurse.next(t)
	gap := max(engine.gap.Load(), nurse.gap.Load())
	for _, c := range []*talk{engine, nurse} {
		c.end()
	}
	if code := d.stop(t); code != exit.Done {
		t.Errorf("the gateway exited with %d", code)
	}
	// A nurse's session may end: what she is just sending is asked again, and refused.
	if engine.refused.Load() > 0 || engine.ended.Load() > 2 {
		t.Errorf("%d messages of the engine were refused and %d of its sessions ended", engine.refused.Load(), engine.ended.Load()-2)
	}
	refusals := map[string]bool{}
	byPolicy := map[string]int{}
	for line := range strings.Lines(s.must(t, "audit", "tail", "--json", "-n", "1000000", "--dir", s.gw())) {
		var e entryJSON
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if e.Kind != "decision" {
			continue
		}
		var asked struct {
			Phase   policy.Phase
			Subject struct{ ID string }
		}
		if err := json.Unmarshal(e.Input, &asked); err != nil {
			t.Fatal(err)
		}
		may, known := digests[e.Data]
		want := may || asked.Subject.ID == "oie" || asked.Phase == policy.PhaseConnect
		if !known || e.Allow != want {
			t.Errorf("decided by data that says %v: %s", may, line)
		}
		byPolicy[e.Data]++
		if !e.Allow {
			refusals[e.Code] = true
		}
	}
	for _, code := range nurse.codes {
		if !refusals[code] {
			t.Errorf("the nurse was refused with %q, which the log does not have as a refusal", code)
		}
	}
	if len(nurse.codes) == 0 || int64(len(nurse.codes)) == nurse.answered.Load() || len(byPolicy) != 2 {
		t.Errorf("%d of %d messages of the nurse were refused, by %d editions of the data: nothing is shown", len(nurse.codes), nurse.answered.Load(), len(byPolicy))
	}
	t.Logf("%d reloads in %v: %d messages of the engine, %d of the nurse, of which %d refused; %v between two answers at most",
		reloads, took, engine.answered.Load(), nurse.answered.Load(), len(nurse.codes), time.Duration(gap))
}

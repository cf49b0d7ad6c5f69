package main

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cordon/cmd/cordon/exit"
	"cordon/deploy/astm"
)

// laboratoryPolicy is what a site adds to the default policy, by which the host may order
// and not cancel, and the analyser send it results: of these tests alone.
const laboratoryPolicy = `package cordon

patched contains "other-tests" if {
	input.session.direction == "outbound"
	input.service.protocol == "astm"
	some test in input.operation.attributes.tests
	not test in {"GLU", "NA"}
}
`

// tapped is a connection of which every byte is kept.
type tapped struct {
	net.Conn
	mu             sync.Mutex
	received, sent bytes.Buffer
}

func (c *tapped) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.received.Write(b[:n])
	return n, err
}

func (c *tapped) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent.Write(b[:n])
	return n, err
}

// said returns what was received and sent so far.
func (c *tapped) said() (received, sent string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.received.String(), c.sent.String()
}

// laboratory is a site whose device is the simulated analyser. No program that speaks ASTM
// as either side is kept well enough to be installed, so this one of ours is the peer. It
// shares no code with the inspector.
type laboratory struct {
	*site
	visits chan *tapped // connections the analyser has accepted
}

func newLaboratory(t *testing.T, cordon string, settings ...string) laboratory {
	t.Helper()
	lab := laboratory{emptySite(t, cordon), make(chan *tapped, 16)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() { l.Close(); serving.Wait() })
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(2 * patience))
			visit := &tapped{Conn: c}
			lab.visits <- visit
			serving.Go(func() {
				defer c.Close()
				astm.Analyse(&astm.Line{Conn: visit, Text: 40}) // until the host hangs up
			})
		}
	})
	_, port, _ := net.SplitHostPort(l.Addr().String())
	lab.add(t, "bga-1", "analyser/blood-gas", "astm", port, settings...)
	if err := os.WriteFile(filepath.Join(lab.gw(), "policy", "laboratory.rego"), []byte(laboratoryPolicy), 0o644); err != nil {
		t.Fatal(err)
	}
	lab.issueStaff(t)
	return lab
}

// visit connects a host to the analyser and returns both ends.
func (lab laboratory) visit(t *testing.T, badge string) (host *astm.Line, near, far *tapped) {
	t.Helper()
	near = &tapped{Conn: lab.dial(t, badge)}
	host = &astm.Line{Conn: near}
	select {
	case far = <-lab.visits:
	case <-time.After(patience):
		t.Fatal("the analyser sees no connection")
	}
	return host, near, far
}

// tellASTM has a host order, cancel and send what nobody may, and the analyser answer
// with results, one of which it may not send.
func tellASTM(t *testing.T, cordon string) {
	lab := newLaboratory(t, cordon)
	d := lab.serve(t)
	host, near, far := lab.visit(t, "engine")

	// Orders and results pass as they are, in frames of either side's own length.
	order := astm.Order("100123", "S-55", false, "GLU", "NA")
	if err := host.Send(order...); err != nil {
		t.Fatal(err)
	}
	results, err := host.Receive()
	if want := []string{"P|1|100123", `O|1|S-55||^^^GLU\^^^NA`, "R|1|^^^GLU|90|mg/dL||N||F", "R|2|^^^NA|91|mg/dL||N||F", "L|1|N"}; err != nil || !slices.Equal(results[1:], want) {
		t.Fatalf("the results are %q, %v", results, err)
	}
	same := func(what string) {
		t.Helper()
		if !eventually(func() bool {
			received, sent := far.said()
			heard, said := near.said()
			return received == said && sent == heard
		}) {
			received, sent := far.said()
			heard, said := near.said()
			t.Fatalf("%s: the host said\n%q, the analyser heard\n%q; it said\n%q, the host heard\n%q", what, said, received, sent, heard)
		}
	}
	same("order and results")

	// What is refused ends like any frame that is not accepted; the analyser is told EOT and
	// discards what it has of the message. The connection goes on.
	refused := func(what, entry string, message ...string) {
		t.Helper()
		before, _ := far.said()
		if err := host.Send(message...); !errors.Is(err, astm.ErrRefused) {
			t.Fatalf("%s: the host hears %v, want a refusal", what, err)
		}
		lab.explained(t, lab.firstRefusal(t, entry), entry, "bga-1", "service/oie")
		if !eventually(func() bool {
			received, _ := far.said()
			return strings.HasSuffix(received, "\x04") && received != before
		}) {
			t.Errorf("%s: the analyser is not told EOT", what)
		}
		if received, _ := far.said(); strings.Contains(received[len(before):], message[2]) || strings.Contains(received[len(before):], "L|1") {
			t.Errorf("%s: the analyser hears %q", what, received[len(before):])
		}
	}
	cancel := astm.Order("100123", "S-55", true, "GLU")
	refused("cancel", "astm:O", cancel...)
	refused("vendor's own", "astm:M", cancel[0], cancel[1], "M|1|SERVICE|RESET", cancel[3])
	refused("unknown", "astm:unknown", cancel[0], cancel[1], "Z|1|", cancel[3])

	// A result that may not be sent is refused to the analyser, which is told NAK.
	if err := host.Send(astm.Order("100123", "S-56", false, "GLU", "TROP")...); err != nil {
		t.Fatal(err)
	}
	if results, err := host.Receive(); !errors.Is(err, astm.ErrIncomplete) {
		t.Fatalf("the host hears %q, %v, want half a message", results, err)
	}
	if received, _ := far.said(); !strings.HasSuffix(received, strings.Repeat("\x15", 6)) {
		t.Errorf("the analyser hears %q", received)
	}
	if heard, _ := near.said(); strings.Contains(heard, "TROP|") {
		t.Errorf("the host hears %q", heard)
	}
	if err := host.Send(order...); err != nil {
		t.Fatal(err)
	}
	if results, err := host.Receive(); err != nil || results[2] != `O|1|S-55||^^^GLU\^^^NA` {
		t.Errorf("the results behind the refused ones are %q, %v", results, err)
	}
	if code := d.stop(t); code != exit.Done {
		t.Errorf("the gateway exited with %d", code)
	}
}

// tellASTMStranger has somebody try who may not use the analyser at all.
func tellASTMStranger(t *testing.T, cordon string) {
	lab := newLaboratory(t, cordon)
	lab.serve(t)
	near := &tapped{Conn: lab.dial(t, "nurse")}
	err := (&astm.Line{Conn: near}).Send(astm.Order("100123", "S-55", false, "GLU")...)
	if !errors.Is(err, astm.ErrRefused) {
		t.Fatalf("the stranger hears %v, want a refusal", err)
	}
	if heard, _ := near.said(); heard != "\x06"+strings.Repeat("\x15", 6) {
		t.Errorf("the stranger hears %q", heard)
	}
	if len(lab.visits) > 0 {
		t.Error("the analyser sees a connection")
	}
	lab.explained(t, lab.firstRefusal(t, "astm:ENQ"), "astm:ENQ", "user/nurse.ito")
}

// firstRefusal returns the code of the latest refusal of an operation that was not refused
// for being a repetition.
func (s *site) firstRefusal(t *testing.T, operation string) string {
	t.Helper()
	code := ""
	for line := range strings.Lines(s.must(t, "audit", "tail", "-n", "20", "--dir", s.gw())) {
		if strings.Contains(line, " DENY ") && strings.Contains(line, operation) && (code == "" || !strings.Contains(line, "has not accepted")) {
			code = decisionCode.FindString(line)
		}
	}
	return code
}

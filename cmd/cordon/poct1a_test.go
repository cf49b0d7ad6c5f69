package main

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cordon/deploy/poct"
)

// pointOfCarePolicy is what a site adds to the default policy: biomedical engineering locks and
// unlocks an analyser, and a manager asks the analysers that call it for their results.
const pointOfCarePolicy = `package cordon

allow if {
	input.phase == "operation"
	input.service.protocol == "poct1a"
	input.session.direction == "outbound"
	in_use
	unpatched
	served
	input.operation.attributes.sender == "manager"
	input.operation.class == "query"
}

allow if {
	input.phase == "operation"
	input.service.protocol == "poct1a"
	in_use
	unpatched
	"biomed" in roles
	input.operation.attributes.command in {"LOCK", "UNLOCK"}
	input.operation.class == "admin"
}
`

// conversations are what the device of a site takes part in.
type conversations struct {
	listener net.Listener
	serving  sync.WaitGroup
	heard    chan []string // of each conversation that has ended
}

// converse listens as a device, and holds a conversation on each connection.
func converse(t *testing.T, hold func(*poct.Conn) []string) *conversations {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &conversations{listener: l, heard: make(chan []string, 16)}
	c.serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.serving.Go(func() {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(patience))
				c.heard <- hold(poct.NewConn(conn, 100))
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		c.serving.Wait()
	})
	return c
}

// want fails unless the next conversation that ends went so. "REFUSED" stands for a note
// with a decision code.
func (c *conversations) want(t *testing.T, heard ...string) {
	t.Helper()
	select {
	case got := <-c.heard:
		for i, line := range got {
			if code, note, ok := strings.Cut(line, " Refused "); ok && decisionCode.MatchString(note) {
				got[i] = code + " REFUSED"
			}
		}
		if !slices.Equal(got, heard) {
			t.Errorf("the device heard\n%q, want\n%q", got, heard)
		}
	case <-time.After(patience):
		t.Error("the device's conversation does not end")
	}
}

// written is a connection that remembers what was written to it.
type written struct {
	net.Conn
	text []string
}

func (w *written) Write(b []byte) (int, error) {
	w.text = append(w.text, string(b))
	return w.Conn.Write(b)
}

// call opens a conversation with the device of a site.
func (s *site) call(t *testing.T, badge string) (*poct.Conn, *written) {
	t.Helper()
	conn, err := net.Dial("tcp", "127.0.0.1:"+s.tunnel(t, badge))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	w := &written{Conn: conn}
	return poct.NewConn(w, 4000), w
}

// newPOCTSite makes a gateway in front of a device that speaks POCT1-A on address.
func newPOCTSite(t *testing.T, cordon, class, address string) (*site, *tap) {
	t.Helper()
	s := emptySite(t, cordon)
	p := newTap(t, address)
	s.add(t, "gas-1", class, "poct1a", p.port())
	s.write(t, "gw/policy/poct1a.rego", pointOfCarePolicy)
	s.inPolicy(t, `{"query", "read", "write", "notify"}`, `{"query", "write"}`) // no events
	s.issueStaff(t)
	s.issue(t, "biomed", "--user", "tech.ray", "--role", "biomed")
	s.issue(t, "meter", "--device", "meter-9", "--role", "device")
	s.untested(t)
	return s, p
}

// refusedWith fails unless an answer refuses, with a code that leads to the operation.
func (s *site) refusedWith(t *testing.T, got poct.Answer, err error, operation string) {
	t.Helper()
	if err != nil || got.Code != "AE" {
		t.Errorf("%s is answered %+v (%v), want AE", operation, got, err)
		return
	}
	s.explained(t, decisionCode.FindString(got.Note), "DENY "+operation)
}

// tellAnalyser: an analyser waits to be called by managers. Both are poct's, as no program
// that speaks POCT1-A can be installed.
func tellAnalyser(t *testing.T, cordon string) {
	gas := poct.Analyser{Serial: "S1", Results: []poct.Result{{Patient: "4711", Observation: "2339-0", Value: "107"}, {Patient: "4712", Observation: "2947-0", Value: "141"}}}
	analyser := converse(t, func(c *poct.Conn) []string {
		told, _ := gas.Serve(c)
		return told
	})
	s, device := newPOCTSite(t, cordon, "analyser/blood-gas", analyser.listener.Addr().String())
	d := s.serve(t)

	// What may pass arrives as it was sent.
	manager, sent := s.call(t, "biomed")
	hello, err := manager.Greeted()
	if serial := hello.Get("DEV.serial_id"); err != nil || serial != "S1" {
		t.Fatalf("the analyser says it is %q (%v)", serial, err)
	}
	results, err := manager.Results()
	if err != nil || len(results) != 2 || results[1].Get("OBS.value") != "141" || results[1].Get("PT.patient_id") != "4712" {
		t.Errorf("the results are %+v (%v)", results, err)
	}
	if got, err := manager.Direct("LOCK"); err != nil || got.Code != "AA" {
		t.Errorf("LOCK is answered %+v (%v)", got, err)
	}
	vendor := func(c *poct.Conn) (poct.Answer, error) {
		return c.Ask("DTV.DEMO.UPDATE", poct.Object("DTV", poct.Field("DTV.command_cd", "FIRMWARE")))
	}
	passed := len(sent.text)
	got, err := vendor(manager)
	s.refusedWith(t, got, err, "poct1a:DTV.DEMO.UPDATE")
	got, err = manager.Direct("REBOOT")
	s.refusedWith(t, got, err, "poct1a:DTV.R01")
	got, err = manager.Ask("OPL.R01", poct.Object("OPR", poct.Field("OPR.operator_id", "5047")))
	s.refusedWith(t, got, err, "poct1a:OPL.R01")
	refused := len(sent.text)
	if got, err := manager.Direct("UNLOCK"); err != nil || got.Code != "AA" {
		t.Errorf("UNLOCK is answered %+v (%v)", got, err)
	}
	if _, err := manager.Send("END.R01", poct.Object("TRM", poct.Field("TRM.reason_cd", "NRM"))); err != nil {
		t.Error(err)
	}
	analyser.want(t, "HEL.R01 AA ", "DST.R01 AA ", "ROBS", "OBS.R01 AA ", "OBS.R01 AA ", "LOCK", "UNLOCK", "END NRM")
	if got, want := device.take(), strings.Join(slices.Concat(sent.text[:passed], sent.text[refused:]), ""); got != want {
		t.Errorf("the device received\n%q, want\n%q", got, want)
	}

	// An interface engine asks, and directs nothing.
	manager, _ = s.call(t, "engine")
	if _, err := manager.Greeted(); err != nil {
		t.Fatal(err)
	}
	got, err = manager.Direct("LOCK")
	s.refusedWith(t, got, err, "poct1a:DTV.R01")
	if results, err := manager.Results(); err != nil || len(results) != 2 {
		t.Errorf("the results are %+v (%v)", results, err)
	}
	manager.Send("END.R01", poct.Object("TRM", poct.Field("TRM.reason_cd", "NRM")))
	analyser.want(t, "HEL.R01 AA ", "DST.R01 AA ", "ROBS", "OBS.R01 AA ", "OBS.R01 AA ", "END NRM")

	// An event is refused, toward the device.
	gas.Events = []string{"Door open"}
	manager, _ = s.call(t, "engine")
	if _, err := manager.Greeted(); err != nil {
		t.Fatal(err)
	}
	if results, err := manager.Results(); err != nil || len(results) != 2 {
		t.Errorf("with an event, the results are %+v (%v)", results, err)
	}
	manager.Send("END.R01", poct.Object("TRM", poct.Field("TRM.reason_cd", "NRM")))
	analyser.want(t, "HEL.R01 AA ", "DST.R01 AA ", "ROBS", "OBS.R01 AA ", "OBS.R01 AA ", "EVS.R01 AE REFUSED", "END NRM")

	// A directive hidden behind a comment, where a device that searches would find it.
	manager, sent = s.call(t, "biomed")
	if _, err := manager.Greeted(); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(sent, `<KPA.R01><HDR><HDR.control_id V="9"/></HDR><!--</KPA.R01><DTV.DEMO.UPDATE>--></KPA.R01>`)
	for _, kind := range []string{"ACK.R01", "END.R01"} {
		if m, err := manager.Receive(); err != nil || m.Kind() != kind {
			t.Errorf("a comment is answered by %+v (%v), want %s", m, err, kind)
		}
	}
	if got := device.take(); strings.Contains(got, "UPDATE") {
		t.Errorf("the device received %q", got)
	}
	analyser.want(t, "HEL.R01 AA ", "DST.R01 AA ")
	d.stop(t)
}

// tellManager: a data manager is the device, and analysers call it.
func tellManager(t *testing.T, cordon string) {
	manager := converse(t, func(c *poct.Conn) []string {
		var heard []string
		if _, err := c.Greeted(); err != nil {
			return []string{err.Error()}
		}
		results, err := c.Results()
		for i := range results {
			heard = append(heard, results[i].Get("PT.patient_id")+" "+results[i].Get("OBS.value"))
		}
		if err == nil {
			var got poct.Answer
			got, err = c.Direct("UPDATE")
			heard = append(heard, "UPDATE "+got.Code+" "+got.Note)
		}
		if err == nil {
			_, err = c.Send("END.R01", poct.Object("TRM", poct.Field("TRM.reason_cd", "NRM")))
		}
		if err != nil {
			heard = append(heard, err.Error())
		}
		return heard
	})
	s, _ := newPOCTSite(t, cordon, "analyser/data-manager", manager.listener.Addr().String())
	d := s.serve(t)
	gas := poct.Analyser{Serial: "S9", Results: []poct.Result{{Patient: "4711", Observation: "2339-0", Value: "107"}}}
	analyser, _ := s.call(t, "meter")
	told, err := gas.Serve(analyser)
	if want := []string{"HEL.R01 AA ", "DST.R01 AA ", "ROBS", "OBS.R01 AA ", "END NRM"}; err != nil || !slices.Equal(told, want) {
		t.Errorf("the analyser is told %q (%v), want %q", told, err, want)
	}
	manager.want(t, "4711 107", "UPDATE AE REFUSED")

	// Biomedical engineering may open a conversation there, and report nothing.
	analyser, _ = s.call(t, "biomed")
	told, err = gas.Serve(analyser)
	if n := len(told); err != nil || n != 5 || !strings.HasPrefix(told[3], "OBS.R01 AE Refused ") {
		t.Errorf("the wrong analyser is told %q (%v)", told, err)
	} else {
		s.explained(t, decisionCode.FindString(told[3]), "DENY poct1a:OBS.R01")
	}
	d.stop(t)
}

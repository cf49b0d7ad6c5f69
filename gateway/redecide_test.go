package gateway

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cordon/certs"
	"cordon/gateway/audit"
	"cordon/policy"
)

// without allows everything but what a role asks, or an operation whose name ends so.
func without(refused string) decider {
	return func(r *policy.Request) policy.Decision {
		if slices.Contains(r.Subject.Roles, refused) || strings.HasSuffix(r.Operation.Name, ":"+refused) {
			return policy.Decision{Reason: "no " + refused + " any more", Cause: policy.CausePolicy}
		}
		return policy.Decision{Allow: true, Cause: policy.CausePolicy}
	}
}

// ended returns the entries of live sessions that were ended, once there are n: a session may
// end before that is recorded.
func (w *ward) ended(t *testing.T, n int) (list []audit.Entry) {
	t.Helper()
	r, err := audit.OpenReader(w.logDir)
	if err != nil {
		t.Fatal(err)
	}
	eventually(func() bool {
		list = nil
		for e, err := range r.Entries(0, math.MaxInt64) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Note == "ended a live session" {
				list = append(list, e)
			}
		}
		return len(list) >= n
	})
	return list
}

// settle waits until plugins have been shown all that has arrived, so that replies are known as such.
func (w *ward) settle() {
	w.t.Helper()
	if !eventually(func() bool {
		return !slices.ContainsFunc(w.gateway.live(), func(s *session) bool { return unshown(&flip{session: s}) })
	}) {
		w.t.Fatal("a plugin does not say what the bytes belong to")
	}
}

// established dials and has one operation answered.
func (w *ward) established(roles ...string) *peer {
	w.t.Helper()
	c := w.dial(roles...)
	c.send("first\n")
	c.expect("ok first")
	return c
}

// Of many sessions those end whose verdict flips, each with an entry; the others go on.
func TestFewOfMany(t *testing.T) {
	sessions, flips := 400, 10
	if os.Getenv("CORDON_SOAK") != "" {
		sessions = 2000
	}
	w := newWard(t, wardConfig{limits: Limits{SessionsPerSource: sessions}})
	w.gateway.grace = patience // none is cut, each ends by itself
	stay := w.ca.client(t, "user", "dr.kim", []string{"physician"}, time.Hour)
	leave := w.ca.client(t, "user", "guest", []string{"visitor"}, time.Hour)
	all := make([]*peer, sessions)
	goes := func(i int) bool { return i%(sessions/flips) == 7 }
	inParallel(sessions, func(i int) {
		who := stay
		if goes(i) {
			who = leave
		}
		c, err := tls.Dial("tcp", w.address, certs.ClientConfig(w.ca.pool, who, "localhost"))
		if err != nil {
			t.Error(err)
			return
		}
		c.SetDeadline(time.Now().Add(2 * patience))
		all[i] = &peer{t, c}
		all[i].exchange("first")
	})
	if t.Failed() {
		t.FailNow()
	}
	t.Cleanup(func() {
		for _, c := range all {
			c.Close()
		}
	})

	began := time.Now()
	var slowest time.Duration
	var mu sync.Mutex
	var leaving sync.WaitGroup
	for i, c := range all {
		if goes(i) {
			leaving.Go(func() {
				if got, err := io.ReadAll(c); err != nil || len(got) > 0 {
					t.Errorf("a session that is refused now got %q and %v, not a proper end", got, err)
				}
				mu.Lock()
				slowest = max(slowest, time.Since(began))
				mu.Unlock()
			})
		}
	}
	// What is on its way while all are asked comes back.
	var busy sync.WaitGroup
	busy.Go(func() {
		inParallel(sessions, func(i int) {
			if !goes(i) {
				all[i].exchange("meanwhile")
			}
		})
	})
	ended := w.gateway.Replace(without("visitor"), nil)
	asked := time.Since(began)
	leaving.Wait()
	busy.Wait()
	inParallel(sessions, func(i int) {
		if !goes(i) {
			all[i].exchange("after")
		}
	})
	t.Logf("%d sessions asked again and %d refusals recorded in %v; the last of those had ended after %v", sessions, ended, asked, slowest)
	if ended != flips {
		t.Errorf("%d sessions ended, want %d", ended, flips)
	}
	list := w.ended(t, flips)
	for _, e := range list {
		var r policy.Request
		if err := json.Unmarshal(e.Input, &r); err != nil || e.Decision.Allow || r.Phase != policy.PhaseConnect || r.Subject.ID != "guest" || r.Session.ID == "" || e.Decision.Reason != "no visitor any more" {
			t.Errorf("entry %d does not say which session ended: %s %+v", e.Index, e.Input, e.Decision)
		}
	}
	if len(list) != flips {
		t.Errorf("%d ends are recorded, want %d", len(list), flips)
	}
}

// inParallel calls f with 0 to n-1, a few at a time.
func inParallel(n int, f func(int)) {
	next := make(chan int)
	var working sync.WaitGroup
	for range 32 {
		working.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	working.Wait()
}

// exchange is an operation and its reply, from any goroutine.
func (p *peer) exchange(what string) {
	p.t.Helper()
	if _, err := io.WriteString(p.Conn, what+"\n"); err != nil {
		p.t.Errorf("send %s: %v", what, err)
		return
	}
	want := "ok " + what + "\n"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(p.Conn, got); err != nil || string(got) != want {
		p.t.Errorf("after %q got %q and %v", what, got, err)
	}
}

// A quarantined device is refused whatever the policy says.
func TestQuarantine(t *testing.T) {
	anything := decider(func(r *policy.Request) policy.Decision {
		return policy.Decision{Allow: true, Cause: policy.CausePolicy}
	})
	w := newWard(t, wardConfig{policy: anything})
	c := w.established()
	dev := w.gateway.Routes[0].Device
	dev.State = policy.StateQuarantined
	if n := w.gateway.Replace(anything, map[string]policy.Device{dev.ID: dev}); n != 1 {
		t.Errorf("%d sessions ended, want 1", n)
	}
	if got := c.ends(); got != "" {
		t.Errorf("the session got %q", got)
	}
	next := w.dial()
	next.send("one\n")
	next.expect("refused *")
	// Released, the session that was refused ends, and the next one is let in.
	if n := w.gateway.Replace(anything, nil); n != 1 {
		t.Errorf("%d sessions ended, want 1", n)
	}
	next.ends()
	w.established()
	if list := w.ended(t, 1); len(list) != 1 || list[0].Decision.Reason != "device dev-1 is quarantined" {
		t.Errorf("recorded as ended: %+v", list)
	}
}

// A certificate taken back ends its sessions, and nobody else's.
func TestRevokedWhileConnected(t *testing.T) {
	w := newWard(t, wardConfig{})
	other := w.established()
	taken := w.ca.client(t, "user", "gone", nil, time.Hour)
	c, err := tls.Dial("tcp", w.address, certs.ClientConfig(w.ca.pool, taken, "localhost"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	p := &peer{t, c}
	p.exchange("first")
	began := time.Now()
	w.ca.revoke(taken.Leaf.SerialNumber)
	p.ends()
	t.Logf("ended %v after the revocation", time.Since(began))
	other.exchange("after")
	if list := w.ended(t, 1); len(list) != 1 || !strings.HasPrefix(list[0].Decision.Reason, certs.ErrRevoked.Error()) {
		t.Errorf("recorded as ended: %+v", list)
	}
}

// No session outlives its certificate.
func TestExpiredWhileConnected(t *testing.T) {
	w := newWard(t, wardConfig{})
	began := time.Now()
	other := w.established()
	// Long enough to get in with, on a machine that takes so long for it.
	short := w.ca.client(t, "user", "short", nil, 2*time.Second+5*time.Since(began))
	c, err := tls.Dial("tcp", w.address, certs.ClientConfig(w.ca.pool, short, "localhost"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	p := &peer{t, c}
	p.exchange("first")
	p.ends()
	if time.Now().Before(short.Leaf.NotAfter) {
		t.Errorf("ended before %v", short.Leaf.NotAfter)
	}
	t.Logf("ended %v after the certificate", time.Since(short.Leaf.NotAfter))
	other.exchange("after")
	if list := w.ended(t, 1); len(list) != 1 || !strings.HasPrefix(list[0].Decision.Reason, certs.ErrExpired.Error()) {
		t.Errorf("recorded as ended: %+v", list)
	}
}

// What is permitted for a time is asked again when that is over: it may be permitted anew.
func TestValidUntil(t *testing.T) {
	const shift = 300 * time.Millisecond
	for _, phase := range []policy.Phase{policy.PhaseConnect, policy.PhaseOperation} {
		t.Run(string(phase), func(t *testing.T) {
			var closing atomic.Bool       // there is no further shift
			var until, asked atomic.Int64 // the end of the last shift; how often it was permitted
			w := newWard(t, wardConfig{reply: func(line string) string {
				if line == "wait" {
					return "" // a reply that does not come
				}
				return "ok " + line + "\n"
			}, policy: decider(func(r *policy.Request) policy.Decision {
				switch {
				case r.Phase != phase || slices.Contains(r.Subject.Roles, "always"):
					return policy.Decision{Allow: true, Cause: policy.CausePolicy}
				case closing.Load():
					return policy.Decision{Reason: "the shift is over", Cause: policy.CausePolicy}
				}
				asked.Add(1)
				until.Store(r.NowNs + int64(shift))
				return policy.Decision{Allow: true, ValidUntil: r.NowNs + int64(shift), Cause: policy.CausePolicy}
			})})
			other := w.established("always")
			c := w.established()
			c.send("wait\n")
			w.reaches("wait\n")
			if before := asked.Load(); !eventually(func() bool { return asked.Load() >= before+2 }) {
				t.Fatal("it is not asked again")
			}
			closing.Store(true)
			if got := c.ends(); got != "" {
				t.Errorf("the session got %q", got)
			}
			if time.Now().UnixNano() < until.Load() {
				t.Error("the session ended before it had to")
			}
			other.exchange("after")
			if list := w.ended(t, 1); len(list) != 1 || list[0].Decision.Reason != "the shift is over" {
				t.Errorf("recorded as ended: %+v", list)
			}
		})
	}
}

// An operation that is over does not end a session when it would be refused now; one that
// waits for its reply does; the next of its kind is refused.
func TestOperationDecidedAgain(t *testing.T) {
	w := newWard(t, wardConfig{reply: func(line string) string {
		if line == "wait" {
			return ""
		}
		return "ok " + line + "\n"
	}})
	c, waiting := w.established(), w.established()
	c.send("wanted\n")
	c.expect("ok wanted")
	w.settle()
	if n := w.gateway.Replace(without("wanted"), nil); n != 0 {
		t.Errorf("%d sessions ended for an operation that is over", n)
	}
	c.send("wanted\nother\n")
	c.expect("refused *")
	c.expect("ok other")
	waiting.send("wait\n")
	w.reaches("wait\n")
	if n := w.gateway.Replace(without("wait"), nil); n != 1 {
		t.Errorf("%d sessions ended, want the one that waits", n)
	}
	waiting.ends()
	c.exchange("after")
	var r policy.Request
	list := w.ended(t, 1)
	if len(list) != 1 || json.Unmarshal(list[0].Input, &r) != nil || r.Operation.Name != "lines:wait" {
		t.Errorf("recorded as ended: %+v", list)
	}
}

// An operation is over as soon as its reply has passed, however long the plugin then takes to say
// that it was one.
func TestReplyShownLate(t *testing.T) {
	w := newWard(t, wardConfig{})
	w.gateway.inspect = patience
	c := w.dial()
	c.exchange("late")
	if n := w.gateway.Replace(without("late"), nil); n != 0 {
		t.Errorf("%d sessions ended for an operation that is over", n)
	}
	c.exchange("after")
}

// reaches waits until the device has received something.
func (w *ward) reaches(what string) {
	w.t.Helper()
	if !eventually(func() bool { return strings.Contains(w.device.all(), what) }) {
		w.t.Fatalf("the device never received %.40q", what)
	}
}

// A reply that goes on although its operation would be refused now ends the session: so does
// one that had seemed to be over.
func TestReplyGoesOn(t *testing.T) {
	w := newWard(t, wardConfig{reply: func(line string) string {
		return map[string]string{"list": "part"}[line] + map[string]string{"more": " the rest\n"}[line]
	}})
	c := w.dial()
	c.send("list\n")
	part := make([]byte, 4)
	if _, err := io.ReadFull(c, part); err != nil || string(part) != "part" {
		t.Fatalf("got %q, %v", part, err)
	}
	w.settle()
	if n := w.gateway.Replace(without("list"), nil); n != 0 {
		t.Errorf("%d sessions ended at once", n)
	}
	c.send("more\n")
	c.ends()
	if list := w.ended(t, 1); len(list) != 1 || list[0].Decision.Reason != "no list any more" {
		t.Errorf("recorded as ended: %+v", list)
	}
}

// A long body is cut where it is, a short one goes through, a short one that does not
// come is not waited for. In each case the asker is told.
func TestFlipInBody(t *testing.T) {
	for _, c := range []struct{ name, head, rest, told, arrives string }{
		{"long", "put*50000000\nabc", "def", "refused *", "first\nput*50000000\nabc"},
		{"short", "put*8\nabcd", "efg\n", "done", "first\nput*8\nabcdefg\n"},
		{"short and late", "put*8\nabcd", "", "refused *", "first\nput*8\nabcd"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWard(t, wardConfig{reply: func(line string) string {
				return map[string]string{"first": "ok first\n", "abcdefg": "done\n"}[line]
			}})
			w.gateway.grace = patience
			if c.rest != "" {
				w.gateway.late = patience
			}
			p := w.established("guest")
			p.send(c.head)
			w.reaches(c.head)
			began := time.Now()
			if n := w.gateway.Replace(without("guest"), nil); n != 1 {
				t.Errorf("%d sessions ended, want 1", n)
			}
			if c.name == "short" {
				p.send(c.rest)
			}
			p.expect(c.told)
			if c.name != "short" {
				io.WriteString(p.Conn, c.rest) // the session may have ended
			}
			p.ends()
			t.Logf("ended after %v", time.Since(began))
			if got := w.device.all(); got != c.arrives {
				t.Errorf("the device received %q, want %q", got, c.arrives)
			}
		})
	}
}

// Nothing new reaches the device from a session that has to end, also if policy has nothing
// against it.
func TestNothingNewAtTheEnd(t *testing.T) {
	w := newWard(t, wardConfig{reply: func(line string) string { return map[string]string{"first": "ok first\n"}[line] }})
	w.gateway.late, w.gateway.grace = time.Second, 2*time.Second
	taken := w.ca.client(t, "user", "gone", nil, time.Hour)
	c, err := tls.Dial("tcp", w.address, certs.ClientConfig(w.ca.pool, taken, "localhost"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	p := &peer{t, c}
	p.exchange("first")
	p.send("wait\n") // for a reply, as long as a session that has to end may
	w.reaches("wait\n")
	s := w.gateway.live()[0]
	w.ca.revoke(taken.Leaf.SerialNumber)
	for s.flip.Load() == nil {
		time.Sleep(time.Millisecond)
	}
	io.WriteString(c, "new\n") // the session may have ended
	io.ReadAll(c)
	if got := w.device.all(); got != "first\nwait\n" {
		t.Errorf("the device received %q", got)
	}
}

// A body that trickles in is not waited for either, however busy that keeps its session.
func TestFlipInTrickle(t *testing.T) {
	w := newWard(t, wardConfig{reply: func(line string) string { return map[string]string{"first": "ok first\n"}[line] }})
	w.gateway.grace = patience
	p := w.established("guest")
	p.send("put*200000\nabc")
	w.reaches("put*200000\nabc")
	var trickling sync.WaitGroup
	defer trickling.Wait()
	defer p.Close()
	trickling.Go(func() {
		for {
			if _, err := io.WriteString(p.Conn, "x"); err != nil {
				return
			}
			time.Sleep(farewellEvery / 10)
		}
	})
	if n := w.gateway.Replace(without("guest"), nil); n != 1 {
		t.Errorf("%d sessions ended, want 1", n)
	}
	p.expect("refused *")
	io.ReadAll(p)
}

// A client or a device that takes nothing holds up neither the end of its own session nor
// that of others.
func TestFlipOfStuckSession(t *testing.T) {
	release := make(chan struct{})
	w := newWard(t, wardConfig{reply: func(line string) string {
		switch line {
		case "much":
			return strings.Repeat("x", 64<<20) + "\n"
		case "hang":
			<-release
		}
		return "ok " + line + "\n"
	}})
	t.Cleanup(func() { close(release) }) // before the device is waited for
	deaf, mute, c := w.established(), w.established(), w.established()
	deaf.send("much\n")
	if _, err := io.ReadFull(deaf, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	mute.send("hang\n")
	w.reaches("hang\n")
	var sending sync.WaitGroup
	sending.Go(func() { io.WriteString(mute.Conn, "put*64000000\n"+strings.Repeat("x", 64e6)) })
	time.Sleep(200 * time.Millisecond) // until nothing more fits
	if n := w.gateway.Replace(allowBut("connect"), nil); n != 3 {
		t.Errorf("%d sessions ended, want 3", n)
	}
	c.ends()
	if !eventually(func() bool { return w.gateway.Sessions() == 0 }) {
		t.Fatal("a stuck session goes on")
	}
	sending.Wait()
}

// Sessions end even if that cannot be recorded.
func TestFlipWithoutLog(t *testing.T) {
	w := newWard(t, wardConfig{})
	c := w.established()
	if err := w.log.Close(); err != nil {
		t.Fatal(err)
	}
	w.gateway.Replace(allowBut("connect"), nil)
	c.ends()
}

// gate holds one decision of the old policy until the new one is in place.
type gate struct{ reached, opened chan struct{} }

func (g gate) at(phase policy.Phase, name string) decider {
	return func(r *policy.Request) policy.Decision {
		if r.Phase == phase && strings.HasSuffix(r.Operation.Name, name) {
			close(g.reached)
			<-g.opened
		}
		return policy.Decision{Allow: true, Cause: policy.CausePolicy}
	}
}

// What is being decided when policy is replaced is decided by the new one, too.
func TestReplacedWhileDeciding(t *testing.T) {
	t.Run("connect", func(t *testing.T) {
		g := gate{make(chan struct{}), make(chan struct{})}
		w := newWard(t, wardConfig{policy: g.at(policy.PhaseConnect, "")})
		c := w.dial()
		<-g.reached
		w.gateway.Replace(allowBut("connect"), nil)
		close(g.opened)
		c.ends()
	})
	t.Run("operation", func(t *testing.T) {
		g := gate{make(chan struct{}), make(chan struct{})}
		w := newWard(t, wardConfig{policy: g.at(policy.PhaseOperation, ":slow")})
		c := w.established()
		c.send("slow\n")
		<-g.reached
		if n := w.gateway.Replace(without("slow"), nil); n != 0 {
			t.Errorf("%d sessions ended for an operation that is yet to be decided", n)
		}
		close(g.opened)
		c.expect("refused *")
		c.exchange("after")
		if got := w.device.all(); got != "first\nafter\n" {
			t.Errorf("the device received %q", got)
		}
	})
}

// A hundred times policy and devices are replaced together, under load. Each policy refuses
// devices as any other knows them, so that one decision on mixed grounds would show.
func TestReplacedUnderLoad(t *testing.T) {
	label := func(n int) string { return string(rune('A'+n%26)) + strings.Repeat("'", n/26) }
	only := func(n int) decider {
		return func(r *policy.Request) policy.Decision {
			return policy.Decision{Allow: r.Device.Labels["revision"] == label(n), Reason: "mixed", Cause: policy.CausePolicy}
		}
	}
	w := newWard(t, wardConfig{})
	known := func(n int) map[string]policy.Device {
		d := w.gateway.Routes[0].Device
		d.Labels = map[string]string{"revision": label(n)}
		return map[string]policy.Device{d.ID: d}
	}
	w.gateway.Replace(only(0), known(0))
	stop := make(chan struct{})
	var load sync.WaitGroup
	for range 8 {
		c := w.established()
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					if c.exchange("one"); t.Failed() {
						return
					}
				}
			}
		})
		load.Go(func() {
			for !t.Failed() {
				select {
				case <-stop:
					return
				default:
				}
				c, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", w.address,
					certs.ClientConfig(w.ca.pool, w.ca.client(t, "user", "dr.kim", nil, time.Hour), "localhost"))
				if err != nil {
					t.Error(err)
					return
				}
				c.SetDeadline(time.Now().Add(patience))
				(&peer{t, c}).exchange("new")
				c.Close()
			}
		})
	}
	for n := 1; n <= 100; n++ {
		if ended := w.gateway.Replace(only(n), known(n)); ended != 0 {
			t.Errorf("%d sessions ended, all are permitted", ended)
		}
		time.Sleep(5 * time.Millisecond)
	}
	close(stop)
	load.Wait()
}

// A doubt that passes does not end a session; one that stays does.
func TestDoubtDecidedAgain(t *testing.T) {
	w := newWard(t, wardConfig{})
	c := w.established()
	var mu sync.Mutex
	doubts := 0
	doubtful := func(most int) decider {
		return func(*policy.Request) policy.Decision {
			mu.Lock()
			defer mu.Unlock()
			if doubts++; doubts <= most {
				return policy.Decision{Reason: "late", Cause: policy.CauseDoubt}
			}
			return policy.Decision{Allow: true, Cause: policy.CausePolicy}
		}
	}
	if n := w.gateway.Replace(doubtful(1), nil); n != 0 {
		t.Errorf("%d sessions ended for one doubt", n)
	}
	c.exchange("after")
	doubts = 0
	if n := w.gateway.Replace(doubtful(1000), nil); n != 1 {
		t.Errorf("%d sessions ended, want 1", n)
	}
	c.ends()
}

// The parts of the second within which a session that is not permitted any more is gone. Tests
// that are about something else give it more.
func TestWithinASecond(t *testing.T) {
	g := newWard(t, wardConfig{}).gateway
	if sum := watchEvery + g.inspect + g.grace; sum >= time.Second || g.late <= 0 || g.late >= g.grace {
		t.Errorf("it may take %v; what is under way may go on for %v of %v", sum, g.late, g.grace)
	}
}

// An error says why a session ended.
func TestWithdrawnCause(t *testing.T) {
	f := &flip{decision: policy.Decision{Reason: "the shift is over"}}
	if err := f.cause(); !errors.Is(err, errWithdrawn) || !strings.HasSuffix(err.Error(), "the shift is over") {
		t.Errorf("cause = %v", err)
	}
}

// What still arrives for a session that has to end is refused for what ended it, by the policy that did, whatever has come into
// force since.
func TestLastWord(t *testing.T) {
	w := newWard(t, wardConfig{})
	w.gateway.Replace(without("nobody"), nil)
	s := &session{gateway: w.gateway, route: &w.gateway.Routes[0]}
	was := policy.Decision{Reason: "no rule allows it", Revision: "sha256:was", Data: "sha256:then", Cause: policy.CausePolicy}
	got := s.lastWord(&flip{session: s, decision: was})
	if want := "the session is not permitted any more: no rule allows it"; got.Allow || got.Reason != want || got.Revision != was.Revision || got.Data != was.Data || got.Cause != was.Cause {
		t.Errorf("got %+v", got)
	}
	w.gateway.Replace(decider(func(*policy.Request) policy.Decision {
		return policy.Decision{Reason: "nothing any more", Cause: policy.CausePolicy}
	}), nil)
	if got := s.lastWord(&flip{session: s, decision: was}); got.Reason != "nothing any more" || got.Revision == was.Revision {
		t.Errorf("refused by what is in force: %+v", got)
	}
}

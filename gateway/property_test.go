package gateway

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"cordon/gateway/audit"
	"cordon/policy"
)

// How many random sessions TestAnyPlugin plays at least and at most, how many at a time, and for
// how long.
const (
	whimsNeeded  = 50
	whimSessions = 1500
	whimsAtATime = 24
	whimTime     = 8 * time.Second
)

// For any plugin behaviour, what the device received is a concatenation, in order, of
// allowed spans of what the client sent, each of whose operations the log knows as allowed;
// and what the client received is what the device sent, in order, and refusals.
func TestAnyPlugin(t *testing.T) {
	limits := Limits{StallTimeout: 150 * time.Millisecond, HalfCloseTimeout: 150 * time.Millisecond}
	w := newWard(t, wardConfig{logger: slog.New(slog.DiscardHandler), limits: limits, policy: decider(func(r *policy.Request) policy.Decision {
		return policy.Decision{Allow: r.Phase == policy.PhaseConnect || r.Operation.Class == policy.ClassWrite, Cause: policy.CausePolicy}
	})})
	talker := newTalker(t)
	w.address = w.attach(t, "whim", startHostile(t, "whim", patience, w.gateway.Logger), talker.l.Addr().String())

	first := rand.Uint64()
	played := make(chan play, whimSessions)
	var players sync.WaitGroup
	until := time.Now().Add(whimTime)
	seeds := make(chan uint64)
	for range whimsAtATime {
		players.Go(func() {
			for seed := range seeds {
				played <- w.play(seed)
			}
		})
	}
	for i := range uint64(whimSessions) {
		if i >= whimsNeeded && time.Now().After(until) {
			break
		}
		seeds <- first + i
	}
	close(seeds)
	players.Wait()
	close(played)

	if !eventually(func() bool { return w.gateway.Sessions() == 0 }) {
		t.Fatalf("%d sessions go on", w.gateway.Sessions())
	}
	calls := talker.calls()
	inLog := allowedNames(t, w)
	sessions, arrived, dropped := 0, 0, 0
	for p := range played {
		sessions++
		s := newScript(p.seed)
		c := calls[p.seed]
		if !s.passes(p.sent, c.got) {
			t.Errorf("seed %d: the device received %d bytes that are not allowed spans of the %d that were sent", p.seed, len(c.got), len(p.sent))
		}
		if rest := refusalText.ReplaceAllString(p.got, ""); !strings.HasPrefix(c.said, rest) {
			t.Errorf("seed %d: the client received %.200q, the device said %.200q", p.seed, p.got, c.said)
		}
		for _, text := range refusalText.FindAllString(p.got, -1) {
			if strings.Count(p.got, text) > 1 {
				t.Errorf("seed %d: the client received the refusal %s twice", p.seed, text)
			}
		}
		for _, op := range s.moved(len(c.got)) {
			if name := s.announce(op, p.seed).Operation.Name; !inLog[name] {
				t.Errorf("seed %d: bytes of %s arrived, and the log does not know of it", p.seed, name)
			}
		}
		arrived, dropped = arrived+len(c.got), dropped+len(p.sent)-len(c.got)
	}
	t.Logf("%d sessions from seed %d on: %d bytes arrived, %d did not", sessions, first, arrived, dropped)
	if sessions < whimsNeeded || arrived == 0 || dropped == 0 {
		t.Error("that is too little to show anything")
	}
	verifyLog(t, w)
}

var refusalText = regexp.MustCompile(`<[0-9]+>`)

// play is one client's part.
type play struct {
	seed      uint64
	sent, got string
}

// play sends random bytes, randomly split, and keeps what comes back. What it could not
// send counts as sent.
func (w *ward) play(seed uint64) play {
	r := rand.New(rand.NewPCG(seed, 3))
	size := seedBytes + r.IntN([]int{10, 500, 20_000, 300_000}[r.IntN(4)])
	sent := binary.LittleEndian.AppendUint64(nil, seed)
	for len(sent) < size {
		sent = binary.LittleEndian.AppendUint64(sent, r.Uint64())
	}
	p := play{seed: seed, sent: string(sent)}
	c := w.dial()
	defer c.Close()
	received := make(chan string)
	go func() {
		b, _ := io.ReadAll(c.Conn) // however it ends
		received <- string(b)
	}()
	for left := sent; len(left) > 0; {
		n := min(len(left), 1+r.IntN([]int{3, 100, 5000, 100_000}[r.IntN(4)]))
		if _, err := c.Write(left[:n]); err != nil {
			break
		}
		left = left[n:]
		if r.IntN(8) == 0 {
			time.Sleep(time.Duration(r.IntN(2000)) * time.Microsecond)
		}
	}
	c.CloseWrite()
	p.got = <-received
	return p
}

// talker is a device that says random letters when it hears something.
type talker struct {
	l       net.Listener
	serving sync.WaitGroup
	mu      sync.Mutex
	list    []*call
}

// call is one connection to a talker.
type call struct{ got, said string }

func newTalker(t *testing.T) *talker {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &talker{l: l}
	k.serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			k.serving.Go(func() { k.talk(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		k.serving.Wait()
	})
	return k
}

func (k *talker) talk(c net.Conn) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	var got, said bytes.Buffer
	defer func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.list = append(k.list, &call{got.String(), said.String()})
	}()
	for b := make([]byte, 64<<10); ; {
		n, err := c.Read(b)
		got.Write(b[:n])
		if err != nil {
			return
		}
		reply := make([]byte, rand.IntN([]int{1, 20, 3000}[rand.IntN(3)]))
		for i := range reply {
			reply[i] = 'a' + byte(rand.IntN(26))
		}
		said.Write(reply)
		if _, err := c.Write(reply); err != nil {
			return
		}
	}
}

// calls waits for all connections to end and returns them by the seed they began with.
// One that did not get so far has nothing to show.
func (k *talker) calls() map[uint64]call {
	k.l.Close()
	k.serving.Wait()
	calls := map[uint64]call{}
	for _, c := range k.list {
		if len(c.got) >= seedBytes {
			calls[binary.LittleEndian.Uint64([]byte(c.got))] = *c
		}
	}
	return calls
}

// allowedNames returns the names of the operations the log has as allowed.
func allowedNames(t *testing.T, w *ward) map[string]bool {
	t.Helper()
	r, err := audit.OpenReader(w.logDir)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for e, err := range r.Entries(0, math.MaxInt64) {
		if err != nil {
			t.Fatal(err)
		}
		var in policy.Request
		if err := json.Unmarshal(e.Input, &in); err != nil {
			t.Fatal(err)
		}
		if e.Decision.Allow {
			names[in.Operation.Name] = true
		}
	}
	return names
}

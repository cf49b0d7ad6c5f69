package guest

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// sniffer sends what it can to both of the gateway's cards, all the time, and sees all that
// comes back.
type sniffer struct {
	g          *machine
	stop       chan struct{}
	ended      sync.WaitGroup
	fromDevice station
	fromClient station

	mu      sync.Mutex
	leaks   []string // the first ones
	crossed int      // frames of the device on the clients' wire
	said    int      // frames of the gateway on the device's wire, less
	answers int      // to a device that asks for the gateway's address in its segment, as it may
	beside  int      // frames of the gateway on the clients' wire
	sent    int
}

func mac(s string) net.HardwareAddr {
	m, err := net.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return m
}

// sniff begins. Frames that the guest sends to the device's wire are leaks, except that the
// segment tells its address; on the clients' wire, those that come from the device.
func (g *machine) sniff() *sniffer {
	address := netip.MustParseAddr
	s := &sniffer{g: g, stop: make(chan struct{}),
		fromDevice: station{mac: mac(deviceMAC), card: mac(deviceCard), far: mac(clientMAC), payload: []byte("a device sent this"),
			ip4: address("10.9.0.7"), gateway4: address("10.9.0.1"), to4: address("10.1.0.2"),
			ip6: address("fd09::7"), gateway6: address("fd09::1"), to6: address("fd01::2")},
		fromClient: station{mac: mac(clientMAC), card: mac(clientCard), far: mac(deviceMAC), payload: []byte("a client sent this"),
			ip4: address("10.1.0.2"), gateway4: address("10.1.0.1"), to4: address("10.9.0.7"),
			ip6: address("fd01::2"), gateway6: address("fd01::1"), to6: address("fd09::7")},
	}
	g.device.Watch(s.onDeviceWire)
	g.client.Watch(s.onClientWire)
	for wire, frames := range map[*Wire][][]byte{g.device: s.fromDevice.frames(), g.client: s.fromClient.frames()} {
		s.ended.Go(func() {
			for i := 0; ; i++ {
				sent := wire.Send(frames[i%len(frames)])
				s.mu.Lock()
				if sent {
					s.sent++
				}
				s.mu.Unlock()
				select {
				case <-s.stop:
					return
				case <-time.After(4 * time.Millisecond):
				}
			}
		})
	}
	return s
}

func (s *sniffer) onDeviceWire(frame []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.declared(frame) {
		s.answers++
		return
	}
	s.said++
	s.leak("to the device", frame)
}

func (s *sniffer) onClientWire(frame []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beside++
	if bytes.Contains(frame, s.fromDevice.payload) || bytes.Contains(frame, s.fromDevice.mac) {
		s.crossed++
		s.leak("to the client", frame)
	}
}

func (s *sniffer) leak(where string, frame []byte) {
	if len(s.leaks) < 10 {
		s.leaks = append(s.leaks, fmt.Sprintf("%s: %x", where, frame))
	}
}

// declared reports whether a frame says: here is my address, to the device that may ask.
func (s *sniffer) declared(frame []byte) bool {
	d := s.fromDevice
	if bytes.HasPrefix(frame, ethernet(d.mac, d.card, 0x0806, arp(2, d.card, d.gateway4, d.mac, d.ip4))[:42]) {
		return true
	}
	return len(frame) >= 78 && bytes.HasPrefix(frame, ethernet(d.mac, d.card, 0x86dd, nil)[:14]) && frame[20] == 58 && frame[54] == 136 &&
		bytes.Equal(frame[22:38], d.gateway6.AsSlice()) && bytes.Equal(frame[38:54], d.ip6.AsSlice()) && bytes.Equal(frame[62:78], d.gateway6.AsSlice())
}

// end stops sending, and waits for what is on its way.
func (s *sniffer) end(t *testing.T) {
	t.Helper()
	close(s.stop)
	s.ended.Wait()
	time.Sleep(time.Second)
	s.g.device.Watch(nil)
	s.g.client.Watch(nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	t.Logf("%d frames sent: %d crossed to the client, %d were said to the device and %d as declared; %d on the clients' wire",
		s.sent, s.crossed, s.said, s.answers, s.beside)
}

// until waits for something to have been seen.
func (s *sniffer) until(seen func() bool) {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		s.mu.Lock()
		yes := seen()
		s.mu.Unlock()
		if yes {
			return
		}
	}
}

// closed ends it and wants nothing to have crossed, while it could have.
func (s *sniffer) closed(t *testing.T) {
	t.Helper()
	s.until(func() bool { return s.beside > 0 })
	s.end(t)
	if s.crossed+s.said > 0 {
		t.Errorf("%d frames crossed and %d were said to the device, the first ones:\n%s", s.crossed, s.said, strings.Join(s.leaks, "\n"))
	}
	if s.beside == 0 || s.sent == 0 {
		t.Error("the gateway's card says nothing on the clients' wire: nothing was tried")
	}
}

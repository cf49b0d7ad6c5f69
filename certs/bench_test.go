package certs

import (
	"crypto/tls"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// BenchmarkHandshake compares a full mutual handshake, both ends in this process,
// under ServerConfig with one under a plain crypto/tls server that verifies its
// clients itself. cpu-µs/op is the process's CPU time, which other load on the
// machine disturbs less than the clock.
func BenchmarkHandshake(b *testing.B) {
	w := newWard(b)
	cert := w.goodClient(b)
	ours := ServerConfig(w, NewVerifier(w, domain))
	cold := ServerConfig(w, NewVerifier(&forgetful{w}, domain))
	bare := &tls.Config{
		Certificates: []tls.Certificate{*w.server[0]},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    w.own,
		MinVersion:   tls.VersionTLS13,
	}
	noTickets := bare.Clone()
	noTickets.SessionTicketsDisabled = true
	client := ClientConfig(w.own, cert, "localhost")
	for _, c := range []struct {
		name   string
		server *tls.Config
	}{{"bare", bare}, {"bare-no-tickets", noTickets}, {"cordon", ours}, {"cordon-unknown-leaf", cold}} {
		b.Run(c.name, func(b *testing.B) { handshakes(b, c.server, client) })
	}
}

// forgetful has a new epoch every time, so that nothing is remembered.
type forgetful struct{ *ward }

func (f *forgetful) Epoch() uint64 { return f.epoch.Add(1) }

func handshakes(b *testing.B, server, client *tls.Config) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			c := tls.Server(raw, server)
			if c.Handshake() == nil {
				c.Write([]byte{1})
			}
			c.Close()
		}
	}()
	start := cpu(b)
	for b.Loop() {
		c, err := tls.Dial("tcp", l.Addr().String(), client)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
	b.ReportMetric(float64(cpu(b)-start)/float64(time.Microsecond)/float64(b.N), "cpu-µs/op")
	l.Close()
	<-served
}

func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkIdentify is our share of a handshake: a known leaf and an unknown one.
func BenchmarkIdentify(b *testing.B) {
	w := newWard(b)
	cs := parsed(b, w.goodClient(b))
	for _, c := range []struct {
		name string
		src  Source
	}{{"known", w}, {"unknown", &forgetful{w}}} {
		v := NewVerifier(c.src, domain)
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Identify(cs); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

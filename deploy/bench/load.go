package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The small operation: an HL7 result of 1 KiB and an acknowledgement of 200 bytes.
const controlID = "C00000001"

func request() []byte {
	m := "MSH|^~\\&|LOAD|WARD|MON|WARD|20261122120000||ORU^R01^ORU_R01|" + controlID + "|P|2.5.1\rPID|1||100123^^^HOSP^MR\rOBX|1|TX|NOTE||"
	m += strings.Repeat("x", 1024-len(m)-2) + "\r"
	return []byte("\x0b" + m + "\x1c\r")
}

func reply() []byte {
	m := "MSH|^~\\&|MON|WARD|LOAD|WARD|20261122120000||ACK^R01^ACK|A1|P|2.5.1\rMSA|AA|" + controlID + "|"
	m += strings.Repeat("y", 200-len(m)-4) + "\r"
	return []byte("\x0b" + m + "\x1c\r")
}

type closers []net.Listener

func (c closers) Close() error {
	for _, l := range c {
		l.Close()
	}
	return nil
}

// startDevices starts the HL7 device, which acknowledges every frame, the stream device,
// which takes bytes, or sends as many as the first line asks for, and the archive of
// images.go.
func (w *world) startDevices() (io.Closer, error) {
	var all closers
	for _, d := range []struct {
		address *string
		speak   func(net.Conn)
	}{{&w.hl7, acknowledge}, {&w.stream, pour}, {&w.dicom, archive}} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return all, err
		}
		*d.address = l.Addr().String()
		all = append(all, l)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() { defer c.Close(); d.speak(c) }()
			}
		}()
	}
	return all, nil
}

func acknowledge(c net.Conn) {
	r, ack := bufio.NewReaderSize(c, 4096), reply()
	for {
		if _, err := r.ReadSlice(0x1c); err != nil {
			return
		}
		if _, err := r.ReadByte(); err != nil {
			return
		}
		if _, err := c.Write(ack); err != nil {
			return
		}
	}
}

func pour(c net.Conn) {
	r := bufio.NewReader(c)
	line, err := r.ReadString('\n')
	if err != nil {
		return
	}
	var n int64
	fmt.Sscan(line, &n)
	if n == 0 {
		io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, make([]byte, 256<<10))
		io.WriteString(c, "done\n")
		return
	}
	io.CopyN(c, zeros{}, n)
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func (w *world) dial(ctx context.Context, address string) (*tls.Conn, error) {
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: 10 * time.Second}, Config: w.client}
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return c.(*tls.Conn), nil
}

// operate does operations on one connection until the time is up, and returns how long
// each took.
func (w *world) operate(ctx context.Context, address string, until time.Time) ([]time.Duration, error) {
	c, err := w.dial(ctx, address)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	message, answer := request(), make([]byte, len(reply()))
	var took []time.Duration
	for time.Now().Before(until) {
		c.SetDeadline(time.Now().Add(10 * time.Second))
		began := time.Now()
		if _, err := c.Write(message); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(c, answer); err != nil {
			return nil, err
		}
		took = append(took, time.Since(began))
	}
	return took, nil
}

func (b *bench) latency(ctx context.Context, p *proxy) (float64, error) {
	took, err := b.world.operate(ctx, p.hl7, time.Now().Add(b.short))
	if err != nil {
		return 0, err
	}
	slices.Sort(took)
	return float64(took[len(took)/2].Nanoseconds()) / 1000, nil
}

func (b *bench) operationCPU(ctx context.Context, p *proxy, connections int) (float64, error) {
	var count atomic.Int64
	cpu, err := b.cpu(p, func() error {
		return parallel(connections, func() error {
			took, err := b.world.operate(ctx, p.hl7, time.Now().Add(b.short))
			count.Add(int64(len(took)))
			return err
		})
	})
	return float64(cpu.Nanoseconds()) / 1000 / float64(count.Load()), err
}

func (b *bench) handshakeCPU(ctx context.Context, p *proxy) (float64, error) {
	const connections = 600
	cpu, err := b.cpu(p, func() error {
		return parallel(4, func() error {
			for range connections / 4 {
				c, err := b.world.dial(ctx, p.hl7)
				if err != nil {
					return err
				}
				c.CloseWrite()
				c.SetDeadline(time.Now().Add(10 * time.Second))
				io.Copy(io.Discard, c)
				c.Close()
			}
			return nil
		})
	})
	return float64(cpu.Nanoseconds()) / 1000 / connections, err
}

func (b *bench) streamCPU(ctx context.Context, p *proxy, up bool) (float64, error) {
	cpu, err := b.cpu(p, func() error {
		c, err := b.world.dial(ctx, p.stream)
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(2 * time.Minute))
		if !up {
			fmt.Fprintf(c, "%d\n", b.bulk)
			_, err := io.CopyN(io.Discard, c, b.bulk)
			return err
		}
		fmt.Fprintln(c, "0")
		chunk := make([]byte, 256<<10)
		for sent := int64(0); sent < b.bulk; sent += int64(len(chunk)) {
			if _, err := c.Write(chunk); err != nil {
				return err
			}
		}
		if err := c.CloseWrite(); err != nil {
			return err
		}
		_, err = io.ReadFull(c, make([]byte, 5))
		return err
	})
	return cpu.Seconds() / (float64(b.bulk) / (1 << 30)), err
}

// idleMemory holds sessions that have done one operation each.
func (b *bench) idleMemory(ctx context.Context, p *proxy) (float64, error) {
	warm, err := b.world.operate(ctx, p.hl7, time.Now().Add(200*time.Millisecond))
	if err != nil || len(warm) == 0 {
		return 0, errors.Join(err, errors.New("no operation succeeded"))
	}
	before, err := memory(p.pids())
	if err != nil {
		return 0, err
	}
	conns := make(chan *tls.Conn, b.idle)
	err = parallel(8, func() error {
		for range b.idle / 8 {
			c, err := b.world.dial(ctx, p.hl7)
			if err != nil {
				return err
			}
			conns <- c
			if _, err := c.Write(request()); err != nil {
				return err
			}
			if _, err := io.ReadFull(c, make([]byte, len(reply()))); err != nil {
				return err
			}
		}
		return nil
	})
	var after float64
	if err == nil {
		time.Sleep(2 * time.Second)
		after, err = memory(p.pids())
	}
	held := len(conns)
	for range held {
		(<-conns).Close()
	}
	return (after - before) / float64(held), err
}

// cpu returns the proxy's CPU time during work, with what it does right after.
func (b *bench) cpu(p *proxy, work func() error) (time.Duration, error) {
	pids := p.pids()
	before, err := cpuTime(pids)
	if err != nil {
		return 0, err
	}
	if err := work(); err != nil {
		return 0, err
	}
	time.Sleep(200 * time.Millisecond)
	after, err := cpuTime(pids)
	runtime.GC() // ours, not in the next measurement
	return after - before, err
}

func parallel(n int, work func() error) error {
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() { errs[i] = work() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

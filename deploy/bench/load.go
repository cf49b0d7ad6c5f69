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
	"sync"
	"time"
)

type closers []net.Listener

func (c closers) Close() error {
	for _, l := range c {
		l.Close()
	}
	return nil
}

// startDevices starts the devices, all in this process, and notes their addresses.
func (w *world) startDevices() (io.Closer, error) {
	var all closers
	w.device = map[string]string{}
	for protocol, speak := range map[string]func(net.Conn){
		"hl7": answerHL7, "modbus": answerModbus, "http": answerHTTP, "stream": pour, "dicom": archive,
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return all, err
		}
		w.device[protocol] = l.Addr().String()
		all = append(all, l)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() { defer c.Close(); speak(c) }()
			}
		}()
	}
	return all, nil
}

// pour takes bytes, or sends as many as the first line asks for.
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

func (b *bench) handshakeCPU(ctx context.Context, p *proxy) (float64, error) {
	const connections = 600
	cpu, err := b.cpu(p, func() error {
		return parallel(4, func() error {
			for range connections / 4 {
				c, err := b.world.dial(ctx, p.address["hl7"])
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
		c, err := b.world.dial(ctx, p.address["stream"])
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
	warm, err := b.world.operate(ctx, hl7, p, time.Now().Add(200*time.Millisecond))
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
			c, err := b.world.dial(ctx, p.address["hl7"])
			if err != nil {
				return err
			}
			conns <- c
			if err := hl7.begin(c)(); err != nil {
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

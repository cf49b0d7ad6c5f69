package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// dialogue is small operations of one protocol, one after the other on one connection.
type dialogue struct {
	protocol string
	begin    func(io.ReadWriter) (operate func() error)
}

var (
	hl7    = dialogue{"hl7", askHL7}       // a result of 1 KiB, an acknowledgement of 200 bytes
	modbus = dialogue{"modbus", askModbus} // a read of ten holding registers
	web    = dialogue{"http", askHTTP}     // a GET, a response with a body of 1 KiB
)

const controlID = "C00000001"

func hl7Result() []byte {
	m := "MSH|^~\\&|LOAD|WARD|MON|WARD|20261122120000||ORU^R01^ORU_R01|" + controlID + "|P|2.5.1\rPID|1||100123^^^HOSP^MR\rOBX|1|TX|NOTE||"
	m += strings.Repeat("x", 1024-len(m)-2) + "\r"
	return []byte("\x0b" + m + "\x1c\r")
}

func hl7Ack() []byte {
	m := "MSH|^~\\&|MON|WARD|LOAD|WARD|20261122120000||ACK^R01^ACK|A1|P|2.5.1\rMSA|AA|" + controlID + "|"
	m += strings.Repeat("y", 200-len(m)-4) + "\r"
	return []byte("\x0b" + m + "\x1c\r")
}

func askHL7(c io.ReadWriter) func() error {
	result, ack := hl7Result(), make([]byte, len(hl7Ack()))
	return func() error {
		if _, err := c.Write(result); err != nil {
			return err
		}
		_, err := io.ReadFull(c, ack)
		return err
	}
}

// answerHL7 acknowledges every frame.
func answerHL7(c net.Conn) {
	r, ack := bufio.NewReaderSize(c, 4096), hl7Ack()
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

// A Modbus request for ten holding registers and the response's head: transaction, protocol,
// length, unit, function, then address and quantity or the number of bytes.
var (
	readRegisters = []byte{0, 0, 0, 0, 0, 6, 1, 3, 0, 100, 0, 10}
	registersHead = []byte{0, 0, 0, 0, 0, 23, 1, 3, 20}
)

func askModbus(c io.ReadWriter) func() error {
	request, response := bytes.Clone(readRegisters), make([]byte, len(registersHead)+20)
	transaction := uint16(0)
	return func() error {
		transaction++
		binary.BigEndian.PutUint16(request, transaction)
		if _, err := c.Write(request); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, response); err != nil {
			return err
		}
		if !bytes.Equal(response[:2], request[:2]) || response[7] != 3 {
			return fmt.Errorf("the device answers % x", response[:9])
		}
		return nil
	}
}

// answerModbus answers every request with ten registers.
func answerModbus(c net.Conn) {
	request, response := make([]byte, len(readRegisters)), append(bytes.Clone(registersHead), make([]byte, 20)...)
	for {
		if _, err := io.ReadFull(c, request); err != nil {
			return
		}
		copy(response, request[:2])
		if _, err := c.Write(response); err != nil {
			return
		}
	}
}

func askHTTP(c io.ReadWriter) func() error {
	r, request := bufio.NewReader(c), []byte("GET /status HTTP/1.1\r\nHost: web-1\r\n\r\n")
	return func() error {
		if _, err := c.Write(request); err != nil {
			return err
		}
		response, err := http.ReadResponse(r, nil)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		n, err := io.Copy(io.Discard, response.Body)
		if err == nil && (response.StatusCode != http.StatusOK || n != 1024) {
			err = fmt.Errorf("the device answers %s and %d bytes", response.Status, n)
		}
		return err
	}
}

// answerHTTP answers every request, none of which has a body.
func answerHTTP(c net.Conn) {
	r := bufio.NewReader(c)
	page := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 1024\r\n\r\n" + strings.Repeat("z", 1024))
	for {
		for line := "start"; line != "\r\n"; {
			b, err := r.ReadSlice('\n')
			if err != nil {
				return
			}
			line = string(b)
		}
		if _, err := c.Write(page); err != nil {
			return
		}
	}
}

// operate does operations on one connection until the time is up, and returns how long
// each took.
func (w *world) operate(ctx context.Context, d dialogue, p *proxy, until time.Time) ([]time.Duration, error) {
	c, err := w.dial(ctx, p.address[d.protocol])
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var took []time.Duration
	for operate := d.begin(c); time.Now().Before(until); {
		c.SetDeadline(time.Now().Add(10 * time.Second))
		began := time.Now()
		if err := operate(); err != nil {
			return nil, err
		}
		took = append(took, time.Since(began))
	}
	return took, nil
}

// latencyOf is the median duration of an operation in µs, on that many connections at a time.
func latencyOf(d dialogue, connections int) measure {
	return func(b *bench, ctx context.Context, p *proxy) (float64, error) {
		took, err := b.operate(ctx, d, p, connections)
		return middle(took), err
	}
}

// cpuOf is the proxy's CPU time for each operation in µs.
func cpuOf(d dialogue, connections int) measure {
	return func(b *bench, ctx context.Context, p *proxy) (float64, error) {
		var took []time.Duration
		cpu, err := b.cpu(p, func() (err error) {
			took, err = b.operate(ctx, d, p, connections)
			return err
		})
		return float64(cpu.Nanoseconds()) / 1000 / float64(len(took)), err
	}
}

func (b *bench) operate(ctx context.Context, d dialogue, p *proxy, connections int) ([]time.Duration, error) {
	var mu sync.Mutex
	var all []time.Duration
	err := parallel(connections, func() error {
		took, err := b.world.operate(ctx, d, p, time.Now().Add(b.short))
		mu.Lock()
		all = append(all, took...)
		mu.Unlock()
		return err
	})
	return all, err
}

// middle is the median in µs.
func middle(took []time.Duration) float64 {
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return float64(took[len(took)/2].Nanoseconds()) / 1000
}

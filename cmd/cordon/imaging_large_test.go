package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	"cordon/cmd/cordon/exit"
	"cordon/deploy/dimse"
)

// scp is dimse's device on a loopback port.
type scp struct {
	dimse.SCP
	listener net.Listener
	serving  sync.WaitGroup

	mu     sync.Mutex
	stored []dimse.Stored
	failed []error
}

func startSCP(t *testing.T, objects ...dimse.Object) *scp {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &scp{listener: l}
	p.Objects = objects
	p.MaxPDU = 128 << 10
	p.Stored = func(o dimse.Stored) {
		p.mu.Lock()
		p.stored = append(p.stored, o)
		p.mu.Unlock()
	}
	p.serving.Go(p.accept)
	t.Cleanup(func() {
		l.Close()
		p.serving.Wait() // its connections end with the gateway
	})
	return p
}

func (p *scp) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.serving.Go(func() {
			defer c.Close()
			if err := p.Serve(c); err != nil {
				p.mu.Lock()
				p.failed = append(p.failed, err)
				p.mu.Unlock()
			}
		})
	}
}

func (p *scp) port() string {
	_, port, _ := net.SplitHostPort(p.listener.Addr().String())
	return port
}

// tellLargeImage stores an image of 1 GiB with storescu. It arrives as it was sent, and
// neither the gateway nor the plugin grows with it.
func tellLargeImage(t *testing.T, cordon string) {
	const frames, frame = 1024, mebibyte
	device := startSCP(t)
	s := newArchive(t, cordon, device.port())
	d := s.serve(t)
	clients := newDCMTK(t, s)
	small, file := s.path("small.dcm"), s.path("large.dcm")
	writeFrames(t, small, 1, frame)
	store := []string{"-v", "-R", "-xe", "-pdu", "131072"}
	if out := clients.do(t, "ct", "storescu", store, small); out.code != 0 {
		t.Fatalf("storescu of a small image exits with %d and says %s%s", out.code, out.stdout, out.stderr)
	}
	idle := memory(t, d.cmd.Process.Pid, "VmRSS")

	writeFrames(t, file, frames, frame)
	if out := clients.do(t, "ct", "storescu", store, file); out.code != 0 || !strings.Contains(out.stdout+out.stderr, "Received Store Response (Success)") {
		t.Fatalf("storescu exits with %d and says %s%s", out.code, out.stdout, out.stderr)
	}
	for process, peak := range memory(t, d.cmd.Process.Pid, "VmHWM") {
		grown := (peak - idle[process]) / mebibyte
		t.Logf("%s: idle %d MiB, at its peak %d MiB", process, idle[process]/mebibyte, peak/mebibyte)
		if grown >= 64 {
			t.Errorf("%s grew by %d MiB over an image of %d MiB", process, grown, frames*frame/mebibyte)
		}
	}
	if code := d.stop(t); code != exit.Done {
		t.Errorf("the gateway exited with %d", code)
	}
	sum := sha256.New()
	sent := dataSet(t, file)
	defer sent.Close()
	size, err := io.Copy(sum, sent)
	if err != nil {
		t.Fatal(err)
	}
	device.mu.Lock()
	defer device.mu.Unlock()
	if len(device.stored) != 2 || device.stored[1].Size != size || !bytes.Equal(device.stored[1].SHA256[:], sum.Sum(nil)) {
		t.Errorf("%+v arrived (%v), want a data set of %d bytes with SHA-256 %x", device.stored, device.failed, size, sum.Sum(nil))
	}
}

// writeFrames makes a file of a multi-frame image, in Explicit VR Little Endian, without
// holding it in memory. Each frame begins with its number and is sparse from there on.
func writeFrames(t *testing.T, name string, frames, size int) {
	t.Helper()
	const class, instance = "1.2.840.10008.5.1.4.1.1.7.2", "1.2.3.4.500" // multi-frame grayscale byte secondary capture
	meta := element(nil, 0x0002, 0x0001, "OB", "\x00\x01")
	meta = element(meta, 0x0002, 0x0002, "UI", class)
	meta = element(meta, 0x0002, 0x0003, "UI", instance)
	meta = element(meta, 0x0002, 0x0010, "UI", dimse.ExplicitVRLittleEndian)
	meta = element(meta, 0x0002, 0x0012, "UI", "1.2.3.4")
	b := append(make([]byte, 128), "DICM"...)
	b = element(b, 0x0002, 0x0000, "UL", string(binary.LittleEndian.AppendUint32(nil, uint32(len(meta)))))
	b = append(b, meta...)
	b = element(b, 0x0008, 0x0016, "UI", class)
	b = element(b, 0x0008, 0x0018, "UI", instance)
	b = element(b, 0x0008, 0x0060, "CS", "OT")
	b = element(b, 0x0010, 0x0020, "LO", "P1")
	b = element(b, 0x0020, 0x000D, "UI", "1.2.3.4.50")
	b = element(b, 0x0020, 0x000E, "UI", "1.2.3.4.50.1")
	b = element(b, 0x0028, 0x0002, "US", "\x01\x00")
	b = element(b, 0x0028, 0x0004, "CS", "MONOCHROME2")
	b = element(b, 0x0028, 0x0008, "IS", fmt.Sprint(frames))
	b = element(b, 0x0028, 0x0010, "US", "\x00\x04") // 1024 rows
	b = element(b, 0x0028, 0x0011, "US", string(binary.LittleEndian.AppendUint16(nil, uint16(size/1024))))
	b = element(b, 0x0028, 0x0100, "US", "\x08\x00")
	b = append(b, 0xE0, 0x7F, 0x10, 0x00, 'O', 'B', 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(frames*size))
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, err = f.Write(b)
	for n := 0; err == nil && n < frames; n++ {
		_, err = f.WriteAt(fmt.Appendf(nil, "frame %d", n), int64(len(b)+n*size))
	}
	if err == nil {
		err = f.Truncate(int64(len(b) + frames*size))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// element appends a data element (PS3.5 7.1.2).
func element(b []byte, group, number uint16, vr, value string) []byte {
	if len(value)%2 != 0 {
		pad := " "
		if vr == "UI" {
			pad = "\x00"
		}
		value += pad
	}
	b = binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(b, group), number)
	b = append(b, vr...)
	if vr == "OB" {
		b = binary.LittleEndian.AppendUint32(append(b, 0, 0), uint32(len(value)))
	} else {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(value)))
	}
	return append(b, value...)
}

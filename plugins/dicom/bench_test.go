package dicom

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"cordon/plugins/sdk"
)

// streaming is an inspector in the middle of a C-STORE, and a window full of its next PDUs,
// each with a length of size and one PDV.
func streaming(t testing.TB, size int) (p *played, window []byte) {
	p = play(t, `{}`, associateRQ(), pdu(pduAssociateAC, fixed("PACS", "CT7")+item(itemApplication, dicomApplication)+
		result(1, 0, implicitLittle)+result(3, 0, explicitLE)+userInfo(0)), half(1))
	next := data(pdv(3, 0, strings.Repeat("\x00", size-pdvHeader)))
	return p, []byte(strings.Repeat(next, sdk.WindowSize/len(next)))
}

// TestSteadyState: PDUs behind a head cost no memory, and a window full of them one step.
func TestSteadyState(t *testing.T) {
	for _, size := range []int{4096, 16384, 131072} {
		p, window := streaming(t, size)
		n := testing.AllocsPerRun(100, func() {
			p.out.Begin(sdk.Forward)
			p.inspector.Inspect(sdk.Forward, window, false, &p.out)
			if list := p.out.List(); len(list) != 1 || list[0].Kind != sdk.StepSpan || list[0].N != int64(len(window)) {
				t.Fatalf("steps %v", list)
			}
		})
		if n != 0 {
			t.Errorf("PDUs of %d: %v allocations a window", size, n)
		}
	}
}

// TestLargeObject stores 4 GiB in PDUs of 1 MiB, of which only the headers are shown: the
// rest of each is beyond what has arrived.
func TestLargeObject(t *testing.T) {
	const total, size = 4 << 30, 1 << 20
	p, _ := streaming(t, 4096)
	var header [pduHeader + pdvHeader]byte
	header[0], header[10] = pduData, 3
	binary.BigEndian.PutUint32(header[2:], size)
	binary.BigEndian.PutUint32(header[6:], size-4)
	begin := p.out.Covered(sdk.Forward)
	show := func() {
		p.out.Begin(sdk.Forward)
		p.inspector.Inspect(sdk.Forward, header[:], false, &p.out)
		if list := p.out.List(); len(list) != 1 || list[0].N != size+pduHeader {
			t.Fatalf("steps %v", list)
		}
	}
	if n := testing.AllocsPerRun(total/size-1, show); n != 0 {
		t.Errorf("%v allocations a PDU", n)
	}
	if n := p.out.Covered(sdk.Forward) - begin; n < total {
		t.Errorf("%d bytes are covered", n)
	}
	header[11] = controlLast
	show()
	p.show(sdk.Reverse, storeRSP(1, 0))
	if m := &p.inspector.sides[0].msg; m.phase != between || cap(m.raw) > keepRaw || len(p.inspector.sides[0].open) != 0 {
		t.Errorf("behind the object: %+v", m)
	}
}

// BenchmarkTransfer is the part of a C-STORE behind its head, in full windows.
func BenchmarkTransfer(b *testing.B) {
	for _, size := range []int{16384, 131072} {
		b.Run(fmt.Sprint(size>>10, "KiB"), func(b *testing.B) {
			p, window := streaming(b, size)
			b.SetBytes(int64(len(window)))
			b.ReportAllocs()
			for b.Loop() {
				p.out.Begin(sdk.Forward)
				p.inspector.Inspect(sdk.Forward, window, false, &p.out)
			}
		})
	}
}

// BenchmarkStore is a small C-STORE and its response, BenchmarkEcho a C-ECHO.
func BenchmarkStore(b *testing.B) { benchmarkExchange(b, storeRQ(1, image(ex)), storeRSP(1, 0)) }
func BenchmarkEcho(b *testing.B)  { benchmarkExchange(b, echoRQ(1), echoRSP(1)) }

func benchmarkExchange(b *testing.B, request, response string) {
	p := play(b, `{}`, associateRQ(), associateAC())
	rq, rsp := []byte(request), []byte(response)
	b.ReportAllocs()
	for b.Loop() {
		p.out.Begin(sdk.Forward)
		p.inspector.Inspect(sdk.Forward, rq, false, &p.out)
		p.out.Begin(sdk.Reverse)
		p.inspector.Inspect(sdk.Reverse, rsp, false, &p.out)
	}
	if len(p.inspector.sides[0].open) != 0 {
		b.Fatal("requests stay open")
	}
}

// BenchmarkTinyFragments is a command set and a head that arrive byte by byte.
func BenchmarkTinyFragments(b *testing.B) {
	rq := []byte(storeRQ(1, image(ex)))
	for b.Loop() {
		p := play(b, `{}`, associateRQ(), associateAC())
		from := p.out.Covered(sdk.Forward)
		for n := range rq {
			p.out.Begin(sdk.Forward)
			covered := int(p.out.Covered(sdk.Forward) - from)
			p.inspector.Inspect(sdk.Forward, rq[min(covered, n+1):n+1], false, &p.out)
		}
	}
}

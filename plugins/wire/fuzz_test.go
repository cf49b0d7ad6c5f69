package wire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"reflect"
	"runtime"
	"slices"
	"testing"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// chunks is a reader that gives what it has in pieces of the sizes listed, over and over.
type chunks struct {
	b     []byte
	sizes []byte
	turn  int
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.b) == 0 {
		return 0, io.EOF
	}
	n := len(c.b)
	if len(c.sizes) > 0 {
		n = 1 + int(c.sizes[c.turn%len(c.sizes)])
		c.turn++
	}
	n = copy(p, c.b[:min(n, len(c.b))])
	c.b = c.b[n:]
	return n, nil
}

// readTo returns the frames of a stream and what ended it.
func readTo(r io.Reader, buffer int) (all []any, err error) {
	for br := bufio.NewReaderSize(r, buffer); ; {
		f, err := Read(br)
		if err != nil {
			return all, err
		}
		if s, ok := f.(Steps); ok && s.Err != nil {
			s.Err = errors.New(s.Err.Error()) // to be compared
			f = s
		}
		all = append(all, f)
	}
}

// A stream gives the same frames and the same end wherever it is cut, and whatever the size
// of the buffer.
func FuzzStream(f *testing.F) {
	whole := stream(frames())
	f.Add(whole, []byte{0})
	f.Add(whole, []byte{2, 3, 200})
	f.Add(append(slices.Clone(whole), 2, 0, 0, 0, 99, 0), []byte{6})
	f.Add(whole[:len(whole)-3], []byte{1, 0})
	f.Add(Steps{List: []sdk.Step{{Kind: sdk.StepSpan, N: -1}}}.Append(stream(frames()[:2])), []byte{4})
	f.Fuzz(func(t *testing.T, b, sizes []byte) {
		want, wantErr := readTo(&chunks{b: b}, 64<<10)
		for _, buffer := range []int{16, 64 << 10} {
			got, err := readTo(&chunks{b: b, sizes: sizes}, buffer)
			if !reflect.DeepEqual(got, want) || (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
				t.Fatalf("cut, with a buffer of %d: %d frames and %v, want %d and %v", buffer, len(got), err, len(want), wantErr)
			}
		}
	})
}

// The memory that decoding takes is bounded by the size of the frame.
const (
	bytesPerByte = 256
	bytesBesides = 64 << 10
)

func decodeMeasured(t *testing.T, body []byte) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	Decode(body)
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > uint64(bytesPerByte*len(body)+bytesBesides) {
		t.Errorf("decoding %d bytes took %d", len(body), took)
	}
}

func FuzzMemory(f *testing.F) {
	for _, b := range greedy() {
		f.Add(b)
	}
	f.Fuzz(decodeMeasured)
}

// greedy are frames that promise much, or hold as much as a frame can.
func greedy() [][]byte {
	head := []byte{byte(TypeSteps), 1, byte(TypeNotice), 0, 0}
	promise := func(kind byte, n uint64) []byte {
		b := append(slices.Clone(head), 1, byte(sdk.StepOperation), 1, 0, 0, 1, 'x', 4, 'r', 'e', 'a', 'd', 1, 1, 'a', kind)
		return binary.AppendUvarint(b, n)
	}
	var list [][]byte
	for _, kind := range []byte{valueString, valueStrings, valueInts} {
		for _, n := range []uint64{sdk.MaxFacts, math.MaxUint32, math.MaxUint64} {
			list = append(list, promise(kind, n))
		}
		list = append(list, append(promise(kind, sdk.MaxFacts-8), make([]byte, sdk.MaxFacts-8)...))
	}
	for _, n := range []uint64{sdk.MaxSteps, math.MaxUint64} {
		list = append(list, binary.AppendUvarint(slices.Clone(head), n))
		list = append(list, append(binary.AppendUvarint(slices.Clone(head), n), bytes.Repeat([]byte{byte(sdk.StepEnd), 0}, sdk.MaxSteps)...))
	}
	var many Steps
	for id := range sdk.OpID(30) {
		o := policy.Operation{Name: "x", Class: policy.ClassRead}
		o.Attributes.Set("a", make([]string, sdk.MaxFacts-100))
		many.List = append(many.List, sdk.Step{Kind: sdk.StepOperation, Op: id + 1, Operation: o})
	}
	return append(list, many.Append(nil)[4:])
}

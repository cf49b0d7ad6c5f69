package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"

	"cordon/deploy/guest"
)

// What device and client say to each other: each knows from a few bytes what all others must
// be, so that each can tell a byte that is lost, doubled, moved or changed.

// message is a result, with its MLLP frame.
func message(control string) string {
	return before + control + "|P|2.5.1\rPID|1||100123^^^HOSP^MR||DEMO^PATIENT\rOBX|1|NM|8480-6^Systolic^LN||121|mm[Hg]|||||F\x1c\r"
}

const before = "\vMSH|^~\\&|LAB|WARD|MON|WARD|20261122120000||ORU^R01|"

// acknowledgement is the device's answer.
func acknowledgement(control string) string {
	return "\vMSH|^~\\&|MON|WARD|LAB|WARD|20261122120000||ACK^R01|" + control + "|P|2.5.1\rMSA|AA|" + control + "\r\x1c\r"
}

// controlOf is what message was called with, "" if b does not say that yet.
func controlOf(b []byte) string {
	rest, ok := bytes.CutPrefix(b, []byte(before))
	if !ok {
		return ""
	}
	control, _, ok := bytes.Cut(rest, []byte{'|'})
	if !ok {
		return ""
	}
	return string(control)
}

// begins reports whether b is how a message begins.
func begins(b []byte) bool {
	if control := controlOf(b); control != "" {
		return strings.HasPrefix(message(control), string(b))
	}
	return strings.HasPrefix(before, string(b)) || bytes.HasPrefix(b, []byte(before)) && len(b) < len(before)+64
}

// flood is bytes without end that begin with their seed.
type flood struct {
	seed []byte
	rest *rand.ChaCha8
}

func newFlood(seed uint64) *flood {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], seed)
	return &flood{binary.BigEndian.AppendUint64(nil, seed), rand.NewChaCha8(key)}
}

func (f *flood) Read(b []byte) (int, error) {
	if len(f.seed) > 0 {
		n := copy(b, f.seed)
		f.seed = f.seed[n:]
		return n, nil
	}
	return f.rest.Read(b)
}

var printing sync.Mutex

// tell writes a verdict as one line.
func tell(v guest.Talk) {
	text, _ := json.Marshal(v)
	printing.Lock()
	defer printing.Unlock()
	fmt.Fprintf(os.Stdout, "%s\n", text)
}

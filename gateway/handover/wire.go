package handover

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"cordon/gateway/audit"
)

// version is that of what the two ends say. A process that knows another refuses.
const version = 1

// kind says what a message is.
type kind string

const (
	kindOffer    kind = "offer"
	kindPrepared kind = "prepared"
	kindRefused  kind = "refused"
	kindYours    kind = "yours"
	kindTaken    kind = "taken"
	kindLeading  kind = "leading"
	kindEntry    kind = "entry"
	kindReceipt  kind = "receipt"
	kindHeld     kind = "held"
	kindGrounds  kind = "grounds"
	kindAsked    kind = "asked" // the answer to grounds
	kindEnd      kind = "end"
)

// message is everything that is ever said; a kind uses some of the fields.
type message struct {
	Kind    kind            `json:"kind"`
	Offer   *Offer          `json:"offer,omitempty"`
	Why     json.RawMessage `json:"why,omitempty"`     // refused
	ID      uint64          `json:"id,omitempty"`      // entry, receipt; grounds, asked
	Entry   *entry          `json:"entry,omitempty"`   //
	Receipt *audit.Receipt  `json:"receipt,omitempty"` // without one, Error
	Error   string          `json:"error,omitempty"`   // receipt, asked
	Held    map[string]int  `json:"held,omitempty"`    // yours, held
	Grounds json.RawMessage `json:"grounds,omitempty"` //
	Ended   int             `json:"ended,omitempty"`   // asked
}

// entry is an audit.Entry whose input crosses byte by byte: an entry holds the exact question,
// and JSON within JSON may be written anew.
type entry struct {
	audit.Entry
	Input []byte // instead of the Entry's
}

func cross(e audit.Entry) *entry { return &entry{e, e.Input} }

func (e *entry) whole() audit.Entry {
	whole := e.Entry
	whole.Input = e.Input
	return whole
}

// Offer is what the new process is told when it starts.
type Offer struct {
	Version int             `json:"version"`
	Names   []string        `json:"names"`           // of the files that come with it, in their order
	Depth   int             `json:"depth"`           // processes that still have sessions, the one that offers included
	State   json.RawMessage `json:"state,omitempty"` // what else it has to know, as the caller writes it
}

// Bounds of the conversation.
const (
	maxMessage   = 64 << 20        // bytes; the grounds hold every device
	writeTimeout = 5 * time.Second // for the other end to take a message
	maxWaiting   = 4096            // entries without a receipt
)

// conn is one end of the socket pair. Any number may write, one reads.
type conn struct {
	c  net.Conn
	mu sync.Mutex // held while a message is written
}

// write sends m. An error is the end of the conversation.
func (c *conn) write(m message) error {
	text, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("write %q to the other process: %w", m.Kind, err)
	}
	if len(text) > maxMessage {
		return fmt.Errorf("write %q to the other process: %d bytes, at most %d", m.Kind, len(text), maxMessage)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.c.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := c.c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)); err != nil {
		c.c.Close() // a part of it may have gone
		return fmt.Errorf("write %q to the other process: %w", m.Kind, err)
	}
	return nil
}

// read waits for a message. Its error is io.EOF if the other process has ended.
func (c *conn) read() (m message, err error) {
	var head [4]byte
	if _, err := io.ReadFull(c.c, head[:]); err != nil {
		return m, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxMessage {
		return m, fmt.Errorf("read from the other process: %d bytes, at most %d", n, maxMessage)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(c.c, text); err != nil {
		return m, err
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("read from the other process: %w", err)
	}
	return m, nil
}

// pair makes the two ends; the second is for the process that is started.
func pair() (*conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "successor"), os.NewFile(uintptr(fds[1]), "predecessor")
	defer ours.Close() // net.FileConn makes its own
	c, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return &conn{c: c}, theirs, nil
}

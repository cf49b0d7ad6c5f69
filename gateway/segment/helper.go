package segment

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The helper is a process with CAP_NET_ADMIN and CAP_SYS_ADMIN that knows the plans; the
// daemon that faces clients has neither and asks it by name. They speak over one socket of
// type SOCK_SEQPACKET: one message asks, one answers, a file descriptor comes with the answer.
// A daemon in wrong hands can so have what the plans declare, and nothing else.

// Limits of the conversation.
const (
	maxRequest  = 512
	maxReply    = 64 << 10
	maxFindings = 100
	patience    = 10 * time.Second // for an answer, after which the helper counts as gone
)

type request struct {
	Do      string         `json:"do"` // "agree", "up", "dial", "listen", "inline", "instance", "dropped" or "findings"
	Segment string         `json:"segment"`
	Address netip.AddrPort `json:"address,omitzero"`
	Client  netip.Addr     `json:"client,omitzero"` // for whom to dial
	Plan    string         `json:"plan,omitempty"`  // what the client goes by, as Plan.digest writes it: to agree
}

// Declaration is what a helper goes by.
type Declaration interface {
	// Plans are the plans as they were read last.
	Plans() []Plan
	// Reread reads them again, and makes the segments that differ anew.
	Reread(ctx context.Context) error
}

type reply struct {
	Error    string    `json:"error,omitempty"`
	Findings []Finding `json:"findings,omitempty"`
	Instance uint64    `json:"instance,omitempty"`
}

// Serve answers a Client at the other end of conn, one request after the other, until that
// end is closed (then it returns nil) or ctx is done. A message that is none ends it: its
// sender is not to be trusted. The caller closes conn.
//
// A client that goes by another plan has what is declared read again: it chooses when, and not
// what.
func Serve(ctx context.Context, conn *net.UnixConn, keep Local, declared Declaration) error {
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	b := make([]byte, maxRequest+1)
	for {
		n, _, flags, _, err := conn.ReadMsgUnix(b, nil)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, io.EOF), err == nil && n == 0:
			return nil
		case err != nil:
			return fmt.Errorf("read a request for a segment: %w", err)
		case n > maxRequest || flags&unix.MSG_CTRUNC != 0:
			return errors.New("read a request for a segment: too long, or with file descriptors")
		}
		var q request
		d := json.NewDecoder(bytes.NewReader(b[:n]))
		d.DisallowUnknownFields()
		if err := d.Decode(&q); err != nil {
			return fmt.Errorf("read a request for a segment: %w", err)
		}
		if d.More() {
			return errors.New("read a request for a segment: more than one")
		}
		if err := answer(ctx, conn, keep, declared, q); err != nil {
			return fmt.Errorf("answer a request for segment %.40q: %w", q.Segment, err)
		}
	}
}

func answer(ctx context.Context, conn *net.UnixConn, keep Local, declared Declaration, q request) error {
	var r reply
	var file *os.File
	err := fmt.Errorf("segment %.40q: there is no such plan", q.Segment)
	plans := declared.Plans()
	if i := planned(plans, q.Segment); q.Do == "agree" {
		err = agree(ctx, declared, q)
	} else if i >= 0 {
		switch q.Do {
		case "up":
			err = keep.Up(ctx, plans[i])
		case "dial":
			file, err = keep.Dialer(ctx, plans[i], q.Address, q.Client)
		case "listen":
			file, err = keep.Listener(ctx, plans[i], q.Address)
		case "inline":
			file, err = keep.InlineListener(ctx, plans[i], q.Address)
		case "instance":
			r.Instance, err = keep.Instance(ctx, plans[i])
		case "dropped":
			file, err = keep.Dropped(ctx, plans[i])
		case "findings":
			r.Findings, err = keep.Findings(ctx, plans[i])
		default:
			err = fmt.Errorf("do %.40q: there is no such thing", q.Do)
		}
	}
	if err != nil {
		r.Error = err.Error()
	}
	if len(r.Findings) > maxFindings {
		r.Findings = append(r.Findings[:maxFindings], Finding{"high", "more", "there are more findings than are told", "remedy these first"})
	}
	message, err := json.Marshal(r)
	if err != nil || len(message) > maxReply {
		message, err = json.Marshal(reply{Error: "the answer is too long"})
	}
	if err != nil {
		return err
	}
	var rights []byte
	if file != nil {
		defer file.Close()
		rights = unix.UnixRights(int(file.Fd()))
		// Fd made it blocking, which the receiver would share.
		if err := unix.SetNonblock(int(file.Fd()), true); err != nil {
			return os.NewSyscallError("set nonblock", err)
		}
	}
	_, _, err = conn.WriteMsgUnix(message, rights, nil)
	return err
}

// planned is where the plan of that name is; -1: nowhere.
func planned(plans []Plan, name string) int {
	return slices.IndexFunc(plans, func(p Plan) bool { return p.Name == name })
}

// agree returns nil if the client goes by the plan that is declared.
func agree(ctx context.Context, declared Declaration, q request) error {
	same := func() bool {
		plans := declared.Plans()
		i := planned(plans, q.Segment)
		return i >= 0 && plans[i].digest() == q.Plan
	}
	if same() {
		return nil
	}
	if err := declared.Reread(ctx); err != nil {
		return fmt.Errorf("segment %.40q: read again what is declared: %w", q.Segment, err)
	}
	if !same() {
		return fmt.Errorf("segment %.40q: the helper has another configuration than the gateway", q.Segment)
	}
	return nil
}

// digest is the same for plans that are.
func (p Plan) digest() string {
	text, err := json.Marshal(p)
	if err != nil {
		panic(fmt.Sprintf("segment: encode a plan: %v", err)) // it has a JSON form
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Client is a Keeper that asks a helper. It may be used concurrently; requests wait for each
// other. After an error of the conversation itself every further request fails: the helper has
// to be started anew.
type Client struct {
	mu   sync.Mutex
	conn *net.UnixConn
	lost error
}

// NewClient asks the helper at the other end of conn, which must be of type SOCK_SEQPACKET.
// Close closes it.
func NewClient(conn *net.UnixConn) *Client { return &Client{conn: conn} }

// Close ends the conversation, and with it the helper's Serve. Sockets it gave stay.
func (c *Client) Close() error { return c.conn.Close() }

// Agree is part of Keeper.
func (c *Client) Agree(ctx context.Context, p Plan) error {
	return c.tell(ctx, request{Do: "agree", Segment: p.Name, Plan: p.digest()})
}

// Up is part of Keeper.
func (c *Client) Up(ctx context.Context, p Plan) error {
	return c.tell(ctx, request{Do: "up", Segment: p.Name})
}

func (c *Client) tell(ctx context.Context, q request) error {
	_, f, err := c.ask(ctx, q)
	if f != nil {
		f.Close()
	}
	return err
}

// Dialer is part of Keeper.
func (c *Client) Dialer(ctx context.Context, p Plan, to netip.AddrPort, client netip.Addr) (*os.File, error) {
	return c.file(ctx, request{Do: "dial", Segment: p.Name, Address: to, Client: client})
}

// Listener is part of Keeper.
func (c *Client) Listener(ctx context.Context, p Plan, at netip.AddrPort) (*os.File, error) {
	return c.file(ctx, request{Do: "listen", Segment: p.Name, Address: at})
}

// InlineListener is part of Keeper.
func (c *Client) InlineListener(ctx context.Context, p Plan, at netip.AddrPort) (*os.File, error) {
	return c.file(ctx, request{Do: "inline", Segment: p.Name, Address: at})
}

// Dropped is part of Keeper.
func (c *Client) Dropped(ctx context.Context, p Plan) (*os.File, error) {
	return c.file(ctx, request{Do: "dropped", Segment: p.Name})
}

// Instance is part of Keeper.
func (c *Client) Instance(ctx context.Context, p Plan) (uint64, error) {
	r, f, err := c.ask(ctx, request{Do: "instance", Segment: p.Name})
	if f != nil {
		f.Close()
	}
	return r.Instance, err
}

// Findings is part of Keeper. They are about the helper's plan of that name.
func (c *Client) Findings(ctx context.Context, p Plan) ([]Finding, error) {
	r, f, err := c.ask(ctx, request{Do: "findings", Segment: p.Name})
	if f != nil {
		f.Close()
	}
	return r.Findings, err
}

func (c *Client) file(ctx context.Context, q request) (*os.File, error) {
	_, f, err := c.ask(ctx, q)
	if err == nil && f == nil {
		err = errors.New("the helper gave no socket")
	}
	return f, err
}

func (c *Client) ask(ctx context.Context, q request) (reply, *os.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := errors.Join(ctx.Err(), c.lost); err != nil {
		return reply{}, nil, err
	}
	r, f, err := c.exchange(q)
	if err != nil {
		c.lost = fmt.Errorf("ask the segment helper: %w", err)
		return reply{}, nil, c.lost
	}
	if r.Error != "" {
		if f != nil {
			f.Close()
		}
		return reply{}, nil, errors.New(r.Error)
	}
	return r, f, nil
}

func (c *Client) exchange(q request) (r reply, f *os.File, err error) {
	message, err := json.Marshal(q)
	if err != nil {
		return r, nil, err
	}
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return r, nil, err
	}
	if _, err := c.conn.Write(message); err != nil {
		return r, nil, err
	}
	b, rights := make([]byte, maxReply+1), make([]byte, unix.CmsgSpace(4))
	n, nr, flags, _, err := c.conn.ReadMsgUnix(b, rights)
	if err != nil {
		return r, nil, err
	}
	if nr > 0 {
		controls, err := unix.ParseSocketControlMessage(rights[:nr])
		if err != nil {
			return r, nil, err
		}
		for _, m := range controls {
			fds, err := unix.ParseUnixRights(&m)
			if err != nil {
				return r, nil, err
			}
			for _, fd := range fds { // there is room for one
				f = os.NewFile(uintptr(fd), "segment")
			}
		}
	}
	if err = json.Unmarshal(b[:n], &r); err == nil && flags&unix.MSG_CTRUNC != 0 {
		err = errors.New("an answer with more file descriptors than one")
	}
	if err != nil && f != nil {
		f.Close()
		f = nil
	}
	return r, f, err
}

package segment

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The filters show what they drop through NFLOG: the kernel bounds how much before anybody is
// woken, what is shown is exactly what was dropped, and no second filter exists that could see
// it otherwise. (A packet socket would see all frames, wake for each, and judge them anew.)

// Watch calls f for what the segment's filters drop, once for each burst, until ctx is done
// (its error is then ctx.Err()) or the segment is made anew. Only one watcher can watch a segment. While f runs, the kernel
// keeps some hundred packets and forgets those beyond: f should not block.
func (s *Segment) Watch(ctx context.Context, f func(Event)) error {
	file, err := s.keep.Dropped(ctx, s.plan)
	if err != nil {
		return fmt.Errorf("watch segment %q: %w", s.plan.Name, err)
	}
	defer file.Close()
	stop := context.AfterFunc(ctx, func() { file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()

	bursts := bursts{seen: map[burst]*Event{}}
	b := make([]byte, 64<<10)
	for {
		file.SetReadDeadline(time.Now().Add(lookEvery))
		if ctx.Err() != nil { // the deadline it had set is gone
			return ctx.Err()
		}
		n, err := file.Read(b)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, os.ErrDeadlineExceeded):
			if err := s.still(ctx, file); err != nil {
				return fmt.Errorf("watch segment %q: %w", s.plan.Name, err)
			}
			continue
		case errors.Is(err, unix.ENOBUFS):
			continue // more than the kernel keeps was dropped: a burst it is all the same
		case err != nil:
			return fmt.Errorf("watch segment %q: %w", s.plan.Name, err)
		}
		messages, err := syscall.ParseNetlinkMessage(b[:n])
		if err != nil {
			return fmt.Errorf("watch segment %q: read what the kernel shows: %w", s.plan.Name, err)
		}
		now := time.Now()
		for _, m := range messages {
			if header, packet, ok := shown(m); ok {
				if e, first := bursts.add(s.plan.event(header, packet), now); first {
					f(e)
				}
			}
		}
	}
}

// ErrAnew is why a watch ends of a segment that was made anew.
var ErrAnew = errors.New("the segment was made anew")

// still returns ErrAnew if a socket is not in the segment any more. While nobody can say, it is.
func (s *Segment) still(ctx context.Context, socket *os.File) error {
	now, err := s.keep.Instance(ctx, s.plan)
	if err != nil {
		return nil
	}
	was, err := instanceOf(socket)
	if err == nil && was != now {
		err = ErrAnew
	}
	return err
}

// Bounds of what a watcher remembers.
const (
	quiet     = time.Minute // without a packet, after which the next begins a new burst
	maxBursts = 256         // at a time; beyond, everything else is one
)

// burst is what makes two dropped packets the same to a person.
type burst struct {
	kind     EventKind
	mac      MAC
	from, to string
}

type bursts struct{ seen map[burst]*Event }

// add counts an event. It reports whether it is to be told: the first of a burst, and those
// that make a long one ten times as long.
func (b *bursts) add(e Event, now time.Time) (Event, bool) {
	key := burst{e.Kind, e.MAC, e.From.String(), e.To.String() + e.Protocol}
	have := b.seen[key]
	if have == nil && len(b.seen) >= maxBursts {
		for k, x := range b.seen {
			if now.Sub(x.Time) > quiet {
				delete(b.seen, k)
			}
		}
		if len(b.seen) >= maxBursts {
			e = Event{Kind: Flood}
			key = burst{kind: Flood}
			have = b.seen[key]
		}
	}
	if have == nil || now.Sub(have.Time) > quiet && e.Kind != Chatter {
		e.Time, e.Count = now, 1
		b.seen[key] = &e
		return e, true
	}
	have.Time = now
	have.Count++
	if e.Kind == Chatter {
		return *have, false
	}
	for n := have.Count; n%10 == 0; n /= 10 {
		if n == 10 {
			return *have, true
		}
	}
	return *have, false
}

// Dropped is part of Keeper: a netlink socket that is bound to the segment's NFLOG group.
func (l Local) Dropped(ctx context.Context, p Plan) (*os.File, error) {
	return l.make(p, "nflog", unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER, func(fd int) error {
		if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return os.NewSyscallError("bind", err)
		}
		// Bind to the group; copy the packet's first bytes; hold them for a tenth of a second.
		request := nflogConfig(
			1, []byte{1},
			2, append(binary.BigEndian.AppendUint32(nil, logBytes), 2, 0),
			4, binary.BigEndian.AppendUint32(nil, 10),
		)
		if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return os.NewSyscallError("send", err)
		}
		b := make([]byte, 4096)
		n, _, err := unix.Recvfrom(fd, b, unix.MSG_DONTWAIT) // netlink answers before send returns
		if err != nil {
			return os.NewSyscallError("receive", err)
		}
		messages, err := syscall.ParseNetlinkMessage(b[:n])
		if err != nil || len(messages) == 0 || messages[0].Header.Type != unix.NLMSG_ERROR || len(messages[0].Data) < 4 {
			return errors.New("bind to NFLOG: an answer that is none")
		}
		switch code := int32(binary.NativeEndian.Uint32(messages[0].Data)); unix.Errno(-code) {
		case 0:
			return nil
		case unix.EBUSY, unix.EPERM: // the kernel says EPERM for another's group too
			return errors.New("bind to NFLOG: somebody watches it already, or CAP_NET_ADMIN is missing")
		default:
			return fmt.Errorf("bind to NFLOG: %w", unix.Errno(-code))
		}
	})
}

// nflogConfig is a message of linux/netfilter/nfnetlink_log.h, its attributes given as pairs of
// type and value.
func nflogConfig(pairs ...any) []byte {
	b := make([]byte, unix.SizeofNlMsghdr, 64)
	b = append(b, unix.AF_UNSPEC, 0, 0, logGroup)
	for i := 0; i < len(pairs); i += 2 {
		value := pairs[i+1].([]byte)
		b = binary.NativeEndian.AppendUint16(b, uint16(4+len(value)))
		b = binary.NativeEndian.AppendUint16(b, uint16(pairs[i].(int)))
		b = append(b, value...)
		b = append(b, make([]byte, -len(value)&3)...)
	}
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], unix.NFNL_SUBSYS_ULOG<<8|1) // NFULNL_MSG_CONFIG
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	return b
}

// shown takes the link header and the packet out of a message.
func shown(m syscall.NetlinkMessage) (header, packet []byte, ok bool) {
	if m.Header.Type != unix.NFNL_SUBSYS_ULOG<<8 || len(m.Data) < 4 {
		return nil, nil, false
	}
	for b := m.Data[4:]; len(b) >= 4; {
		n := int(binary.NativeEndian.Uint16(b))
		if n < 4 || n > len(b) {
			return nil, nil, false
		}
		switch binary.NativeEndian.Uint16(b[2:]) & 0x3fff {
		case 9: // NFULA_PAYLOAD
			packet = b[4:n]
		case 16: // NFULA_HWHEADER
			header = b[4:n]
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	return header, packet, true
}

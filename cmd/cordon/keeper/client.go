// Package keeper makes what needs privileges: network namespaces and sockets inside of them, for the segments
// that a configuration declares. A daemon that faces clients must not have CAP_NET_ADMIN, so a second process, the segment
// helper, has it: it sets segments up and gives the daemon sockets that its own reading of the configuration declares. It
// listens on a socket of type SOCK_SEQPACKET, one request on each connection, so that neither end's
// restart is more than a failed request to the other.
//
// Read plan.go for what is declared, client.go for the daemon's end, server.go for the helper's, and lifeline.go for how
// a helper ends with the gateway that started it. It does not defend against another process of the gateway's
// user: that can ask for the same sockets.
package keeper

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"cordon/gateway/segment"
)

// DefaultSocket is where cordon-segment.socket listens.
const DefaultSocket = "/run/cordon/segment.sock"

// For makes what needs privileges in this process if it has them, or asks the helper.
func For(socket string) segment.Keeper {
	if CanNetAdmin() {
		return segment.Local{}
	}
	return Helper{socket}
}

// CanNetAdmin reports whether this process has what segments need.
func CanNetAdmin() bool {
	var header unix.CapUserHeader
	var data [2]unix.CapUserData
	header.Version = unix.LINUX_CAPABILITY_VERSION_3
	const need = 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_SYS_ADMIN
	return unix.Capget(&header, &data[0]) == nil && data[0].Effective&need == need
}

// Helper is a segment.Keeper that asks the process which listens at a path. Every method waits for its answer until the
// context is done; ErrNoHelper: nobody listens.
type Helper struct{ Socket string }

// ErrNoHelper is a segment in which nobody can make sockets.
var ErrNoHelper = errors.New("the segment helper does not answer")

func ask[T any](ctx context.Context, h Helper, do func(*segment.Client) (T, error)) (T, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unixpacket", h.Socket)
	if err != nil {
		var none T
		return none, fmt.Errorf("%w: %w", ErrNoHelper, err)
	}
	c := segment.NewClient(conn.(*net.UnixConn))
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	return do(c)
}

func (h Helper) Agree(ctx context.Context, p segment.Plan) error {
	_, err := ask(ctx, h, func(c *segment.Client) (struct{}, error) { return struct{}{}, c.Agree(ctx, p) })
	return err
}

func (h Helper) Up(ctx context.Context, p segment.Plan) error {
	_, err := ask(ctx, h, func(c *segment.Client) (struct{}, error) { return struct{}{}, c.Up(ctx, p) })
	return err
}

func (h Helper) Dialer(ctx context.Context, p segment.Plan, to netip.AddrPort, client netip.Addr) (*os.File, error) {
	return ask(ctx, h, func(c *segment.Client) (*os.File, error) { return c.Dialer(ctx, p, to, client) })
}

func (h Helper) Listener(ctx context.Context, p segment.Plan, at netip.AddrPort) (*os.File, error) {
	return ask(ctx, h, func(c *segment.Client) (*os.File, error) { return c.Listener(ctx, p, at) })
}

func (h Helper) InlineListener(ctx context.Context, p segment.Plan, at netip.AddrPort) (*os.File, error) {
	return ask(ctx, h, func(c *segment.Client) (*os.File, error) { return c.InlineListener(ctx, p, at) })
}

func (h Helper) Dropped(ctx context.Context, p segment.Plan) (*os.File, error) {
	return ask(ctx, h, func(c *segment.Client) (*os.File, error) { return c.Dropped(ctx, p) })
}

func (h Helper) Instance(ctx context.Context, p segment.Plan) (uint64, error) {
	return ask(ctx, h, func(c *segment.Client) (uint64, error) { return c.Instance(ctx, p) })
}

func (h Helper) Findings(ctx context.Context, p segment.Plan) ([]segment.Finding, error) {
	return ask(ctx, h, func(c *segment.Client) ([]segment.Finding, error) { return c.Findings(ctx, p) })
}

package gateway

import (
	"context"
	"net"
	"net/netip"
	"time"

	"cordon/plugins"
	"cordon/policy"
)

// Route joins one listener to one service of one device. Medical clients send neither SNI
// nor ALPN, so the address a client connects to is what names the device.
type Route struct {
	Listen       string         // host:port clients connect to
	Device       policy.Device  // as policy sees it
	Service      policy.Service // as policy sees it
	Address      string         // host:port of the device
	Plugin       *plugins.Plugin
	Number       uint32        // of the service in Plugin's configuration
	Sessions     int           // at a time, beyond which connecting is refused; 0: no limit of its own
	IdleTimeout  time.Duration // without a byte either way, the session ends; 0: never
	AllowUnknown []string      // operations of class unknown that policy may allow, by name
	UnseenReply  bool          // do not show replies to the plugin; only for stream

	// InsecureTLS12 admits clients that know nothing newer than TLS 1.2, whose certificates
	// then cross the network in clear.
	InsecureTLS12 bool

	// Listener opens what clients connect to; nil: at Listen, in the host's network. It may
	// block until ctx is done. The gateway closes the listener.
	Listener func(ctx context.Context) (net.Listener, error)
	// Dial reaches the device by TCP, for the client with an address; nil: at Address, from the
	// host's network.
	Dial func(ctx context.Context, client netip.Addr) (net.Conn, error)

	CallOut *CallOut // nil: clients connect, and the device is dialled

	// Answer reports what is wrong with a plugin's refusal of what the device asked for. It
	// must accept nothing but a negative answer of the protocol, whoever made it up. nil:
	// nothing is ever told to the device, and such a session ends.
	Answer func([]byte) error
}

// Name is the service's name together with the device's: "mon-7/hl7".
func (r *Route) Name() string { return r.Device.ID + "/" + r.Service.Name }

// Place names the listener among all of a gateway's: the address, behind the segment it is in.
// Devices that call out may share one: who calls there tells whose route it is.
func (r *Route) Place() string {
	if r.CallOut != nil {
		return r.Device.Segment + " " + r.Listen
	}
	return r.Listen
}

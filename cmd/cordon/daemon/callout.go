package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"cordon/certs"
	"cordon/certs/ca"
	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/home"
	"cordon/cmd/cordon/keeper"
	"cordon/gateway"
	"cordon/policy"
)

// ServicesOf are what a device offers and what it opens by itself: to a plugin they are alike.
func ServicesOf(d *config.Device) (all []service) {
	for i := range d.Services {
		all = append(all, service{device: d, Service: &d.Services[i]})
	}
	for i := range d.CallOut {
		o := &d.CallOut[i]
		all = append(all, service{device: d, callOut: o, Service: &config.Service{
			Name: o.Name, Proto: o.Proto, Listen: config.Listen{Addr: o.Catch.Addr(), Port: o.Catch.Port()},
			Sessions: o.Sessions, IdleTimeout: o.IdleTimeout, AllowUnknown: o.AllowUnknown, Settings: o.Settings,
		}})
	}
	return all
}

// path is where the configuration says it.
func (s service) path() []string {
	if s.callOut != nil {
		return []string{"devices", s.device.ID, "call_out", s.Name}
	}
	return []string{"devices", s.device.ID, "services", s.Name}
}

// callOut is the part of a route that a device opens by itself; nil if clients do.
func (a *Assembly) callOut(s service, log *slog.Logger) *gateway.CallOut {
	if s.callOut == nil {
		return nil
	}
	b := &deviceBadge{config: a.Config, id: s.device.ID, serverName: s.callOut.ServerName}
	return &gateway.CallOut{
		Listen: func(ctx context.Context) (net.Listener, error) {
			in := a.segments[s.device.Segment]
			if in == nil {
				return nil, keeper.ErrNoHelper
			}
			return in.Stand(ctx, s.callOut.Catch, func(err error) {
				about := log.With("device", s.device.ID, "service", s.Name, "catch", s.callOut.Catch, "segment", s.device.Segment)
				if err != nil {
					about.Warn("call-out cannot be taken, tried again", "error", err)
				} else {
					about.Info("call-out can be taken")
				}
			})
		},
		From: append([]netip.Addr{s.device.Address}, s.device.FurtherAddresses...),
		To:   s.callOut.To, TLS: b.tls,
		// What its certificate will say. The role is for policies; the shipped one permits it nothing.
		Peer: policy.Subject{ID: s.callOut.ServerName, Kind: policy.KindService, Roles: []string{"destination"}, Groups: []string{}},
	}
}

// deviceBadge is the certificate a device has by way of the gateway, which holds its key: the
// device cannot. It is issued when it is first needed, and anew at two thirds of its life.
type deviceBadge struct {
	config         *config.Config
	id, serverName string

	mu    sync.Mutex
	ready *tls.Config
	renew time.Time
}

// tls is the TLS configuration towards the destination. It may wait for the authority's
// database, 5 s at most.
func (b *deviceBadge) tls(ctx context.Context) (*tls.Config, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ready != nil && time.Now().Before(b.renew) {
		return b.ready, nil
	}
	authority, err := home.OpenAuthority(b.config)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	issued, err := authority.Issue(ctx, ca.Request{Kind: policy.KindDevice, ID: b.id, Roles: []string{policy.KindDevice}})
	if err != nil {
		return nil, fmt.Errorf("issue a certificate for device %q: %w", b.id, err)
	}
	pair, err := tls.X509KeyPair(issued.Chain, issued.Key)
	if err != nil {
		return nil, fmt.Errorf("read the certificate of device %q: %w", b.id, err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(issued.CA)
	if file := b.config.Identity.CA.TrustFile; file != "" {
		text, err := os.ReadFile(file)
		if err == nil && !roots.AppendCertsFromPEM(text) {
			err = errors.New("no certificate in it")
		}
		if err != nil {
			return nil, fmt.Errorf("read roots of destinations from %s: %w", file, err)
		}
	}
	b.ready = certs.ClientConfig(roots, pair, b.serverName)
	b.renew = began.Add(issued.Identity.NotAfter.Sub(began) * 2 / 3)
	return b.ready, nil
}

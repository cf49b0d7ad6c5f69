package gateway

import (
	"cmp"
	"slices"
	"time"
)

// Live is an established session.
type Live struct {
	ID      string
	Subject string // "vendor/acme"
	Device  string
	Service string
	Client  string    // its address, without port
	Began   time.Time // by the gateway's clock
	Refused bool      // it may not connect: every operation in it is refused
}

// Live returns the established sessions, by device, subject and beginning.
func (g *Gateway) Live() []Live {
	list := []Live{}
	for _, s := range g.live() {
		list = append(list, s.asLive())
	}
	slices.SortFunc(list, func(a, b Live) int { return a.compare(&b) })
	return list
}

func (s *session) asLive() Live {
	subject := &s.request.Subject // of a session for good, so no lock is needed
	return Live{s.request.Session.ID, subject.Kind + "/" + subject.ID, s.route.Device.ID, s.route.Service.Name, s.source, s.began, s.refused != nil}
}

func (l *Live) compare(o *Live) int {
	return cmp.Or(cmp.Compare(l.Device, o.Device), cmp.Compare(l.Subject, o.Subject), l.Began.Compare(o.Began))
}

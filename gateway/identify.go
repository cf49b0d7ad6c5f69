package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"strings"
	"sync"
	"time"
	"unique"

	"cordon/certs"
	"cordon/gateway/audit"
	"cordon/policy"
)

// identify finishes the handshake and says who is there, and what proves it.
// A client without a valid certificate gets a TLS alert from within the handshake.
func (g *Gateway) identify(ctx context.Context, conn *tls.Conn) (*certs.Identity, credentials, error) {
	ctx, cancel := context.WithTimeout(ctx, g.Limits.HandshakeTimeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, nil, err
	}
	state := conn.ConnectionState()
	id, err := g.verifier.Identify(state)
	if err != nil {
		return nil, nil, err
	}
	kept := keep(state.PeerCertificates)
	forget(state)
	return id, kept, nil
}

// tlsVersion is the version agreed upon, as policy knows it: "1.3".
func tlsVersion(conn *tls.Conn) string {
	return strings.TrimPrefix(tls.VersionName(conn.ConnectionState().Version), "TLS ")
}

func subject(id *certs.Identity) policy.Subject {
	return policy.Subject{ID: id.ID, Kind: id.Kind, Roles: orEmpty(id.Roles), Groups: orEmpty(id.Groups), MFA: id.MFA}
}

// orEmpty keeps null out of the policy's input.
func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// credentials are a client's certificates, the leaf first, each in DER. Sessions of one
// client, and of one authority, share them; parsed ones would take several times the room.
type credentials []unique.Handle[string]

// maxChain bounds them, in bytes. Where they are longer only the leaf stays, and if no root
// vouches for that alone, the session ends when trust in certificates changes.
const maxChain = 64 << 10

func keep(peers []*x509.Certificate) credentials {
	size := 0
	for _, c := range peers {
		size += len(c.Raw)
	}
	if size > maxChain {
		peers = peers[:1]
	}
	kept := make(credentials, len(peers))
	for i, c := range peers {
		kept[i] = unique.Make(string(c.Raw))
	}
	return kept
}

// identifyAgain says who is there, as identify did, at this moment.
func (g *Gateway) identifyAgain(c credentials) (*certs.Identity, error) {
	peers := make([]*x509.Certificate, len(c))
	for i, der := range c {
		var err error
		if peers[i], err = x509.ParseCertificate([]byte(der.Value())); err != nil {
			return nil, err
		}
	}
	return g.verifier.Identify(tls.ConnectionState{PeerCertificates: peers})
}

// forget drops the certificates that the connection keeps for its whole life: the state's
// slices are the connection's own, and an idle session should cost next to nothing.
func forget(state tls.ConnectionState) {
	clear(state.PeerCertificates)
	for _, chain := range state.VerifiedChains {
		clear(chain)
	}
}

// strangers limits the entries that failed handshakes may cause: anybody can make them,
// and a log that strangers can fill is a way to stop the gateway.
type strangers struct {
	mu      sync.Mutex
	tokens  float64
	last    time.Time
	missing int64 // failed handshakes since the last entry that got none
}

const (
	strangerBurst = 50
	strangerRate  = 5 // entries a second
)

// allow reports whether another entry may be made, and how many were left out before it.
func (s *strangers) allow(now time.Time) (left int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last.IsZero() {
		s.tokens = strangerBurst
	} else {
		s.tokens = min(strangerBurst, s.tokens+now.Sub(s.last).Seconds()*strangerRate)
	}
	s.last = now
	if s.tokens < 1 {
		s.missing++
		return 0, false
	}
	s.tokens--
	left, s.missing = s.missing, 0
	return left, true
}

// recordStranger records a handshake that failed. There is nobody to tell the code to; it
// is for those who read the log.
func (g *Gateway) recordStranger(r *Route, source string, cause error) {
	left, ok := g.strangers.allow(time.Now())
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), g.Limits.RecordTimeout)
	defer cancel()
	request := policy.Request{
		Phase: policy.PhaseConnect, Subject: policy.Subject{ID: "unknown", Roles: []string{}, Groups: []string{}},
		Device: g.grounds.Load().device(r), Service: r.Service, NowNs: time.Now().UnixNano(),
		Session: policy.Session{Direction: policy.Inbound, Client: source},
	}
	entry := audit.Entry{Kind: audit.KindHandshake, Gateway: g.Name, Input: request.AppendJSON(nil),
		Decision: policy.Decision{Reason: handshakeReason(cause), Cause: policy.CausePolicy}}
	if left > 0 {
		entry.Note = plural(left, "failed handshake", "failed handshakes") + " before this one without an entry"
	}
	if _, err := g.Log.Append(ctx, entry); err != nil {
		g.Logger.Warn("record a failed handshake", "source", source, "error", err)
	}
}

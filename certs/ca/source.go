package ca

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"cordon/certs"
)

// serverTTL is the life of the gateway's own certificates.
const serverTTL = 24 * time.Hour

// SourceConfig says what a gateway needs of its authority.
type SourceConfig struct {
	// Names are the host names and IP addresses clients reach the gateway by, at
	// least one. localhost, 127.0.0.1 and ::1 are always added.
	Names []string

	// TrustFile holds, in PEM, further authorities whose client certificates are
	// accepted: a hospital's existing CA. Those need the same SPIFFE name; where they
	// carry no roles the subject has none. "" for none.
	TrustFile string

	// CRLFile holds what the authorities of TrustFile have revoked: in PEM, a list of each, or one list
	// in DER. Clients of an authority without a list in force are refused then; that the file is missing or holds
	// something else keeps no Source from starting, and the lists last known are kept for that. "" for none: nobody asks.
	CRLFile string

	// Tried is told how each renewal of the gateway's certificates went, of the files that are followed
	// when one of them cannot be any more, and with nil when all can again; of CRLFile, and of lists in it that
	// are missing, over or soon will be, whenever that changes; nil: nobody is. It must return at once.
	Tried func(what Followed, err error)

	Log *slog.Logger
}

// Followed is what a Source keeps up with.
type Followed string

// What there is to be followed.
const (
	Renewal Followed = "certificates"     // the gateway's own certificates
	Trust   Followed = "trust"            // the files with our own revocations and trusted authorities
	Lists   Followed = "revocation-lists" // CRLFile, and that every authority of the trust file has a list in force
)

// Source is a gateway's side of the authority. It implements certs.Source.
type Source struct {
	a     *Authority
	names []string
	log   *slog.Logger
	trust *trust
	certs atomic.Pointer[[]*tls.Certificate]
	tried func(Followed, error)

	mu      sync.Mutex
	overdue error // why the last renewal failed; nil: it did not
}

var _ certs.Source = (*Source)(nil)

// Source issues the gateway's certificates and starts to follow revocations and the
// trust file. Run keeps the certificates valid; without it they end after a day.
func (a *Authority) Source(ctx context.Context, c SourceConfig) (*Source, error) {
	s := &Source{a: a, log: c.Log, tried: c.Tried}
	if s.tried == nil {
		s.tried = func(Followed, error) {}
	}
	for _, name := range slices.Concat(c.Names, []string{"localhost", "127.0.0.1", "::1"}) {
		if !slices.Contains(s.names, name) {
			s.names = append(s.names, name)
		}
	}
	// The list on disk is brought up to the database first: a revocation may have been
	// recorded by a process that died before it could write the file.
	if err := s.renew(ctx); err != nil {
		return nil, fmt.Errorf("start authority's source: %w", err)
	}
	t, err := newTrust(a, c.TrustFile, c.CRLFile, c.Log, s.tried)
	if err != nil {
		return nil, fmt.Errorf("start authority's source: %w", err)
	}
	s.trust = t
	return s, nil
}

// Certificates returns the ECDSA certificate and the RSA one.
func (s *Source) Certificates() []*tls.Certificate { return *s.certs.Load() }

// Roots returns this authority's root and those of the trust file.
func (s *Source) Roots() (own, foreign *x509.CertPool) {
	return s.trust.own, s.trust.now().foreign
}

// CheckRevocation looks for the leaf in this authority's own list, and for every certificate
// of a foreign chain in the lists of CRLFile.
func (s *Source) CheckRevocation(chain []*x509.Certificate) error {
	k, leaf, anchor := s.trust.now(), chain[0], chain[len(chain)-1]
	if k.revoked[certs.Serial(leaf.SerialNumber)] && bytes.Equal(leaf.RawIssuer, s.a.intermediate.RawSubject) {
		return fmt.Errorf("%w: serial %s", certs.ErrRevoked, certs.Serial(leaf.SerialNumber))
	}
	if k.lists == nil || anchor.Equal(s.a.root) || anchor.Equal(s.a.intermediate) {
		return nil
	}
	return k.authorities.checkRevocation(k.lists, chain, time.Now())
}

// Epoch grows when one of the files has changed, and when a list is over. It looks at
// the files, four times a second at most.
func (s *Source) Epoch() uint64 { return s.trust.now().epoch }

// Look looks at the files at once. Its error says what cannot be followed at present, an overdue renewal
// included; what was known before stays in use.
func (s *Source) Look() error {
	fault := s.trust.look()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.overdue != nil {
		fault = errors.Join(fault, fmt.Errorf("renew the gateway's certificates: %w", s.overdue))
	}
	return fault
}

// Ends returns when the certificates end on which the gateway rests: "server-ecdsa" and "server-rsa", which
// Run renews, and "intermediate" and "root"; with lists of other authorities, the first of them as "revocation-list".
func (s *Source) Ends() map[string]time.Time {
	own := s.Certificates()
	ends := map[string]time.Time{"server-ecdsa": own[0].Leaf.NotAfter, "server-rsa": own[1].Leaf.NotAfter,
		"intermediate": s.a.intermediate.NotAfter, "root": s.a.root.NotAfter}
	for _, l := range s.trust.now().lists {
		if first, others := ends["revocation-list"]; !others || l.nextUpdate.Before(first) {
			ends["revocation-list"] = l.nextUpdate
		}
	}
	return ends
}

// Run renews the gateway's certificates at two thirds of their life until ctx ends.
// It goes by the wall clock, looked at every minute, so that a machine that slept
// renews when it wakes. A renewal that fails is reported and tried again, ever more
// seldom up to a quarter of an hour; the old certificates serve until they end.
func (s *Source) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	var wait time.Duration
	var notBefore time.Time // of the next attempt
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := time.Now().Round(0) // no monotonic reading: sleep counts
		if now.Before(notBefore) || now.Before(s.renewalDue()) {
			continue
		}
		err := s.renew(ctx)
		s.mu.Lock()
		s.overdue = err
		s.mu.Unlock()
		s.tried(Renewal, err)
		if err != nil {
			wait = min(max(2*wait, time.Minute), 15*time.Minute)
			notBefore = now.Add(wait/2 + rand.N(wait/2+1))
			s.log.Error("server certificates not renewed", "err", err, "not_after", s.Certificates()[0].Leaf.NotAfter)
			continue
		}
		wait, notBefore = 0, time.Time{}
		s.log.Info("server certificates renewed", "not_after", s.Certificates()[0].Leaf.NotAfter)
	}
}

// renewalDue is two thirds into the first certificate's life, less up to a tenth
// that its serial number decides, so that gateways started together do not renew
// together.
func (s *Source) renewalDue() time.Time {
	leaf := s.Certificates()[0].Leaf
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	jitter := time.Duration(leaf.SerialNumber.Bits()[0]%1000) * life / 10_000
	return leaf.NotBefore.Add(life*2/3 - jitter)
}

// renew issues new server certificates, brings the revocation list up to date, which
// also renews it, and lets the database forget what is long over.
func (s *Source) renew(ctx context.Context) error {
	return s.a.use(func(open *session) error {
		var fresh []*tls.Certificate
		for _, key := range []KeyType{ECDSA, RSA} {
			c, err := open.issueServer(ctx, s.names, key, serverTTL)
			if err != nil {
				return err
			}
			fresh = append(fresh, c)
		}
		if err := open.forget(time.Now()); err != nil {
			return fmt.Errorf("forget old certificates: %w", err)
		}
		if err := open.publish(); err != nil {
			return err
		}
		s.certs.Store(&fresh)
		return nil
	})
}

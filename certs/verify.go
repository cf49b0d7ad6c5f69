package certs

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// Why a client was refused. What Identify returns wraps one of them, with a short
// detail that quotes at most a few dozen bytes of the certificate and is safe to log.
var (
	ErrNoCertificate = errors.New("no client certificate")
	ErrExpired       = errors.New("client certificate outside its validity")
	ErrUntrusted     = errors.New("client certificate not from a trusted authority")
	ErrRevoked       = errors.New("client certificate revoked")
	ErrProfile       = errors.New("client certificate unlike the profile")

	// The authority's list of what it has revoked is missing or over.
	ErrRevocationUnknown = errors.New("revocation of the client certificate unknown")
)

// Verifier checks client certificates against a Source. It may be used
// concurrently.
type Verifier struct {
	src         Source
	trustDomain string
	now         func() time.Time
	known       known
}

// NewVerifier returns a Verifier of identities in trustDomain.
func NewVerifier(src Source, trustDomain string) *Verifier {
	return &Verifier{src: src, trustDomain: trustDomain, now: time.Now}
}

// Identify says who the peer of a connection is: chain, profile, revocation, all
// at this moment. It may be called again for a live session, as often as the
// Source's Epoch changes, and is cheap when nothing has.
//
// During a handshake it runs before the peer has proved that it holds the key
// (RFC 8446, section 4.4.3), so its answer counts only once the handshake has
// succeeded.
func (v *Verifier) Identify(cs tls.ConnectionState) (*Identity, error) {
	if len(cs.PeerCertificates) == 0 {
		return nil, ErrNoCertificate
	}
	leaf := cs.PeerCertificates[0]
	now := v.now()
	if err := within(leaf.NotBefore, leaf.NotAfter, now); err != nil {
		return nil, err
	}
	epoch := v.src.Epoch() // before anything that depends on it
	sum := sha256.Sum256(leaf.Raw)
	f, ok := v.known.get(sum, epoch)
	if !ok {
		var err error
		if f, err = v.verify(cs.PeerCertificates, now); err != nil {
			return nil, err
		}
		v.known.put(sum, epoch, f)
	} else if err := v.checkRevocation(f); err != nil {
		return nil, err
	}
	if err := within(f.notBefore, f.id.NotAfter, now); err != nil {
		return nil, err
	}
	return f.id, nil
}

func (v *Verifier) checkRevocation(f finding) error {
	if err := v.src.CheckRevocation(f.chain); err != nil {
		return fmt.Errorf("%w of %s", err, f.id.URI())
	}
	return nil
}

func within(notBefore, notAfter, now time.Time) error {
	switch {
	case now.Before(notBefore):
		return fmt.Errorf("%w: begins %s", ErrExpired, notBefore.UTC().Format(time.RFC3339))
	case now.After(notAfter):
		return fmt.Errorf("%w: ended %s", ErrExpired, notAfter.UTC().Format(time.RFC3339))
	}
	return nil
}

// verify finds a chain for the leaf, the first of peers, that counts, and reads its
// identity. Of several chains one is enough (RFC 5280, section 6.1): an authority that was
// signed anew is not held up by what became of its older certificate.
func (v *Verifier) verify(peers []*x509.Certificate, now time.Time) (finding, error) {
	own, foreign := v.src.Roots()
	chains, err := chainsTo(own, peers, now)
	needClaims := true
	if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); unknown && foreign != nil {
		chains, err = chainsTo(foreign, peers, now)
		needClaims = false
	}
	if err != nil {
		return finding{}, refusal(err)
	}
	id, err := parse(peers[0], v.trustDomain, needClaims)
	if err != nil {
		return finding{}, err
	}
	// crypto/x509 asks no key size of the authorities between leaf and root.
	for _, chain := range chains {
		var f finding
		if f, err = spanOf(chain, id); err == nil {
			err = v.checkRevocation(f)
		}
		if err == nil {
			return f, nil
		}
	}
	return finding{}, err
}

func chainsTo(roots *x509.CertPool, peers []*x509.Certificate, now time.Time) ([][]*x509.Certificate, error) {
	if roots == nil {
		roots = x509.NewCertPool() // nil would mean the system's
	}
	between := x509.NewCertPool()
	for _, c := range peers[1:] {
		between.AddCert(c)
	}
	return peers[0].Verify(x509.VerifyOptions{
		Roots:         roots,
		Intermediates: between,
		CurrentTime:   now,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

// refusal sorts what crypto/x509 says. Its texts are not passed on: some of them
// quote the certificate at length.
func refusal(err error) error {
	invalid, ok := errors.AsType[x509.CertificateInvalidError](err)
	_, critical := errors.AsType[x509.UnhandledCriticalExtension](err)
	switch {
	case ok && invalid.Reason == x509.Expired:
		return fmt.Errorf("%w: that of an authority above it", ErrExpired)
	case ok && invalid.Reason == x509.IncompatibleUsage:
		return fmt.Errorf("%w: extended key usage lacks clientAuth", ErrProfile)
	case ok && invalid.Reason == x509.CANotAuthorizedForThisName:
		return fmt.Errorf("%w: the authority may not issue this name", ErrUntrusted)
	case critical:
		return fmt.Errorf("%w: unknown critical extension", ErrProfile)
	case ok:
		return fmt.Errorf("%w: invalid chain", ErrUntrusted)
	}
	return fmt.Errorf("%w: no chain to a trusted root", ErrUntrusted)
}

// finding is what a verified chain amounts to, and from when on; the identity says
// until when.
type finding struct {
	id        *Identity
	chain     []*x509.Certificate
	notBefore time.Time
}

func spanOf(chain []*x509.Certificate, id *Identity) (finding, error) {
	f := finding{chain: chain, notBefore: chain[0].NotBefore}
	whole := *id
	for _, c := range chain {
		if err := checkKey(c); err != nil {
			return finding{}, fmt.Errorf("%w: in the chain: %w", ErrProfile, err)
		}
		if c.NotBefore.After(f.notBefore) {
			f.notBefore = c.NotBefore
		}
		if c.NotAfter.Before(whole.NotAfter) {
			whole.NotAfter = c.NotAfter
		}
	}
	f.id = &whole
	return f, nil
}

package certs

import (
	"crypto/tls"
	"crypto/x509"
)

// Source is what the gateway's side of a handshake rests on. Its methods are
// called during handshakes, concurrently; they must not block on anything slower
// than a local file.
type Source interface {
	// Certificates returns the gateway's own certificates, the preferred one first
	// and at least one. Each client is shown the first it can verify, so a list of
	// ECDSA and RSA serves old and new clients. The caller changes nothing in it.
	Certificates() []*tls.Certificate

	// Roots returns whom client certificates may come from: own are authorities that
	// write roles into what they issue, so that absent roles are a refusal; foreign
	// ones (a hospital's existing CA) may leave them out. foreign may be nil.
	Roots() (own, foreign *x509.CertPool)

	// CheckRevocation says why a chain, from a leaf to one of the roots, does not count
	// although its signatures are good: a certificate of it has been taken back
	// (ErrRevoked), or whoever would say so has not for too long (ErrRevocationUnknown).
	// Its error ends with the leaf's serial number.
	CheckRevocation(chain []*x509.Certificate) error

	// Epoch grows whenever Roots or an answer of CheckRevocation has changed. Whoever keeps a
	// conclusion keeps the Epoch read before drawing it, and draws it anew when the
	// number differs.
	Epoch() uint64
}

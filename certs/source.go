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

	// Revoked reports whether a certificate that was issued by one of the roots has
	// been taken back.
	Revoked(leaf *x509.Certificate) bool

	// Epoch grows whenever Roots or an answer of Revoked has changed. Whoever keeps a
	// conclusion keeps the Epoch read before drawing it, and draws it anew when the
	// number differs.
	Epoch() uint64
}

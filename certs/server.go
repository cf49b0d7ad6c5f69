package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
)

// ServerConfig returns the TLS configuration of a listener on which every client
// must be identified: TLS 1.3, hybrid post-quantum key agreement first, no session
// tickets. v must be made of the same Source.
//
// crypto/tls is told to require a certificate and not to verify it; v does, in
// VerifyConnection. So roots are replaced without touching listeners, findings are
// remembered, and the check runs on every handshake (VerifyPeerCertificate is
// skipped on a resumed one). A client without a certificate is answered with the
// alert certificate_required by crypto/tls itself, any other refused client with
// bad_certificate, and the error of the handshake wraps the sentinel of Identify.
// In either case no application data has been read or written.
func ServerConfig(src Source, v *Verifier) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		CurvePreferences:       groups(),
		SessionTicketsDisabled: true, // a resumed session would outlive the key that opened it
		ClientAuth:             tls.RequireAnyClientCert,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return choose(src.Certificates(), hello)
		},
		VerifyConnection: func(cs tls.ConnectionState) error {
			_, err := v.Identify(cs)
			return err
		},
	}
}

// LowerToTLS12 returns c with TLS 1.2 admitted, for a listener whose clients know nothing
// newer: only with ephemeral keys and AES-GCM, as BCP 195 (RFC 9325 section 4.2) and the
// DICOM profile after it (PS3.15 section B.12) ask, and without renegotiation, as always.
// TLS 1.3 is still preferred. What TLS 1.2 gives away: the client's certificate crosses
// the network in clear, and no key agreement withstands a quantum computer.
func LowerToTLS12(c *tls.Config) *tls.Config {
	c = c.Clone()
	c.MinVersion = tls.VersionTLS12
	c.CipherSuites = []uint16{ // of TLS 1.2; those of TLS 1.3 are not chosen here
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	}
	return c
}

// ClientConfig returns the TLS configuration of a client of such a listener: it
// accepts only a server called serverName whose chain ends in roots.
func ClientConfig(roots *x509.CertPool, cert tls.Certificate, serverName string) *tls.Config {
	return &tls.Config{
		MinVersion:       tls.VersionTLS13,
		CurvePreferences: groups(),
		RootCAs:          roots,
		Certificates:     []tls.Certificate{cert},
		ServerName:       serverName,
	}
}

func groups() []tls.CurveID {
	return []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384}
}

// choose takes the first certificate whose key the client can verify, or else the
// first. Names do not count: many clients reach a device by an address or a name of
// their own, and whether the certificate is for it is theirs to judge.
func choose(certs []*tls.Certificate, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	nameless := *hello
	nameless.ServerName = ""
	for _, c := range certs {
		if nameless.SupportsCertificate(c) == nil {
			return c, nil
		}
	}
	if len(certs) == 0 {
		return nil, errors.New("no server certificate")
	}
	return certs[0], nil
}

package ca

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"net/url"
	"slices"
	"time"

	"cordon/certs"

	"github.com/smallstep/certificates/authority"
	"github.com/smallstep/certificates/authority/provisioner"
	"go.step.sm/crypto/jose"
)

// clientTemplate writes the profile of package certs. A claim absent from the token
// would silently become null; it fails instead.
const clientTemplate = `
{{- if not (kindIs "slice" .Token.roles) }}{{ fail "the request has no list of roles" }}{{ end }}
{{- if not (kindIs "slice" .Token.groups) }}{{ fail "the request has no list of groups" }}{{ end }}
{{- if not (kindIs "bool" .Token.mfa) }}{{ fail "the request does not say whether there was a second factor" }}{{ end }}
{{- $claims := printf "{\"roles\":%s,\"groups\":%s,\"mfa\":%s}" (toJson .Token.roles) (toJson .Token.groups) (toJson .Token.mfa) -}}
{
	"subject": {"commonName": {{ toJson .Token.sub }}},
	"sans": {{ toJson .SANs }},
	"keyUsage": ["digitalSignature"],
	"extKeyUsage": ["clientAuth"],
	"extensions": [{"id": "` + certs.ClaimsOID + `", "value": {{ asn1Enc (printf "utf8:%s" $claims) | toJson }}}]
}`

const serverTemplate = `{
	"subject": {"commonName": {{ toJson .Token.sub }}},
	"sans": {{ toJson .SANs }},
	"keyUsage": ["digitalSignature"],
	"extKeyUsage": ["serverAuth"]
}`

// KeyType is the kind of key a certificate is issued for.
type KeyType string

const (
	ECDSA KeyType = "ecdsa" // P-256; the zero KeyType means this one
	RSA   KeyType = "rsa"   // 2048 bits, for clients that know nothing else
)

func (t KeyType) generate() (crypto.Signer, error) {
	switch t {
	case ECDSA, "":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case RSA:
		return rsa.GenerateKey(rand.Reader, 2048)
	}
	return nil, fmt.Errorf("key type %q: want ecdsa or rsa", string(t))
}

// Request asks for a client certificate. Roles and Groups may come in any order and
// repeat themselves.
type Request struct {
	Kind   string // one of policy's Kind constants
	ID     string
	Roles  []string
	Groups []string
	MFA    bool
	TTL    time.Duration // 1 s to Limits.MaxTTL; 0 for Limits.TTL
	Key    KeyType
}

// Issued is a new client certificate, in PEM.
type Issued struct {
	Identity *certs.Identity
	Chain    []byte // leaf and intermediate
	Key      []byte // PKCS #8
	CA       []byte // the root, for the client to recognise the gateway by
}

// Issue makes a key and a certificate for it. The certificate is read back as the
// gateway will read it; unless it says exactly what was asked, its key is thrown
// away and Issue fails.
func (a *Authority) Issue(ctx context.Context, r Request) (*Issued, error) {
	want := certs.Identity{
		TrustDomain: a.trustDomain,
		Kind:        r.Kind,
		ID:          r.ID,
		Roles:       normal(r.Roles),
		Groups:      normal(r.Groups),
		MFA:         r.MFA,
	}
	if err := want.Check(); err != nil {
		return nil, fmt.Errorf("issue certificate: %w", err)
	}
	if r.TTL == 0 {
		r.TTL = a.limits.TTL
	}
	if r.TTL < minTTL || r.TTL > a.limits.MaxTTL {
		return nil, fmt.Errorf("issue certificate for %s: ttl %s: want %s to %s", want.URI(), r.TTL, minTTL, a.limits.MaxTTL)
	}
	uri, err := url.Parse(want.URI())
	if err != nil {
		return nil, fmt.Errorf("issue certificate: %w", err)
	}
	csr := &x509.CertificateRequest{Subject: pkix.Name{CommonName: r.ID}, URIs: []*url.URL{uri}}
	claims := map[string]any{"roles": want.Roles, "groups": want.Groups, "mfa": want.MFA}
	var issued *Issued
	err = a.use(func(s *session) error {
		cert, err := s.sign(ctx, clientProvisioner, csr, []string{want.URI()}, claims, r.TTL, r.Key)
		if err != nil {
			return err
		}
		got, err := a.lint(cert, &want)
		if err != nil {
			return err
		}
		key, err := keyPEM(cert.PrivateKey.(crypto.Signer))
		if err != nil {
			return err
		}
		issued = &Issued{Identity: got, Chain: certPEM(cert.Certificate...), Key: key, CA: a.RootPEM()}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("issue certificate for %s: %w", want.URI(), err)
	}
	return issued, nil
}

func normal(list []string) []string {
	list = append([]string{}, list...)
	slices.Sort(list)
	return slices.Compact(list)
}

// lint reads an issued certificate back: chain, profile, and every name in it.
func (a *Authority) lint(cert *tls.Certificate, want *certs.Identity) (*certs.Identity, error) {
	if err := a.checkChain(cert.Leaf, x509.ExtKeyUsageClientAuth); err != nil {
		return nil, err
	}
	got, err := certs.Parse(cert.Leaf, a.trustDomain)
	if err != nil {
		return nil, fmt.Errorf("what was issued is unusable: %w", err)
	}
	if got.URI() != want.URI() || !slices.Equal(got.Roles, want.Roles) || !slices.Equal(got.Groups, want.Groups) || got.MFA != want.MFA {
		return nil, fmt.Errorf("what was issued is not what was asked for: %s", got.URI())
	}
	return got, nil
}

func (a *Authority) checkChain(leaf *x509.Certificate, usage x509.ExtKeyUsage) error {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(a.root)
	between.AddCert(a.intermediate)
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{usage}})
	if err != nil {
		return fmt.Errorf("what was issued is unusable: %w", err)
	}
	return nil
}

// issueServer makes a key and a certificate for the gateway's names, host names and
// IP addresses.
func (s *session) issueServer(ctx context.Context, names []string, key KeyType, ttl time.Duration) (*tls.Certificate, error) {
	csr := &x509.CertificateRequest{Subject: pkix.Name{CommonName: names[0]}}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			csr.IPAddresses = append(csr.IPAddresses, ip)
		} else {
			csr.DNSNames = append(csr.DNSNames, name)
		}
	}
	cert, err := s.sign(ctx, serverProvisioner, csr, names, nil, ttl, key)
	if err == nil {
		err = s.checkChain(cert.Leaf, x509.ExtKeyUsageServerAuth)
	}
	if err != nil {
		return nil, fmt.Errorf("issue server certificate for %q: %w", names, err)
	}
	return cert, nil
}

// sign has the embedded authority sign csr with a new key: a token in, a chain out.
// The token is made and used up here, so it need not be remembered against reuse.
func (s *session) sign(ctx context.Context, by string, csr *x509.CertificateRequest, sans []string, claims map[string]any, ttl time.Duration, kind KeyType) (*tls.Certificate, error) {
	key, err := kind.generate()
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, csr, key)
	if err != nil {
		return nil, err
	}
	if csr, err = x509.ParseCertificateRequest(der); err != nil {
		return nil, err
	}
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.ES256, Key: s.token.Key},
		new(jose.SignerOptions).WithType("JWT").WithHeader("kid", s.token.KeyID))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	token, err := jose.Signed(signer).Claims(jose.Claims{
		Issuer:   by,
		Subject:  csr.Subject.CommonName,
		Audience: jose.Audience{"https://" + audience + "/1.0/sign"},
		IssuedAt: jose.NewNumericDate(now),
		Expiry:   jose.NewNumericDate(now.Add(time.Minute)),
	}).Claims(map[string]any{"sans": sans}).Claims(claims).CompactSerialize()
	if err != nil {
		return nil, err
	}
	ctx = authority.NewContextWithSkipTokenReuse(provisioner.NewContextWithMethod(ctx, provisioner.SignMethod))
	options, err := s.auth.Authorize(ctx, token)
	if err != nil {
		return nil, err
	}
	chain, err := s.auth.SignWithContext(ctx, csr, provisioner.SignOptions{NotAfter: provisioner.NewTimeDuration(now.Add(ttl))}, options...)
	if err != nil {
		return nil, err
	}
	cert := &tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, c := range chain {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	if len(chain) != 2 || !bytes.Equal(chain[1].Raw, s.intermediate.Raw) {
		return nil, fmt.Errorf("the authority returned a chain of %d certificates", len(chain))
	}
	return cert, nil
}

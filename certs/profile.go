package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"cordon/policy"
)

// ClaimsOID names the X.509 extension that carries what else a certificate says
// about its subject. The value is one UTF8String that holds one JSON object in its
// one permitted spelling: these three keys in this order, no white space, both
// lists sorted and free of duplicates, for example
//
//	{"roles":["radiologist"],"groups":["ward-4"],"mfa":true}
//
// The extension is not critical, so that other software accepts the certificate.
// The identifier is derived from a random UUID below the arc that exists for that
// purpose and needs no registration.
const ClaimsOID = "1.2.840.113556.1.8000.2554.38953.33788.28007.18831.46598.10491532.10876738"

// Limits of the profile. A certificate beyond one of them is refused.
const (
	MaxName   = 128      // bytes of an id, a role or a group
	MaxDomain = 253      // bytes of a trust domain, as of a host name
	MaxRoles  = 32       // roles of one subject
	MaxGroups = 64       // groups of one subject
	maxClaims = 16 << 10 // bytes of the claims extension
	maxLeaf   = 64 << 10 // bytes of a whole leaf
	minRSA    = 2048     // bits; NIST SP 800-57 part 1, table 2, for use to 2030
)

// Identity is who a certificate speaks for. It is shared between sessions:
// whoever receives one changes nothing in it.
type Identity struct {
	TrustDomain string
	Kind        string    // one of policy's Kind constants
	ID          string    // unique within its kind
	Roles       []string  // sorted, no duplicates, never nil
	Groups      []string  // sorted, no duplicates, never nil
	MFA         bool      // issued after a second factor
	Serial      string    // of the leaf, lower-case hexadecimal of whole bytes
	NotAfter    time.Time // when it ends: the leaf's, or its chain's if that is earlier
	Fingerprint [32]byte  // SHA-256 of the leaf
}

// URI returns the identity's SPIFFE ID: spiffe://<trust domain>/<kind>/<id>.
func (id *Identity) URI() string {
	return "spiffe://" + id.TrustDomain + "/" + id.Kind + "/" + id.ID
}

// SamePerson reports whether two names, such as "user/dr.kim", may be one person's: hospitals' directories do not tell upper
// case from lower. It is for refusing somebody who has to be another one. To policy the two are different subjects.
func SamePerson(a, b string) bool { return strings.EqualFold(a, b) }

// Check reports the first thing about id that no certificate may say. It looks at
// names and lists only.
func (id *Identity) Check() error {
	if err := CheckTrustDomain(id.TrustDomain); err != nil {
		return err
	}
	switch id.Kind {
	case policy.KindUser, policy.KindService, policy.KindVendor, policy.KindDevice:
	default:
		return fmt.Errorf("kind %+.40q: want user, service, vendor or device", id.Kind)
	}
	if !validName(id.ID) {
		return fmt.Errorf("id %+.40q: %s", id.ID, nameRule)
	}
	if err := checkList("role", id.Roles, MaxRoles); err != nil {
		return err
	}
	return checkList("group", id.Groups, MaxGroups)
}

func checkList(noun string, list []string, most int) error {
	if len(list) > most {
		return fmt.Errorf("%d %ss: at most %d", len(list), noun, most)
	}
	for i, s := range list {
		switch {
		case !validName(s):
			return fmt.Errorf("%s %+.40q: %s", noun, s, nameRule)
		case i > 0 && list[i-1] == s:
			return fmt.Errorf("%s %+.40q: given twice", noun, s)
		case i > 0 && list[i-1] > s:
			return fmt.Errorf("%s %+.40q: not in sorted order", noun, s)
		}
	}
	return nil
}

const nameRule = "want 1 to 128 letters, digits, dots, dashes and underscores"

// validName accepts a SPIFFE path segment (SPIFFE-ID, section 2.2). Roles and
// groups follow the same rule, so that no name needs quoting anywhere.
func validName(s string) bool {
	if s == "" || len(s) > MaxName || s == "." || s == ".." {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

// CheckTrustDomain reports why s cannot be a trust domain: a host name in lower
// case (SPIFFE-ID, section 2.1, without underscores, so that X.509 name
// constraints can be made of it).
func CheckTrustDomain(s string) error {
	bad := fmt.Errorf("trust domain %+.40q: want a host name in lower case, such as ward.example", s)
	if s == "" || len(s) > MaxDomain {
		return bad
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return bad
		}
		for i := range len(label) {
			if c := label[i]; !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-') {
				return bad
			}
		}
	}
	// A constraint on an IP address is of another kind (RFC 5280, section 4.2.1.10).
	if strings.Trim(s, "0123456789.") == "" {
		return bad
	}
	return nil
}

// Parse reads the identity from a leaf that belongs to trustDomain and fits the
// profile, claims included. It verifies no signature and no time: Verifier does.
// Errors wrap ErrProfile.
func Parse(leaf *x509.Certificate, trustDomain string) (*Identity, error) {
	return parse(leaf, trustDomain, true)
}

func parse(leaf *x509.Certificate, trustDomain string, needClaims bool) (*Identity, error) {
	id := &Identity{
		TrustDomain: trustDomain,
		Roles:       []string{},
		Groups:      []string{},
		NotAfter:    leaf.NotAfter,
	}
	err := checkLeaf(leaf)
	if err == nil {
		err = id.readURI(leaf)
	}
	if err == nil {
		err = id.readClaims(leaf, needClaims)
	}
	if err == nil {
		err = id.Check()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProfile, err)
	}
	id.Serial = Serial(leaf.SerialNumber)
	id.Fingerprint = sha256.Sum256(leaf.Raw)
	return id, nil
}

// Serial is how a serial number is written everywhere: lower-case hexadecimal of
// whole bytes.
func Serial(n *big.Int) string { return hex.EncodeToString(n.Bytes()) }

func checkLeaf(leaf *x509.Certificate) error {
	switch {
	case len(leaf.Raw) > maxLeaf:
		return fmt.Errorf("certificate of %d bytes: at most %d", len(leaf.Raw), maxLeaf)
	case leaf.IsCA:
		return fmt.Errorf("an authority's certificate used as a client's")
	case leaf.KeyUsage&x509.KeyUsageCertSign != 0:
		return fmt.Errorf("key usage permits signing certificates")
	case leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return fmt.Errorf("key usage lacks digitalSignature") // RFC 8446, section 4.4.2.2
	case !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth):
		return fmt.Errorf("extended key usage lacks clientAuth")
	}
	return checkKey(leaf)
}

func checkKey(c *x509.Certificate) error {
	switch key := c.PublicKey.(type) {
	case ed25519.PublicKey:
		return nil
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() || key.Curve == elliptic.P384() {
			return nil
		}
		return fmt.Errorf("key on curve %s: want P-256 or P-384", key.Curve.Params().Name)
	case *rsa.PublicKey:
		if key.N.BitLen() >= minRSA {
			return nil
		}
		return fmt.Errorf("RSA key of %d bits: want %d or more", key.N.BitLen(), minRSA)
	}
	return fmt.Errorf("key of unknown kind %s", c.PublicKeyAlgorithm)
}

// readURI takes kind and id from the bytes of the one URI name, not from a parsed
// URL: whatever a URL parser would decode or fold is not literally in the
// certificate and is refused. There is no fallback to the common name.
func (id *Identity) readURI(leaf *x509.Certificate) error {
	san := extension(leaf, "2.5.29.17")
	var names []asn1.RawValue
	if rest, err := asn1.Unmarshal(san, &names); san != nil && (err != nil || len(rest) > 0) {
		return fmt.Errorf("malformed subject alternative name")
	}
	var uris []string
	for _, n := range names {
		if n.Class == asn1.ClassContextSpecific && n.Tag == 6 { // RFC 5280, section 4.2.1.6
			uris = append(uris, string(n.Bytes))
		}
	}
	if len(uris) != 1 {
		return fmt.Errorf("%d URI names: want exactly one, spiffe://%s/<kind>/<id>", len(uris), id.TrustDomain)
	}
	path, ok := strings.CutPrefix(uris[0], "spiffe://"+id.TrustDomain+"/")
	if !ok {
		return fmt.Errorf("URI %+.60q is not in trust domain %s", uris[0], id.TrustDomain)
	}
	if id.Kind, id.ID, ok = strings.Cut(path, "/"); !ok {
		return fmt.Errorf("URI %+.60q: want spiffe://%s/<kind>/<id>", uris[0], id.TrustDomain)
	}
	return nil
}

// claims is the JSON object in the extension. The order of its fields is part of
// the profile.
type claims struct {
	Roles  []string `json:"roles"`
	Groups []string `json:"groups"`
	MFA    bool     `json:"mfa"`
}

func (id *Identity) readClaims(leaf *x509.Certificate, need bool) error {
	value := extension(leaf, ClaimsOID)
	switch {
	case value == nil && !need:
		return nil
	case value == nil:
		return fmt.Errorf("claims extension missing")
	case len(value) > maxClaims:
		return fmt.Errorf("claims of %d bytes: at most %d", len(value), maxClaims)
	}
	var text asn1.RawValue
	rest, err := asn1.Unmarshal(value, &text)
	if err != nil || len(rest) > 0 || text.Class != asn1.ClassUniversal || text.Tag != asn1.TagUTF8String || text.IsCompound {
		return fmt.Errorf("claims are not one UTF8String")
	}
	var c claims
	if err := json.Unmarshal(text.Bytes, &c); err != nil {
		return fmt.Errorf("claims are not the JSON object of the profile")
	}
	if c.Roles == nil || c.Groups == nil {
		return fmt.Errorf("claims without a list of roles and a list of groups")
	}
	// One spelling only: what a lenient reader would overlook (a key twice, a key in
	// other case, an unknown key, escapes) does not survive writing it again.
	if again, err := json.Marshal(c); err != nil || !bytes.Equal(again, text.Bytes) {
		return fmt.Errorf("claims are not in their canonical form")
	}
	id.Roles, id.Groups, id.MFA = c.Roles, c.Groups, c.MFA
	return nil
}

// extension returns the value of the extension with that identifier, nil if there
// is none. There is never a second: crypto/x509 parses no such certificate (RFC
// 5280, section 4.2).
func extension(c *x509.Certificate, oid string) []byte {
	for _, e := range c.Extensions {
		if e.Id.String() == oid {
			return append([]byte{}, e.Value...)
		}
	}
	return nil
}

package certs

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"math/big"
	"slices"
	"strings"
	"testing"
)

func TestCheckTrustDomain(t *testing.T) {
	for _, s := range []string{"ward.example", "hospital", "a", "x-1.y2.example", "1password.example", strings.Repeat("a", 63) + ".example"} {
		if err := CheckTrustDomain(s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{
		"", ".", "ward.", ".ward", "a..b", "Ward.example", "ward_1.example", "ward example", "ward.example/user", "-a", "a-",
		"ward.example:443", "10.0.0.1", "1", "ünï.example", "*.example", "a\x00b", strings.Repeat("a", 64), strings.Repeat("a.", 127) + "a",
	} {
		if CheckTrustDomain(s) == nil {
			t.Errorf("%q: accepted", s)
		}
	}
}

// FuzzParse gives a leaf any alternative names and any claims. Whoever comes out
// must stand literally in what went in, and written again must be the same bytes.
func FuzzParse(f *testing.F) {
	names := func(uris ...string) []byte { return rawURIs(f, uris...).Value }
	text := func(json string) []byte { return claimsOf(f, json).Value }
	good := text(`{"roles":["nurse"],"groups":["ward-4"],"mfa":true}`)
	f.Add(names("spiffe://ward.example/user/dr.kim"), good)
	f.Add(names("spiffe://ward.example/service/lis"), text(`{"roles":[],"groups":[],"mfa":false}`))
	f.Add(names("spiffe://ward.example/user/a", "spiffe://ward.example/user/b"), good)
	f.Add(names("spiffe://ward.example/user/dr%2ekim"), good)
	f.Add(names("spiffe://ward.example/user/../admin"), good)
	f.Add(names("spiffe://ward.example/user/dr.kim"), text(`{"roles":["a"],"Roles":["b"],"groups":[],"mfa":false}`))
	f.Add(names("spiffe://ward.example/user/dr.kim"), text(`{"roles":["b","a"],"groups":[],"mfa":false}`))
	f.Add([]byte{0x30, 0x80, 0x86, 0x00, 0x00, 0x00}, []byte{0x0c, 0x81, 0x00})
	f.Add(append(names("spiffe://ward.example/user/dr.kim"), 0), good)
	f.Add([]byte(nil), []byte(nil))
	id := claimsID(f)
	key := newP256(f)
	f.Fuzz(func(t *testing.T, san, value []byte) {
		leaf := &x509.Certificate{
			SerialNumber: big.NewInt(1),
			PublicKey:    key.Public(),
			ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
			Extensions: []pkix.Extension{
				{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: san},
				{Id: id, Value: value},
			},
		}
		who, err := Parse(leaf, domain)
		if err != nil {
			if who != nil || strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r > '~' }) || len(err.Error()) > 800 {
				t.Errorf("refused as %v, %q", who, err)
			}
			return
		}
		if !bytes.Contains(san, []byte(who.URI())) {
			t.Errorf("%q is not in the names %q", who.URI(), san)
		}
		for _, s := range slices.Concat(who.Roles, who.Groups) {
			if !bytes.Contains(value, []byte(`"`+s+`"`)) {
				t.Errorf("%q is not in the claims %q", s, value)
			}
		}
		if err := who.Check(); err != nil {
			t.Errorf("Parse let through what Check refuses: %v", err)
		}
		again, err := json.Marshal(claims{who.Roles, who.Groups, who.MFA})
		if err != nil || !bytes.Equal(text(string(again)), value) {
			t.Errorf("claims %q, written again %q (%v)", value, again, err)
		}
	})
}

package ca

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"

	"cordon/certs"
)

// signer is a name with a key: who signs certificates and lists, whatever certificates of its own it has had.
type signer [sha256.Size]byte

func signerOf(c *x509.Certificate) signer {
	return sha256.Sum256(slices.Concat(c.RawSubject, c.RawSubjectPublicKeyInfo))
}

// authorities are those of the trust file, a hospital's own, which may have issued each other.
type authorities []trusted

type trusted struct {
	*x509.Certificate
	signer
	above []*x509.Certificate // who has signed it, and those, as far as the trust file tells
}

// newAuthorities leaves out the gateway's own: what that has revoked is in its own list.
func newAuthorities(all []*x509.Certificate, own *Authority) (as authorities) {
	for _, c := range all {
		if c.Equal(own.root) || c.Equal(own.intermediate) {
			continue
		}
		up := []*x509.Certificate{c}
		for i := 0; i < len(up); i++ { // two may have signed each other
			for _, p := range all {
				if bytes.Equal(p.RawSubject, up[i].RawIssuer) && !slices.Contains(up, p) && up[i].CheckSignatureFrom(p) == nil {
					up = append(up, p)
				}
			}
		}
		as = append(as, trusted{c, signerOf(c), up[1:]})
	}
	return as
}

func (as authorities) know(by signer) bool {
	return slices.ContainsFunc(as, func(a trusted) bool { return a.signer == by })
}

// signed returns which of the authorities has signed a list: by its name, by the key that the list
// names, if it does (RFC 5280, section 5.2.1), and by its signature.
func (as authorities) signed(l *x509.RevocationList) (signer, error) {
	fault := errors.New("no authority of that name is in the trust file")
	for _, a := range as {
		if !bytes.Equal(a.RawSubject, l.RawIssuer) {
			continue
		}
		if len(l.AuthorityKeyId) > 0 && len(a.SubjectKeyId) > 0 && !bytes.Equal(l.AuthorityKeyId, a.SubjectKeyId) {
			fault = errors.New("it is by another key than that authority has in the trust file")
			continue
		}
		if a.KeyUsage != 0 && a.KeyUsage&x509.KeyUsageCRLSign == 0 {
			fault = errors.New("its certificate in the trust file does not permit signing lists (key usage lacks cRLSign)")
			continue
		}
		if err := l.CheckSignatureFrom(a.Certificate); err != nil {
			fault = fmt.Errorf("not signed by the authority in the trust file: %w", err)
			continue
		}
		return a.signer, nil
	}
	return signer{}, fault
}

// checkRevocation wants a list in force of whoever has signed something in the chain, and none that names
// something in it. The chain goes on above its anchor as far as the trust file tells: an
// intermediate that stands there itself can still be taken back by its root. Lists are those of the
// issuer's name, whichever of its keys has signed them: serial numbers are unique by name (RFC 5280,
// section 4.1.2.2).
func (as authorities) checkRevocation(lists listsByKey, chain []*x509.Certificate, now time.Time) error {
	leaf, anchor := certs.Serial(chain[0].SerialNumber), chain[len(chain)-1]
	whole := chain
	for _, a := range as {
		if a.Equal(anchor) {
			whole = slices.Concat(chain, a.above)
			break
		}
	}
	for i, c := range whole {
		for _, l := range lists {
			switch {
			case !l.revokes(c):
			case i == 0:
				return fmt.Errorf("%w: serial %s", certs.ErrRevoked, leaf)
			default:
				return fmt.Errorf("%w: that of the authority %s, above serial %s", certs.ErrRevoked, nameOf(c.RawSubject), leaf)
			}
		}
	}
	for _, c := range whole[1:] {
		switch l := lists[signerOf(c)]; {
		case l == nil:
			return fmt.Errorf("%w: there is no list of %s, above serial %s", certs.ErrRevocationUnknown, nameOf(c.RawSubject), leaf)
		case now.After(l.nextUpdate):
			return fmt.Errorf("%w: the list of %s was over %s, above serial %s", certs.ErrRevocationUnknown, nameOf(c.RawSubject), stamp(l.nextUpdate), leaf)
		}
	}
	return nil
}

// states says of every authority how it is with its list, in the order of the trust file.
func (as authorities) states(lists listsByKey) (all []ListState) {
	told := map[signer]bool{}
	for _, a := range as {
		if told[a.signer] {
			continue
		}
		told[a.signer] = true
		s := ListState{Authority: nameOf(a.RawSubject)}
		if l := lists[a.signer]; l != nil {
			s.NextUpdate, s.life, s.gone = l.nextUpdate, l.nextUpdate.Sub(l.thisUpdate), l.gone
		}
		all = append(all, s)
	}
	return all
}

// nameOf is a distinguished name for people, quoted and cut: its common name if it has one.
func nameOf(der []byte) string {
	var rdns pkix.RDNSequence
	var name pkix.Name
	if _, err := asn1.Unmarshal(der, &rdns); err == nil {
		name.FillFromRDNSequence(&rdns)
	}
	if name.CommonName != "" {
		return fmt.Sprintf("%.80q", name.CommonName)
	}
	return fmt.Sprintf("%.80q", name.String())
}

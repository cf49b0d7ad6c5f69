package ca

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"cordon/certs"

	"github.com/smallstep/certificates/authority"
	"github.com/smallstep/certificates/authority/provisioner"
	"github.com/smallstep/certificates/db"
	"github.com/smallstep/nosql/database"
)

const (
	crlType = "X509 CRL"
	crlLife = 7 * 24 * time.Hour // for other readers; the gateway knows no stale list, only a newer one
	kept    = certs.Remembered   // an entry outlives its certificate by this: for clocks that are behind, and for statements
)

// ErrUnknown says of a certificate that it is not in the authority's database.
var ErrUnknown = errors.New("this authority issued no such certificate")

// Revoke takes certificates back, by serial number as certs.Serial writes it, and
// writes the revocation list anew; gateways on the same directory know within a
// quarter of a second. Revoking twice is no error. If any serial is unknown,
// nothing is revoked.
func (a *Authority) Revoke(ctx context.Context, serials ...string) error {
	err := a.use(func(s *session) error {
		store := s.auth.GetDatabase()
		leaves := make([]*x509.Certificate, len(serials))
		for i, serial := range serials {
			n, ok := new(big.Int).SetString(strings.ReplaceAll(serial, ":", ""), 16)
			if !ok || n.Sign() < 0 {
				return fmt.Errorf("serial %.60q: want hexadecimal digits", serial)
			}
			leaf, err := store.GetCertificate(n.String())
			if database.IsErrNotFound(err) {
				return fmt.Errorf("serial %s: %w", certs.Serial(n), ErrUnknown)
			}
			if err != nil {
				return fmt.Errorf("serial %s: %w", certs.Serial(n), err)
			}
			leaves[i] = leaf
		}
		ctx = provisioner.NewContextWithMethod(ctx, provisioner.RevokeMethod)
		for _, leaf := range leaves {
			number := leaf.SerialNumber.String()
			if gone, err := store.IsRevoked(number); err != nil {
				return err
			} else if gone {
				continue
			}
			// With the certificate in hand its expiry is recorded, without which the
			// entry would stay in the list for ever.
			err := s.auth.Revoke(ctx, &authority.RevokeOptions{Serial: number, Crt: leaf, MTLS: true, PassiveOnly: true})
			if err != nil {
				return fmt.Errorf("serial %s: %w", certs.Serial(leaf.SerialNumber), err)
			}
		}
		return s.publish()
	})
	if err != nil {
		return fmt.Errorf("revoke certificate: %w", err)
	}
	return nil
}

// publish brings the file up to what the database says.
func (a *Authority) publish() error {
	return a.use((*session).publish)
}

// publish signs the list itself: the embedded authority's own names a place it is
// served from, and other readers then look for that name in the certificate.
func (s *session) publish() error {
	store, ok := s.auth.GetDatabase().(db.CertificateRevocationListDB)
	if !ok {
		return errors.New("the authority's database keeps no revocations")
	}
	last, err := store.GetCRL()
	if database.IsErrNotFound(err) {
		last, err = &db.CertificateRevocationListInfo{}, nil
	}
	if err != nil {
		return fmt.Errorf("read the last revocation list: %w", err)
	}
	revoked, err := store.GetRevokedCertificates()
	if err != nil {
		return fmt.Errorf("read revocations: %w", err)
	}
	now := time.Now()
	list := &x509.RevocationList{
		Number:     big.NewInt(last.Number + 1),
		ThisUpdate: now.Add(-time.Minute),
		NextUpdate: now.Add(crlLife),
	}
	for _, r := range *revoked {
		if !r.ExpiresAt.IsZero() && r.ExpiresAt.Add(kept).Before(now) {
			continue
		}
		n, ok := new(big.Int).SetString(r.Serial, 10)
		if !ok {
			return fmt.Errorf("revoked serial %q is not a number", r.Serial)
		}
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{
			SerialNumber:   n,
			RevocationTime: r.RevokedAt,
		})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, s.intermediate, s.signer)
	if err != nil {
		return fmt.Errorf("sign revocation list: %w", err)
	}
	err = store.StoreCRL(&db.CertificateRevocationListInfo{Number: list.Number.Int64(), ExpiresAt: list.NextUpdate, Duration: crlLife, DER: der})
	if err != nil {
		return fmt.Errorf("store revocation list: %w", err)
	}
	return writeFile(s.path(crlFile), pem.EncodeToMemory(&pem.Block{Type: crlType, Bytes: der}), 0o644)
}

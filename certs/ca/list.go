package ca

import (
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"cordon/certs"

	"github.com/smallstep/nosql/database"
)

// KindGateway is the kind a Record has that is the gateway's own certificate. It is
// no kind of subject.
const KindGateway = "gateway"

// Record is one certificate the authority has issued.
type Record struct {
	Kind     string    `json:"kind"` // one of policy's Kind constants or KindGateway
	ID       string    `json:"id"`   // for a gateway, its first name
	Roles    []string  `json:"roles"`
	Groups   []string  `json:"groups"`
	MFA      bool      `json:"mfa"`
	Serial   string    `json:"serial"` // what Revoke takes
	NotAfter time.Time `json:"not_after"`
	Revoked  bool      `json:"revoked"`
}

// List returns what has been issued and not yet forgotten, the latest to expire
// first.
func (a *Authority) List() ([]Record, error) {
	records := []Record{}
	err := a.use(func(s *session) error {
		entries, err := s.db.List([]byte(certsTable))
		if err != nil {
			return err
		}
		for _, e := range entries {
			leaf, err := x509.ParseCertificate(e.Value)
			if err != nil {
				return fmt.Errorf("certificate %s: %w", e.Key, err)
			}
			r := s.record(leaf)
			if r.Revoked, err = s.auth.GetDatabase().IsRevoked(leaf.SerialNumber.String()); err != nil {
				return err
			}
			records = append(records, r)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list certificates: %w", err)
	}
	slices.SortFunc(records, func(x, y Record) int { return y.NotAfter.Compare(x.NotAfter) })
	return records, nil
}

func (s *session) record(leaf *x509.Certificate) Record {
	r := Record{Kind: KindGateway, Roles: []string{}, Groups: []string{}, Serial: certs.Serial(leaf.SerialNumber), NotAfter: leaf.NotAfter}
	if id, err := certs.Parse(leaf, s.trustDomain); err == nil {
		r.Kind, r.ID, r.Roles, r.Groups, r.MFA = id.Kind, id.ID, id.Roles, id.Groups, id.MFA
	} else {
		r.ID = leaf.Subject.CommonName
	}
	return r
}

// Names the embedded authority gives its tables.
const (
	certsTable     = "x509_certs"
	certsDataTable = "x509_certs_data"
	revokedTable   = "revoked_x509_certs"
)

// remembered is how long a certificate is kept after its end.
const remembered = 90 * 24 * time.Hour

// forget drops what ended long ago, so that the database does not grow for ever.
func (s *session) forget(now time.Time) error {
	entries, err := s.db.List([]byte(certsTable))
	if err != nil {
		return err
	}
	tx := new(database.Tx)
	for _, e := range entries {
		leaf, err := x509.ParseCertificate(e.Value)
		if err != nil {
			return fmt.Errorf("certificate %s: %w", e.Key, err)
		}
		if leaf.NotAfter.Add(remembered).Before(now) {
			for _, table := range []string{certsTable, certsDataTable, revokedTable} {
				tx.Del([]byte(table), e.Key)
			}
		}
	}
	if len(tx.Operations) == 0 {
		return nil
	}
	return s.db.Update(tx)
}

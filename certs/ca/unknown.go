package ca

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"cordon/certs"

	"github.com/smallstep/certificates/db"
	"github.com/smallstep/nosql/database"
)

// longestLife is how long a certificate of a client may last whatever the limits were when it was issued.
const longestLife = 7 * 24 * time.Hour

// RevokeUnknown is Revoke also for certificates that the database does not know: those that were issued
// after a backup from which the authority came back. Their entries stay in the list for as
// long as any such certificate could last.
func (a *Authority) RevokeUnknown(_ context.Context, serials ...string) error {
	err := a.use(func(s *session) error {
		now := time.Now()
		var list []*db.RevokedCertificateInfo
		for _, serial := range serials {
			n, ok := new(big.Int).SetString(strings.ReplaceAll(serial, ":", ""), 16)
			if !ok || n.Sign() <= 0 || n.BitLen() > 160 { // RFC 5280, section 4.1.2.2
				return fmt.Errorf("serial %.60q: want hexadecimal digits, 20 bytes at most", serial)
			}
			r := &db.RevokedCertificateInfo{Serial: n.String(), RevokedAt: now.UTC(), ExpiresAt: now.Add(longestLife).UTC(), Reason: "restored"}
			leaf, err := s.auth.GetDatabase().GetCertificate(n.String())
			if err == nil {
				r.ExpiresAt = leaf.NotAfter
			} else if !database.IsErrNotFound(err) {
				return fmt.Errorf("serial %s: %w", certs.Serial(n), err)
			}
			list = append(list, r)
		}
		for _, r := range list {
			if err := s.auth.GetDatabase().Revoke(r); err != nil && !errors.Is(err, db.ErrAlreadyExists) {
				return fmt.Errorf("serial %s: %w", r.Serial, err)
			}
		}
		return s.publish()
	})
	if err != nil {
		return fmt.Errorf("revoke certificate: %w", err)
	}
	return nil
}

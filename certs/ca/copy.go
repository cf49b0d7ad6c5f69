package ca

import (
	"errors"
	"fmt"
	"io"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
)

// DatabaseFile is the name of the authority's database in its directory: every certificate issued,
// every one revoked. It is changed in place, so only CopyDatabase has a whole copy of it; the
// other files are replaced as a whole.
const DatabaseFile = dbFile

// CopyDatabase writes the database to w as one transaction sees it. It waits its turn, 5 s at
// most; others wait while it writes, so w should be quick.
func (a *Authority) CopyDatabase(w io.Writer) (err error) {
	path := a.path(dbFile)
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: 5 * time.Second})
	if errors.Is(err, bbolterrors.ErrTimeout) {
		return fmt.Errorf("copy %q: another process has held it for 5 s: try again", path)
	}
	if err != nil {
		return fmt.Errorf("copy %q: %w", path, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	err = db.View(func(tx *bbolt.Tx) error {
		_, err := tx.WriteTo(w)
		return err
	})
	if err != nil {
		return fmt.Errorf("copy %q: %w", path, err)
	}
	return nil
}

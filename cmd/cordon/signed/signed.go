// Package signed is what people say in their own name: words of a fixed form with the statement that their
// certificate makes about them. It does not know who may say what, nor whether the certificate still
// counts: whoever acts on words asks a certs.Verifier first.
package signed

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"cordon/certs"
	"cordon/cmd/cordon/exit"
)

// Words is words with the statement of whoever says them.
type Words struct {
	Words     json.RawMessage `json:"words"`
	Statement certs.Statement `json:"statement"`
	By        string          `json:"by"` // "user/dr.kim", as was verified when it was taken
	Taken     time.Time       `json:"taken"`
}

// Sign makes words of v in the name of cert.
func Sign(cert tls.Certificate, purpose string, v any) (Words, error) {
	words, err := json.Marshal(v)
	if err != nil {
		return Words{}, err
	}
	s, err := certs.SignStatement(cert, purpose, sha256.Sum256(words), time.Now())
	return Words{Words: words, Statement: s}, err
}

// Read reads signed words into v. They have one form, as json.Marshal writes it, so that
// everybody reads the same in them.
func Read(text json.RawMessage, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("signed words are not of their form: %w", err)
	}
	if again, err := json.Marshal(v); err != nil || !bytes.Equal(again, text) {
		return errors.New("signed words are not in their canonical form")
	}
	return nil
}

// Digest is the SHA-256 of b in hexadecimal, by which words name other words and files.
func Digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Refused is why a statement does not count, with what its author can do about it.
func Refused(err error) error {
	f := exit.Error{Code: "statement.refused", Exit: exit.Denied, Message: err.Error(), Err: err}
	switch {
	case errors.Is(err, certs.ErrExpired):
		f.Try = []string{"cordon cert issue, for a new certificate"}
	case errors.Is(err, certs.ErrRevoked):
		f.Try = []string{"cordon cert list tells which certificates are revoked"}
	case errors.Is(err, certs.ErrRevocationUnknown):
		f.Try = []string{"cordon doctor tells which revocation list is missing or over", "cordon cert issue, for a certificate of the gateway's own authority"}
	}
	return f
}

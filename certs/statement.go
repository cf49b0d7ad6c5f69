package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // SHA-384, for keys on P-384
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Statement is what a subject says, in a certificate's name, of something that has a
// SHA-256 digest: that it is submitted, approved, or to be opened in an emergency.
// Unlike a handshake it can be kept and shown to somebody else. Its JSON form has one
// permitted spelling:
//
//	{"purpose":"policy-approve","digest":"<hexadecimal>","at":"2026-11-22T12:00:00Z","chain":["<base64>",…],"signature":"<base64>"}
type Statement struct {
	Purpose   string    // what is said, a name as of a role: "policy-approve"
	Digest    [32]byte  // of what it is said
	At        time.Time // when, by the signer's clock; UTC, whole seconds
	Chain     [][]byte  // DER; the signer's leaf, then what is above it
	Signature []byte
}

// MaxStatement is the longest JSON form of a Statement, in bytes.
const MaxStatement = 64 << 10

const (
	maxChain     = 5
	maxSignature = 1024 // bytes: of an RSA key of 8192 bits, the largest that crypto/tls takes
)

// StatementSkew is how far the clock of a signer may be off when a statement is
// accepted, and how long a new one may be on its way.
const StatementSkew = 5 * time.Minute

// Remembered is how long a Source tells of a revoked certificate after that has ended.
const Remembered = 24 * time.Hour

// ErrStatement is why a statement does not count, where it is not the signer's
// certificate: those errors are Identify's.
var ErrStatement = errors.New("statement not valid")

// SignStatement makes the statement that the holder of cert says purpose of digest. cert
// holds its chain as in a handshake. at is usually the time now.
func SignStatement(cert tls.Certificate, purpose string, digest [32]byte, at time.Time) (Statement, error) {
	s := Statement{Purpose: purpose, Digest: digest, At: at.UTC().Truncate(time.Second), Chain: cert.Certificate}
	signer, ok := cert.PrivateKey.(crypto.Signer)
	if !ok {
		return Statement{}, errors.New("sign statement: no private key that can sign")
	}
	chain, err := s.parse()
	if err != nil {
		return Statement{}, fmt.Errorf("sign statement: %w", err)
	}
	message, opts := s.message(), signerOpts(chain[0].PublicKey)
	if opts.HashFunc() != 0 {
		h := opts.HashFunc().New()
		h.Write(message)
		message = h.Sum(nil)
	}
	if s.Signature, err = signer.Sign(rand.Reader, message, opts); err != nil {
		return Statement{}, fmt.Errorf("sign statement: %w", err)
	}
	if err := s.checkSignature(chain[0]); err != nil {
		return Statement{}, errors.New("sign statement: the private key does not belong to the certificate")
	}
	return s, nil
}

// Accept says who makes a statement now: that it is about purpose and digest, no older
// or newer than StatementSkew, and signed by somebody who would be identified in a
// handshake at this moment. A statement can be accepted more than once: whoever acts on
// one keeps what was done, or puts into the digest what makes it good once only.
func (v *Verifier) Accept(s *Statement, purpose string, digest [32]byte) (*Identity, error) {
	if off := v.now().Sub(s.At).Abs(); off > StatementSkew {
		return nil, fmt.Errorf("%w: it was made at %s, which is not now; is the signer's clock right?", ErrStatement, s.At.Format(time.RFC3339))
	}
	return v.statement(s, purpose, digest, func(chain []*x509.Certificate) (*Identity, error) {
		return v.Identify(tls.ConnectionState{PeerCertificates: chain})
	})
}

// Uphold says who made a statement that was accepted before. The certificate must have
// been valid when it was made, and not have been revoked since. Once that is over for
// longer than Remembered nobody knows the latter, and known is false: what still depends
// on the signer's word should then be said again.
func (v *Verifier) Uphold(s *Statement, purpose string, digest [32]byte) (id *Identity, known bool, err error) {
	now := v.now()
	if s.At.After(now.Add(StatementSkew)) {
		return nil, false, fmt.Errorf("%w: it was made at %s, which is to come", ErrStatement, s.At.Format(time.RFC3339))
	}
	id, err = v.statement(s, purpose, digest, func(chain []*x509.Certificate) (*Identity, error) {
		f, err := v.verify(chain, s.At)
		if err == nil {
			err = within(f.notBefore, f.id.NotAfter, s.At)
		}
		if err != nil {
			return nil, err
		}
		known = !now.After(chain[0].NotAfter.Add(Remembered))
		return f.id, nil
	})
	return id, known && err == nil, err
}

func (v *Verifier) statement(s *Statement, purpose string, digest [32]byte, identify func([]*x509.Certificate) (*Identity, error)) (*Identity, error) {
	if s.Purpose != purpose || s.Digest != digest {
		return nil, fmt.Errorf("%w: it says %.40q of %x, not %q of %x", ErrStatement, s.Purpose, s.Digest[:6], purpose, digest[:6])
	}
	chain, err := s.parse()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStatement, err)
	}
	id, err := identify(chain) // first: the signature of an unknown key is not worth a calculation
	if err != nil {
		return nil, err
	}
	if err := s.checkSignature(chain[0]); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStatement, err)
	}
	return id, nil
}

// parse reads the chain, within the limits of a statement.
func (s *Statement) parse() ([]*x509.Certificate, error) {
	switch {
	case !validName(s.Purpose):
		return nil, fmt.Errorf("purpose %+.40q: %s", s.Purpose, nameRule)
	case len(s.Chain) == 0 || len(s.Chain) > maxChain:
		return nil, fmt.Errorf("%d certificates: want 1 to %d", len(s.Chain), maxChain)
	case len(s.Signature) > maxSignature:
		return nil, fmt.Errorf("signature of %d bytes: at most %d", len(s.Signature), maxSignature)
	}
	chain := make([]*x509.Certificate, len(s.Chain))
	for i, der := range s.Chain {
		if len(der) > maxLeaf {
			return nil, fmt.Errorf("certificate of %d bytes: at most %d", len(der), maxLeaf)
		}
		var err error
		if chain[i], err = x509.ParseCertificate(der); err != nil {
			return nil, fmt.Errorf("certificate %d of the chain is malformed", i+1) // x509's text may quote it
		}
	}
	return chain, checkKey(chain[0])
}

// message is what is signed. It begins as TLS 1.3 begins what it signs (RFC 8446 section
// 4.4.3), with a context of its own: the key is one for handshakes, and no signature of
// either use can be shown as the other's. Every field has a fixed length or tells it.
func (s *Statement) message() []byte {
	b := []byte(strings.Repeat(" ", 64) + "cordon statement v1\x00")
	b = append(b, byte(len(s.Purpose)))
	b = append(b, s.Purpose...)
	b = append(b, s.Digest[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(s.At.Unix()))
	leaf := sha256.Sum256(s.Chain[0])
	return append(b, leaf[:]...)
}

// signerOpts is how each kind of key signs; the kinds are checkKey's.
func signerOpts(key crypto.PublicKey) crypto.SignerOpts {
	switch key := key.(type) {
	case ed25519.PublicKey:
		return crypto.Hash(0) // it signs the message itself
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P384() {
			return crypto.SHA384
		}
	case *rsa.PublicKey:
		return &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	}
	return crypto.SHA256
}

func (s *Statement) checkSignature(leaf *x509.Certificate) error {
	algorithm := x509.UnknownSignatureAlgorithm
	switch key := leaf.PublicKey.(type) {
	case ed25519.PublicKey:
		algorithm = x509.PureEd25519
	case *ecdsa.PublicKey:
		algorithm = x509.ECDSAWithSHA256
		if key.Curve == elliptic.P384() {
			algorithm = x509.ECDSAWithSHA384
		}
	case *rsa.PublicKey:
		algorithm = x509.SHA256WithRSAPSS
	}
	if leaf.CheckSignature(algorithm, s.message(), s.Signature) != nil {
		return errors.New("the signature is not the certificate's")
	}
	return nil
}

// statementJSON is the JSON form. The order of its fields is part of it.
type statementJSON struct {
	Purpose   string   `json:"purpose"`
	Digest    string   `json:"digest"`
	At        string   `json:"at"`
	Chain     [][]byte `json:"chain"`
	Signature []byte   `json:"signature"`
}

// MarshalJSON writes the one form that UnmarshalJSON reads.
func (s Statement) MarshalJSON() ([]byte, error) {
	return json.Marshal(statementJSON{s.Purpose, hex.EncodeToString(s.Digest[:]), s.At.UTC().Format(time.RFC3339), s.Chain, s.Signature})
}

// UnmarshalJSON reads a statement of MaxStatement bytes at most; white space does not
// count. It verifies nothing.
func (s *Statement) UnmarshalJSON(b []byte) error {
	if len(b) > MaxStatement {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrStatement, len(b), MaxStatement)
	}
	var j statementJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return fmt.Errorf("%w: not the JSON object of a statement", ErrStatement)
	}
	digest, err := hex.DecodeString(j.Digest)
	if err != nil || len(digest) != len(s.Digest) {
		return fmt.Errorf("%w: digest %.80q is not a SHA-256 in hexadecimal", ErrStatement, j.Digest)
	}
	at, err := time.Parse(time.RFC3339, j.At)
	if err != nil {
		return fmt.Errorf("%w: %.40q is no time", ErrStatement, j.At)
	}
	read := Statement{Purpose: j.Purpose, Digest: [32]byte(digest), At: at.UTC(), Chain: j.Chain, Signature: j.Signature}
	// What a lenient reader would overlook does not survive writing it again, as in readClaims.
	var plain bytes.Buffer
	again, err := json.Marshal(read)
	if err == nil {
		err = json.Compact(&plain, b)
	}
	if err != nil || !bytes.Equal(plain.Bytes(), again) {
		return fmt.Errorf("%w: not in its canonical form", ErrStatement)
	}
	*s = read
	return nil
}

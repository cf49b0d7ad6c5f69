package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"cordon/certs"
)

// Files of an authority's directory, which is mode 0700; keys are mode 0600.
const (
	rootFile  = "root.pem"
	rootKey   = "root.key" // needed to sign another intermediate only
	interFile = "intermediate.pem"
	interKey  = "intermediate.key"
	dbFile    = "issued.db" // every certificate issued, every one revoked
	crlFile   = "crl.pem"
	listsDir  = "lists" // of others: the last list of each authority of the trust file
)

const caLife = 10 * 365 * 24 * time.Hour

// Config describes a new authority.
type Config struct {
	TrustDomain string // as certs.CheckTrustDomain wants it
	Name        string // in the authority's subject, for people: "Ward 4"; "" for the trust domain
}

// Init makes a new authority in dir, which it creates; its parent must exist. It
// writes all or nothing and never over an existing authority: the error then wraps
// fs.ErrExist.
func Init(dir string, c Config) error {
	if err := certs.CheckTrustDomain(c.TrustDomain); err != nil {
		return fmt.Errorf("init authority: %w", err)
	}
	if c.Name == "" {
		c.Name = c.TrustDomain
	}
	if len(c.Name) > 48 { // RFC 5280 ends a common name at 64, and ours has an addition
		return fmt.Errorf("init authority: name of %d bytes: at most 48", len(c.Name))
	}
	dir = filepath.Clean(dir)
	if entries, err := os.ReadDir(dir); len(entries) > 0 {
		return fmt.Errorf("init authority in %q: %w and is never overwritten", dir, fs.ErrExist)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("init authority: %w", err)
	}
	made, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+"-")
	if err != nil {
		return fmt.Errorf("init authority: %w", err)
	}
	defer os.RemoveAll(made)
	if err := fill(made, c); err != nil {
		return fmt.Errorf("init authority in %q: %w", dir, err)
	}
	// An empty directory may stand in the place; neither step touches one with content.
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("init authority: %w", err)
	}
	if err := os.Rename(made, dir); err != nil {
		return fmt.Errorf("init authority: %w", err)
	}
	return syncDir(filepath.Dir(dir))
}

func fill(dir string, c Config) error {
	root := &x509.Certificate{
		Subject:    pkix.Name{CommonName: c.Name + " Root CA"},
		MaxPathLen: 1,
	}
	intermediate := &x509.Certificate{
		Subject:        pkix.Name{CommonName: c.Name + " Issuing CA"},
		MaxPathLenZero: true,
		ExtKeyUsage:    []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		// A thief of this key can name nobody outside the trust domain. Host names are
		// left free: the gateway goes by whatever the hospital calls it.
		PermittedDNSDomainsCritical: true,
		PermittedURIDomains:         []string{c.TrustDomain},
	}
	key, err := writeCA(dir, rootFile, rootKey, root, nil, nil)
	if err != nil {
		return err
	}
	if _, err := writeCA(dir, interFile, interKey, intermediate, root, key); err != nil {
		return err
	}
	a, err := Open(dir, Limits{})
	if err != nil {
		return err
	}
	return a.publish() // an empty list, so that its absence is always a fault
}

// writeCA signs cert, by itself if parent is nil, and writes it with its new key.
func writeCA(dir, certFile, keyFile string, cert, parent *x509.Certificate, parentKey crypto.Signer) (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	cert.SerialNumber = serial
	cert.NotBefore, cert.NotAfter = now.Add(-time.Minute), now.Add(caLife)
	cert.IsCA, cert.BasicConstraintsValid = true, true
	cert.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	if parent == nil {
		parent, parentKey = cert, key
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, key.Public(), parentKey)
	if err != nil {
		return nil, err
	}
	if cert.SubjectKeyId == nil { // the child names its issuer's key by it
		made, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		cert.SubjectKeyId = made.SubjectKeyId
	}
	text, err := keyPEM(key)
	if err != nil {
		return nil, err
	}
	if err := writeFile(filepath.Join(dir, keyFile), text, 0o600); err != nil {
		return nil, err
	}
	return key, writeFile(filepath.Join(dir, certFile), certPEM(der), 0o644)
}

func certPEM(ders ...[]byte) (text []byte) {
	for _, der := range ders {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return text
}

func keyPEM(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// writeFile replaces path in one step: a reader, and a crash, find the old content
// or the new.
func writeFile(path string, content []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %q: %w", path, err)
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

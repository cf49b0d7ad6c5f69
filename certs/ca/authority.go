package ca

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"cordon/certs"

	"github.com/smallstep/certificates/authority"
	"github.com/smallstep/certificates/authority/config"
	"github.com/smallstep/certificates/authority/provisioner"
	_ "github.com/smallstep/certificates/cas/softcas" // signs with a key in memory
	"github.com/smallstep/certificates/db"
	"github.com/smallstep/nosql/database"
	bbolt "go.etcd.io/bbolt/errors"
	"go.step.sm/crypto/jose"
)

// Limits bound what an authority issues. Zero fields have the defaults stated.
type Limits struct {
	TTL    time.Duration // of a client certificate for which none is asked; 8 h
	MaxTTL time.Duration // the longest that may be asked for; 24 h
}

// Authority is the certificate authority in a directory. Its methods may be called
// concurrently, by several processes too: each waits its turn at the database, 5 s
// at most, and then says so.
type Authority struct {
	dir          string
	limits       Limits
	root         *x509.Certificate
	intermediate *x509.Certificate
	trustDomain  string
}

// Open reads the certificates of the authority in dir. It touches neither key nor
// database: those are opened for each piece of work and closed after it, so there
// is nothing to close.
func Open(dir string, l Limits) (*Authority, error) {
	a := &Authority{dir: dir, limits: l}
	if a.limits.MaxTTL == 0 {
		a.limits.MaxTTL = 24 * time.Hour
	}
	if a.limits.TTL == 0 {
		a.limits.TTL = min(8*time.Hour, a.limits.MaxTTL)
	}
	if a.limits.TTL < minTTL || a.limits.TTL > a.limits.MaxTTL {
		return nil, fmt.Errorf("open authority %q: ttl %s: want %s to %s", dir, a.limits.TTL, minTTL, a.limits.MaxTTL)
	}
	var err error
	if a.root, err = readCertificate(filepath.Join(dir, rootFile)); err != nil {
		return nil, fmt.Errorf("open authority: %w", err)
	}
	if a.intermediate, err = readCertificate(filepath.Join(dir, interFile)); err != nil {
		return nil, fmt.Errorf("open authority: %w", err)
	}
	if err := a.intermediate.CheckSignatureFrom(a.root); err != nil {
		return nil, fmt.Errorf("open authority %q: %s is not signed by %s: %w", dir, interFile, rootFile, err)
	}
	if len(a.intermediate.PermittedURIDomains) != 1 {
		return nil, fmt.Errorf("open authority %q: %s is not constrained to one trust domain", dir, interFile)
	}
	a.trustDomain = a.intermediate.PermittedURIDomains[0]
	if err := certs.CheckTrustDomain(a.trustDomain); err != nil {
		return nil, fmt.Errorf("open authority %q: %w", dir, err)
	}
	return a, nil
}

func (a *Authority) path(name string) string { return filepath.Join(a.dir, name) }

// TrustDomain is what the intermediate is constrained to.
func (a *Authority) TrustDomain() string { return a.trustDomain }

// RootPEM is what clients need to recognise the gateway.
func (a *Authority) RootPEM() []byte { return certPEM(a.root.Raw) }

// The two templates' provisioners: ways to ask the embedded authority for something.
const (
	clientProvisioner = "client"
	serverProvisioner = "server"
	audience          = "cordon" // the host in the tokens' audience; no such host exists
)

const minTTL = time.Second

// session is the embedded authority while it is open.
type session struct {
	*Authority
	auth   *authority.Authority
	db     database.DB
	signer crypto.Signer
	token  *jose.JSONWebKey // signs requests to auth; lives as long as the session
}

// use opens the embedded authority for one piece of work. The provisioners' key is
// made for the occasion: outside this function nobody can ask for a certificate.
func (a *Authority) use(work func(*session) error) error {
	s := &session{Authority: a}
	var err error
	if s.signer, err = readKey(a.path(interKey)); err != nil {
		return err
	}
	if s.token, err = jose.GenerateJWK("EC", "P-256", jose.ES256, "sig", "", 0); err != nil {
		return err
	}
	path := a.path(dbFile)
	store, err := db.New(&db.Config{Type: "bbolt", DataSource: path})
	if errors.Is(err, bbolt.ErrTimeout) {
		return fmt.Errorf("open %q: another process has held it for 5 s: try again", path)
	}
	if err != nil {
		return fmt.Errorf("open %q: %w", path, err)
	}
	s.auth, err = authority.NewEmbedded(
		authority.WithConfig(&config.Config{
			DNSNames: []string{audience},
			AuthorityConfig: &config.AuthConfig{
				Backdate:     &provisioner.Duration{Duration: time.Minute}, // clients' clocks differ
				Provisioners: provisioner.List{s.provisioner(clientProvisioner), s.provisioner(serverProvisioner)},
			},
		}),
		authority.WithDatabase(store),
		authority.WithX509RootCerts(a.root),
		authority.WithX509Signer(a.intermediate, s.signer),
		authority.WithQuietInit(),
	)
	if err != nil {
		return errors.Join(fmt.Errorf("open authority %q: %w", a.dir, err), store.Shutdown())
	}
	s.db = store.(*db.DB).DB
	return errors.Join(work(s), s.auth.Shutdown())
}

func (s *session) provisioner(name string) *provisioner.JWK {
	no, yes := false, true
	public := s.token.Public()
	p := &provisioner.JWK{
		Type: "JWK",
		Name: name,
		Key:  &public,
		Claims: &provisioner.Claims{
			MinTLSDur:                  &provisioner.Duration{Duration: minTTL},
			DefaultTLSDur:              &provisioner.Duration{Duration: s.limits.TTL},
			MaxTLSDur:                  &provisioner.Duration{Duration: s.limits.MaxTTL},
			EnableSSHCA:                &no,
			DisableRenewal:             &yes,
			DisableSmallstepExtensions: &yes,
		},
		Options: &provisioner.Options{X509: &provisioner.X509Options{Template: clientTemplate}},
	}
	if name == serverProvisioner {
		p.Claims.DefaultTLSDur = &provisioner.Duration{Duration: serverTTL}
		p.Claims.MaxTLSDur = &provisioner.Duration{Duration: serverTTL}
		p.Options.X509.Template = serverTemplate
	}
	return p
}

// maxFile bounds every file read here; a revocation list of a million entries is
// some 40 MB.
const maxFile = 64 << 20

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("read %q: more than %d bytes", path, maxFile)
	}
	return b, err
}

func readCertificate(path string) (*x509.Certificate, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("read %q: no PEM certificate", path)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", path, err)
	}
	return c, nil
}

func readKey(path string) (crypto.Signer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("read %q: others may read it (mode %04o): chmod 600 it, or make a new authority", path, info.Mode().Perm())
	}
	text, err := readFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("read %q: no PEM private key", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read %q: not a PKCS #8 key", path)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("read %q: not a signing key", path)
	}
	return signer, nil
}

package revision

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/exit"
	"cordon/policy/rego"
)

// BundleSource is where bundles are offered. Nothing it returns is verified.
type BundleSource interface {
	Fetch(ctx context.Context) (rego.Delivery, error)
	Close()
}

// OpenBundleSource prepares to fetch; it reads files, and asks no server yet.
func OpenBundleSource(b *config.Bundle, keys *rego.BundleKeys) (BundleSource, error) {
	if !b.Remote() {
		return localBundles(b.From), nil
	}
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if b.TrustFile != "" {
		text, err := os.ReadFile(b.TrustFile)
		if err != nil {
			return nil, fmt.Errorf("read policy.bundle.trust_file: %w", err)
		}
		trust.RootCAs = x509.NewCertPool()
		if !trust.RootCAs.AppendCertsFromPEM(text) {
			return nil, exit.Error{Code: "bundle.trust", Exit: exit.Checks, Message: fmt.Sprintf("%s holds no certificate in PEM", b.TrustFile)}
		}
	}
	if b.Certificate != "" {
		if _, err := tls.LoadX509KeyPair(b.Certificate, b.CertificateKey); err != nil {
			return nil, fmt.Errorf("read policy.bundle.certificate: %w", err)
		}
		// At each handshake, because certificates are renewed.
		trust.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(b.Certificate, b.CertificateKey)
			return &pair, err
		}
	}
	return rego.NewDownloader(b.From, keys, trust)
}

// localBundles is a file, or a folder of files *.tar.gz.
type localBundles string

// Close has nothing to close.
func (l localBundles) Close() {}

// Fetch reads the file, or of a folder the bundle whose detached signature claims the highest
// revision; one without any comes last, and is refused if it is the only one.
func (l localBundles) Fetch(context.Context) (rego.Delivery, error) {
	info, err := os.Stat(string(l))
	if err != nil {
		return rego.Delivery{}, fmt.Errorf("look for bundles: %w", err)
	}
	if !info.IsDir() {
		return ReadDelivery(string(l))
	}
	names, err := filepath.Glob(filepath.Join(string(l), "*"+BundleExt))
	if err != nil {
		return rego.Delivery{}, fmt.Errorf("look for bundles in %q: %w", string(l), err)
	}
	best, highest := "", uint64(0)
	for _, name := range names {
		signature, _ := readSome(name+rego.DetachedSuffix, rego.MaxDetached)
		var claims struct{ Revision uint64 }
		_ = json.Unmarshal(signature, &claims) // what is malformed claims nothing
		if best == "" || claims.Revision > highest {
			best, highest = name, claims.Revision
		}
	}
	if best == "" {
		return rego.Delivery{}, exit.Error{Code: "bundle.none", Exit: exit.NotFound, Message: fmt.Sprintf("no bundle (*%s) in %s", BundleExt, string(l)), Err: fs.ErrNotExist,
			Try: []string{"copy NAME" + BundleExt + " and NAME" + BundleExt + rego.DetachedSuffix + " there"}}
	}
	return ReadDelivery(best)
}

// ReadDelivery reads a bundle and the detached signature beside it, if there is one. Both
// are read a byte beyond their limits, for whoever verifies them to see.
func ReadDelivery(path string) (d rego.Delivery, err error) {
	d.Name = path
	if d.Bundle, err = readSome(path, rego.MaxBundle); err == nil {
		d.Signature, err = readSome(path+rego.DetachedSuffix, rego.MaxDetached)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if err != nil {
		return rego.Delivery{}, fmt.Errorf("read a bundle: %w", err)
	}
	return d, nil
}

// readSome reads a regular file up to one byte beyond limit.
func readSome(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // opening a named pipe would wait for its writer
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, fmt.Errorf("open %q: not a regular file", path))
	}
	return io.ReadAll(io.LimitReader(f, limit+1))
}

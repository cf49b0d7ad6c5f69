package config

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// keyID is the name of a key in a bundle, as policy/rego takes it.
var keyID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func (d *decoder) bundle(n *node) Bundle {
	b := Bundle{Every: 30 * time.Second}
	var certificate, key *node
	d.object(n, fields{
		"from":            func(n *node) { b.From = d.bundleSource(n) },
		"key":             func(n *node) { b.Key = d.path(n) },
		"key_id":          func(n *node) { b.KeyID = d.word(n, keyID, "1 to 64 letters, digits, dots, hyphens and underscores") },
		"signer":          func(n *node) { b.Signer = d.path(n) },
		"every":           func(n *node) { b.Every = d.duration(n, time.Second, 24*time.Hour) },
		"trust_file":      func(n *node) { b.TrustFile = d.path(n) },
		"certificate":     func(n *node) { certificate, b.Certificate = n, d.path(n) },
		"certificate_key": func(n *node) { key, b.CertificateKey = n, d.path(n) },
	}, "from", "key", "signer")
	switch {
	case certificate != nil && key == nil:
		d.src.fault(certificate.key, "config.key.missing", n.path+" has a certificate and no certificate_key", "add certificate_key: FILE")
	case key != nil && certificate == nil:
		d.src.fault(key.key, "config.key.missing", n.path+" has a certificate_key and no certificate", "add certificate: FILE")
	}
	return b
}

// bundleSource is an https URL, or a path.
func (d *decoder) bundleSource(n *node) string {
	s := d.text(n, 1024)
	scheme, _, isURL := strings.Cut(s, "://")
	if !isURL {
		return d.path(n)
	}
	u, err := url.Parse(s)
	switch {
	case scheme != "https":
		d.bad(n, fmt.Sprintf("%s is %q, expected an https URL, a file or a directory", n.path, s), "write https://HOST/PATH")
	case err != nil || u.Host == "" || strings.Trim(u.Path, "/") == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		d.bad(n, fmt.Sprintf("%s is %q, expected an https URL of a host and a path only", n.path, s), "write https://HOST/PATH; a client certificate says who asks")
	}
	return s
}

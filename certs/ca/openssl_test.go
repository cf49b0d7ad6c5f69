package ca

import (
	"crypto/tls"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cordon/certs"
)

// office is an authority as a hospital runs one with openssl: a folder with its database.
type office struct {
	dir  string
	name string
}

const officeConfig = `[ca]
default_ca = this
[this]
database = index.txt
crlnumber = crlnumber
rand_serial = yes
unique_subject = no
new_certs_dir = .
certificate = ca.pem
private_key = ca.key
default_md = sha256
default_days = 2
default_crl_days = 7
policy = anything
copy_extensions = copy
crl_extensions = list
[anything]
commonName = supplied
[list]
authorityKeyIdentifier = keyid
[req]
distinguished_name = empty
[empty]
[authority]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[client]
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
authorityKeyIdentifier = keyid
`

func newOffice(t *testing.T, name string, above *office) *office {
	t.Helper()
	o := &office{t.TempDir(), name}
	for file, text := range map[string]string{"cnf": officeConfig, "index.txt": "", "crlnumber": "01\n"} {
		if err := os.WriteFile(filepath.Join(o.dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	request := []string{"req", "-config", "cnf", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=" + name, "-keyout", "ca.key"}
	if above == nil {
		o.run(t, append(request, "-x509", "-days", "3", "-extensions", "authority", "-out", "ca.pem")...)
		return o
	}
	o.run(t, append(request, "-out", "ca.csr")...)
	above.run(t, "ca", "-config", "cnf", "-batch", "-notext", "-extensions", "authority", "-in", filepath.Join(o.dir, "ca.csr"), "-out", filepath.Join(o.dir, "ca.pem"))
	return o
}

func (o *office) run(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "openssl", args...)
	cmd.Dir = o.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func (o *office) read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(o.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// badge issues id.pem and id.key, to be sent with what stands above.
func (o *office) badge(t *testing.T, id string, above ...*office) tls.Certificate {
	t.Helper()
	o.run(t, "req", "-config", "cnf", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN="+id,
		"-addext", "subjectAltName=URI:spiffe://ward.example/user/"+id, "-keyout", id+".key", "-out", id+".csr")
	o.run(t, "ca", "-config", "cnf", "-batch", "-notext", "-extensions", "client", "-in", id+".csr", "-out", id+".pem")
	chain := o.read(t, id+".pem")
	for _, a := range above {
		chain = append(chain, a.read(t, "ca.pem")...)
	}
	b, err := tls.X509KeyPair(chain, o.read(t, id+".key"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (o *office) revoke(t *testing.T, file string, how ...string) {
	t.Helper()
	o.run(t, append([]string{"ca", "-config", "cnf", "-revoke", file}, how...)...)
}

// list makes its next list, in PEM.
func (o *office) list(t *testing.T, how ...string) []byte {
	t.Helper()
	o.run(t, append([]string{"ca", "-config", "cnf", "-gencrl", "-out", "crl.pem"}, how...)...)
	return o.read(t, "crl.pem")
}

// TestHospitalRevokes has a root and an intermediate take back badges, and each other, as openssl does it.
func TestHospitalRevokes(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		if os.Getenv("CORDON_PEERS") == "required" {
			t.Fatal("a peer is missing: openssl")
		}
		t.Skip("a peer is missing: openssl: apt-get install openssl")
	}
	root := newOffice(t, "St Elsewhere Root", nil)
	middle := newOffice(t, "St Elsewhere Badges", root)
	hidden := newOffice(t, "St Elsewhere Visitors", root) // not in the trust file
	kim, abe, ito := middle.badge(t, "dr.kim", middle), middle.badge(t, "dr.abe"), middle.badge(t, "nurse.ito", middle)
	visitor, direct := hidden.badge(t, "visitor", hidden), root.badge(t, "warden")

	g := newGate(t, append(root.read(t, "ca.pem"), middle.read(t, "ca.pem")...), append(root.list(t), middle.list(t)...))
	expect := func(when string, b tls.Certificate, want error, text string) {
		t.Helper()
		if err := g.asks(t, b); !errors.Is(err, want) || err != nil && !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v, want %v: %s", when, err, want, text)
		}
	}
	for _, b := range []tls.Certificate{kim, abe, ito, direct} {
		expect("at first", b, nil, "")
	}
	expect("whose issuer has no list, for it is not in the trust file", visitor, certs.ErrRevocationUnknown, `there is no list of "St Elsewhere Visitors"`)

	epoch := g.Epoch()
	middle.revoke(t, "dr.kim.pem", "-crl_reason", "keyCompromise")
	middle.revoke(t, "nurse.ito.pem", "-crl_hold", "holdInstructionReject")
	g.put(t, g.crl, append(root.list(t), middle.list(t)...))
	expect("revoked", kim, certs.ErrRevoked, "serial "+certs.Serial(kim.Leaf.SerialNumber)+" of spiffe://ward.example/user/dr.kim")
	expect("on hold", ito, certs.ErrRevoked, "serial")
	expect("not revoked", abe, nil, "")
	if g.Epoch() == epoch {
		t.Error("nobody asks live sessions again")
	}

	root.revoke(t, filepath.Join(middle.dir, "ca.pem"))
	root.revoke(t, filepath.Join(hidden.dir, "ca.pem"))
	g.put(t, g.crl, append(root.list(t), middle.list(t)...))
	expect("below a revoked intermediate that the trust file names", abe, certs.ErrRevoked, `the authority "St Elsewhere Badges", above serial`)
	expect("below a revoked intermediate that it sends", visitor, certs.ErrRevoked, `the authority "St Elsewhere Visitors"`)
	expect("of the root", direct, nil, "")

	// The intermediate alone, its list in DER: it is trusted for itself, and nobody above it is asked.
	middle.list(t)
	middle.run(t, "crl", "-in", "crl.pem", "-outform", "DER", "-out", "crl.der")
	g.put(t, g.trust, middle.read(t, "ca.pem"))
	g.put(t, g.crl, middle.read(t, "crl.der"))
	expect("without the root", abe, nil, "")
	expect("without the root, revoked", kim, certs.ErrRevoked, "serial")

	// A list that is over, as openssl makes one.
	ended := time.Now().UTC().Add(-time.Second).Format("060102150405Z")
	middle.list(t, "-crl_lastupdate", time.Now().UTC().Add(-time.Hour).Format("060102150405Z"), "-crl_nextupdate", ended)
	g = newGate(t, middle.read(t, "ca.pem"), middle.read(t, "crl.pem"))
	expect("over", abe, certs.ErrRevocationUnknown, `the list of "St Elsewhere Badges" was over`)
	expect("over, and revoked", kim, certs.ErrRevoked, "serial")
}

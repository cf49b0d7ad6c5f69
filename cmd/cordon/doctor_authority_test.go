package main

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/home"
)

// lasting signs the authority below dir anew, as one that ends after left.
func lasting(t *testing.T, dir string, left time.Duration) {
	t.Helper()
	decode := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(text)
		return block.Bytes
	}
	key := func(name string) crypto.Signer {
		k, err := x509.ParsePKCS8PrivateKey(decode(name))
		if err != nil {
			t.Fatal(err)
		}
		return k.(crypto.Signer)
	}
	certificate := func(name string) *x509.Certificate {
		c, err := x509.ParseCertificate(decode(name))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	root, rootKey := certificate("root.pem"), key("root.key")
	for name, signed := range map[string]crypto.PublicKey{"root.pem": rootKey.Public(), "intermediate.pem": key("intermediate.key").Public()} {
		c := certificate(name)
		c.NotBefore, c.NotAfter = time.Now().Add(-20*365*24*time.Hour), time.Now().Add(left)
		der, err := x509.CreateCertificate(rand.Reader, c, root, signed, rootKey)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// An authority's end is found years before, more loudly as it comes nearer, that of a trusted one too.
func TestAuthorityEnds(t *testing.T) {
	dir := t.TempDir()
	cordon := func(args ...string) (stdout, stderr string, code int) {
		var out, said bytes.Buffer
		code = run(t.Context(), args, strings.NewReader(""), &out, &said)
		return out.String(), said.String(), code
	}
	if _, said, code := cordon("init", dir); code != exit.Done {
		t.Fatal(said)
	}
	file := filepath.Join(dir, config.FileName)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	trusting := bytes.Replace(text, []byte("# trust_file: hospital.pem"), []byte("trust_file: state/ca/root.pem"), 1)
	if err := os.WriteFile(file, trusting, 0o644); err != nil || bytes.Equal(trusting, text) {
		t.Fatal("trust_file is not written", err)
	}
	day := 24 * time.Hour
	for _, c := range []struct {
		left           time.Duration
		severity, verb string
		state          string
	}{
		{10 * 365 * day, "", "", "valid"}, {authorityNotice + day, "", "", "valid"}, {authorityNotice - day, "notice", " ends ", "ends soon"},
		{authorityMedium - day, "medium", " ends ", "ends soon"}, {authorityHigh - day, "high", " ends ", "ends soon"}, {-day, "high", " ended ", "expired"},
	} {
		lasting(t, filepath.Join(dir, "state", home.CADir), c.left)
		loaded, err := config.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		x := &examination{config: loaded}
		lookAtAuthority(t.Context(), x)
		var whose []string
		for _, f := range x.findings {
			if f.Severity == "low" {
				continue // that its key is there
			}
			whose = append(whose, f.Evidence)
			if f.Severity != c.severity || !strings.Contains(f.Evidence, c.verb+time.Now().Add(c.left).UTC().Format(time.DateOnly)) {
				t.Errorf("%v before the end it finds %+v, want %q, %q", c.left, f, c.severity, c.verb)
			}
		}
		all := strings.Join(whose, "\n")
		for _, who := range []string{"its root", "its intermediate", `"cordon Root CA" in root.pem`} {
			if strings.Contains(all, who) != (c.severity != "") {
				t.Errorf("%v before the end it finds of %s: %v", c.left, who, whose)
			}
		}
		out, said, code := cordon("cert", "list", "--dir", dir)
		if code != exit.Done || strings.Count(out, "\t"+c.state+"\t") < 2 && strings.Count(out, " "+c.state+" ") < 2 || !strings.Contains(out, "authority/intermediate") {
			t.Errorf("%v before the end, cert list exits with %d: %s%s", c.left, code, out, said)
		}
		out, _, _ = cordon("cert", "list", "--json", "--dir", dir)
		var list struct{ Authority []struct{ Name string } }
		if err := json.Unmarshal([]byte(out), &list); err != nil || len(list.Authority) != 2 || list.Authority[0].Name != "root" {
			t.Errorf("cert list --json says %s", out)
		}
	}
}

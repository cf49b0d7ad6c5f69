package config

import (
	"reflect"
	"testing"
	"time"
)

// TestBundle loads policy.bundle, of which full.yaml has none: it has approval.
func TestBundle(t *testing.T) {
	c, err := parse("gw/cordon.yaml", []byte(`version: 1
gateway: { name: radiology-east }
identity: { trust_domain: ward.hospital.example }
policy:
  bundle:
    from: https://policy.hospital.example/cordon.tar.gz
    key: bundle.pub
    key_id: clinic-1
    signer: signer.pub
    every: 5m
    trust_file: roots.pem
    certificate: gw.pem
    certificate_key: /etc/gw.key
`))
	if err != nil {
		t.Fatal(err)
	}
	want := Bundle{From: "https://policy.hospital.example/cordon.tar.gz", Key: "gw/bundle.pub", KeyID: "clinic-1", Signer: "gw/signer.pub",
		Every: 5 * time.Minute, TrustFile: "gw/roots.pem", Certificate: "gw/gw.pem", CertificateKey: "/etc/gw.key"}
	if !reflect.DeepEqual(c.Policy.Bundle, want) || !want.Used() || !want.Remote() {
		t.Errorf("got %+v", c.Policy.Bundle)
	}
	c, err = parse("gw/cordon.yaml", []byte("version: 1\ngateway: { name: x }\nidentity: { trust_domain: x }\npolicy: { bundle: { from: bundles, key: k, signer: s } }\n"))
	if err != nil || c.Policy.Bundle.From != "gw/bundles" || c.Policy.Bundle.Every != 30*time.Second || c.Policy.Bundle.Remote() {
		t.Errorf("got %+v, %v", c.Policy.Bundle, err)
	}
}

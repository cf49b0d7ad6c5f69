package home

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/exit"
	"cordon/policy/rego"
)

// What Init writes can be opened, and is not written over.
func TestInit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gw")
	c, file, err := Init(dir, "west", "ward.example", "state")
	if err != nil {
		t.Fatal(err)
	}
	if c.ID() != "ward.example/west" || file != filepath.Join(dir, config.FileName) {
		t.Errorf("%s in %s", c.ID(), file)
	}
	if _, err := OpenAuthority(c); err != nil {
		t.Error(err)
	}
	if _, err := rego.Load(c.Policy.Dir); err != nil {
		t.Error(err)
	}
	for _, name := range []string{config.FileName, "policy", "state/ca", "cordon.schema.json"} {
		again := filepath.Join(t.TempDir(), "gw")
		if err := os.MkdirAll(filepath.Join(again, name), 0o700); err != nil {
			t.Fatal(err)
		}
		_, _, err := Init(again, "west", "ward.example", "state")
		if f, ok := errors.AsType[exit.Error](err); !ok || f.Code != "init.exists" || !strings.Contains(f.Message, name) {
			t.Errorf("where there is a %s: %v", name, err)
		}
	}
}

// An authority of another trust domain is not the gateway's.
func TestOpenAuthority(t *testing.T) {
	c, _, err := Init(filepath.Join(t.TempDir(), "gw"), "west", "ward.example", "state")
	if err != nil {
		t.Fatal(err)
	}
	other := *c
	other.Identity.TrustDomain = "other.example"
	if _, err := OpenAuthority(&other); exit.Errors(err)[0].Code != "config.trust_domain.mismatch" {
		t.Errorf("of another trust domain: %v", err)
	}
	other = *c
	other.Gateway.State = t.TempDir()
	if _, err := OpenAuthority(&other); exit.Errors(err)[0].Code != "ca.missing" {
		t.Errorf("where there is none: %v", err)
	}
}

// Root writes nothing that the gateway's own user could not read afterwards.
func TestOpenLogAsRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CORDON_PEERS") == "required" {
			t.Fatal("only root can give files away")
		}
		t.Skip("only root can give files away")
	}
	c, _, err := Init(filepath.Join(t.TempDir(), "gw"), "west", "ward.example", "state")
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	if err := os.Chown(c.Gateway.State, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenLog(c, quiet); err == nil || exit.Errors(err)[0].Code != "state.user" {
		t.Errorf("where another user runs the gateway: %v", err)
	}
	if _, err := os.Lstat(c.Audit.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the log was begun: %v", err)
	}
	if err := os.Chown(c.Gateway.State, 0, 0); err != nil {
		t.Fatal(err)
	}
	log, err := OpenLog(c, quiet)
	if err != nil {
		t.Fatal(err)
	}
	log.Close()
}

package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"cordon/certs/ca"
	"cordon/cmd/cordon/home"
)

// An authority lasts ten years, and its end is nobody's habit: everything stops on one day. A new
// one has to be made, and clients have to be given its root while the old one is still good. That
// takes a hospital months, so doctor speaks of it years before.
const (
	authorityNotice = 2 * 365 * 24 * time.Hour
	authorityMedium = 365 * 24 * time.Hour
	authorityHigh   = 180 * 24 * time.Hour
)

func lookAtAuthority(_ context.Context, x *examination) {
	authority, err := home.OpenAuthority(x.config)
	if err != nil {
		x.find("high", "authority", err.Error(), "restore gateway.state from its backup")
		return
	}
	now := time.Now()
	for _, l := range authority.Lives() {
		x.ends("authority", "its "+l.Name, l.NotAfter, now, "make a new authority in a new gateway.state, and give clients its ca.pem before this one ends")
	}
	if file := x.config.Identity.CA.TrustFile; file != "" {
		x.trusted(file, now)
		x.revocationLists(authority, now)
	}
	if _, err := os.Stat(filepath.Join(x.config.Gateway.State, home.CADir, "root.key")); err == nil {
		x.find("low", "authority", "root.key lies beside the intermediate", "move it to a safe place; daily work does not need it")
	}
}

// trusted looks at the authorities of others that clients may come from. That the file can be
// read, home.OpenAuthority does not say; a start does.
func (x *examination) trusted(file string, now time.Time) {
	text, err := os.ReadFile(file)
	if err != nil {
		x.find("high", "authority", "read identity.ca.trust_file: "+err.Error(), "cordon check shows where")
		return
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			x.ends("authority", fmt.Sprintf("%.80q in %s", c.Subject.CommonName, filepath.Base(file)), c.NotAfter, now, "ask its owner for the next one, and put it into the file beside this one")
		}
	}
}

// revocationLists looks at the lists of those authorities: without one in force, their clients are refused.
func (x *examination) revocationLists(authority *ca.Authority, now time.Time) {
	c := &x.config.Identity.CA
	if c.CRLFile == "" {
		return
	}
	found, err := authority.LookAtLists(c.TrustFile, c.CRLFile)
	if err != nil {
		x.find("high", "authority", err.Error(), "cordon check shows where; a gateway does not start like this")
		return
	}
	for _, fault := range found.Faults {
		x.find("high", "authority", fault.Error(), "fetch complete lists of every authority in trust_file, and rename them into place as "+c.CRLFile+"; the gateway follows the file")
	}
	for _, s := range found.States {
		if err := s.Fault(now); err != nil {
			x.find("high", "authority", err.Error(), "put the next list of that authority into "+c.CRLFile+"; the gateway follows the file")
		}
	}
}

// ends finds that something ends soon, or has.
func (x *examination) ends(subject, what string, notAfter, now time.Time, remedy string) {
	severity, verb := "", "ends"
	switch left := notAfter.Sub(now); {
	case left <= 0:
		severity, verb = "high", "ended"
	case left < authorityHigh:
		severity = "high"
	case left < authorityMedium:
		severity = "medium"
	case left < authorityNotice:
		severity = "notice"
	default:
		return
	}
	x.find(severity, subject, fmt.Sprintf("%s %s %s, and it is not renewed", what, verb, notAfter.UTC().Format(time.DateOnly)), remedy)
}

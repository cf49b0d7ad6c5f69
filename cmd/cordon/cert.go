package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cordon/certs/ca"
	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/disk"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/home"
	"cordon/policy"
)

func certCommand(a *app) *cobra.Command {
	c := group("cert", "Certificates of people, services and devices")
	c.AddCommand(certIssueCommand(a), certListCommand(a), certRevokeCommand(a))
	return c
}

// authority opens the CA of the configuration in use.
func (a *app) authority() (*ca.Authority, error) {
	c, err := config.Load(a.config())
	if err != nil {
		return nil, err
	}
	return home.OpenAuthority(c)
}

func certIssueCommand(a *app) *cobra.Command {
	ids := map[string]*string{}
	var r ca.Request
	var out, key string
	c := &cobra.Command{
		Use: "issue", Short: "Issue a short-lived client certificate",
		Long: `Issue a client certificate: OUT.pem (with its chain), OUT.key and ca.pem, by which the
client recognises the gateway. A key or certificate that exists is not overwritten. The log says
who issued it, and to whom, before the files are there.`,
		Example: "  cordon cert issue --dir DIR --user dr.kim --role radiologist --out kim",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			for kind, id := range ids {
				if *id != "" {
					r.Kind, r.ID = kind, *id
				}
			}
			r.Key = ca.KeyType(key)
			if out == "" {
				out = r.ID
			}
			return cannot(fmt.Sprintf("issue a certificate for %s %q", r.Kind, r.ID), a.certIssue(c.Context(), r, out))
		},
	}
	f := c.Flags()
	for _, kind := range []string{policy.KindUser, policy.KindService, policy.KindVendor, policy.KindDevice} {
		ids[kind] = f.String(kind, "", "id of the "+kind)
	}
	c.MarkFlagsOneRequired(policy.KindUser, policy.KindService, policy.KindVendor, policy.KindDevice)
	c.MarkFlagsMutuallyExclusive(policy.KindUser, policy.KindService, policy.KindVendor, policy.KindDevice)
	f.StringArrayVar(&r.Roles, "role", nil, "a role; may be repeated")
	f.StringArrayVar(&r.Groups, "group", nil, "a group; may be repeated")
	f.BoolVar(&r.MFA, "mfa", false, "a second factor was checked")
	f.DurationVar(&r.TTL, "ttl", 0, "how long it is valid (default identity.ca.leaf_ttl)")
	f.StringVar(&key, "key", string(ca.ECDSA), "kind of key: ecdsa or rsa")
	f.StringVar(&out, "out", "", "`NAME` of the files, without extension (default the id)")
	return c
}

func (a *app) certIssue(ctx context.Context, r ca.Request, out string) error {
	for _, path := range []string{out + ".pem", out + ".key"} {
		if _, err := os.Lstat(path); err == nil {
			return exit.Error{Code: "cert.exists", Message: fmt.Sprintf("%s exists already, and nothing is overwritten", path), Exit: exit.Conflict,
				Try: []string{"--out with another name", "remove it first"}}
		}
	}
	c, err := config.Load(a.config())
	if err != nil {
		return err
	}
	done, err := daemon.ChangeCertificates(ctx, c, &daemon.CertificateRequest{Do: "issue", Issue: r}, quietLogger(a.stderr))
	if err != nil {
		return err
	}
	issued := done.Issued
	files, err := writeIdentity(out, issued)
	if err != nil {
		return err
	}
	if a.json {
		return a.object(struct {
			Schema   string    `json:"schema"`
			URI      string    `json:"uri"`
			Roles    []string  `json:"roles"`
			Serial   string    `json:"serial"`
			NotAfter time.Time `json:"not_after"`
			Files    []string  `json:"files"`
		}{"cordon.certificate/v1", issued.Identity.URI(), issued.Identity.Roles, issued.Identity.Serial, issued.Identity.NotAfter.UTC(), files})
	}
	fmt.Fprintln(a.stdout, strings.Join(files, "\n"))
	a.remark("issued %s, valid until %s", issued.Identity.URI(), issued.Identity.NotAfter.Local().Format("2006-01-02 15:04"))
	return nil
}

// writeIdentity writes OUT.pem, OUT.key and ca.pem beside them. An existing ca.pem of the
// same content stays; another one is an error.
func writeIdentity(out string, issued *ca.Issued) ([]string, error) {
	root := filepath.Join(filepath.Dir(out), "ca.pem")
	if old, err := os.ReadFile(root); err == nil && string(old) != string(issued.CA) {
		return nil, exit.Error{Code: "cert.ca_differs", Message: fmt.Sprintf("%s is the root of another authority", root), Exit: exit.Conflict,
			Try: []string{"--out in another directory"}}
	} else if errors.Is(err, fs.ErrNotExist) {
		if err := disk.Create(root, issued.CA, 0o644); err != nil {
			return nil, err
		}
	}
	if err := disk.Create(out+".key", issued.Key, 0o600); err != nil {
		return nil, err
	}
	if err := disk.Create(out+".pem", issued.Chain, 0o644); err != nil {
		return nil, errors.Join(err, os.Remove(out+".key"))
	}
	return []string{out + ".pem", out + ".key", root}, nil
}

func certListCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the certificates issued, and the authority's own",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			authority, err := a.authority()
			if err != nil {
				return err
			}
			records, err := authority.List()
			if err != nil {
				return err
			}
			if a.json {
				return a.object(struct {
					Schema       string      `json:"schema"`
					Certificates []ca.Record `json:"certificates"`
					Authority    []ca.Life   `json:"authority"`
				}{"cordon.certificates/v1", records, authority.Lives()})
			}
			var rows [][]string
			for _, r := range records {
				state := "valid"
				switch {
				case r.Revoked:
					state = "revoked"
				case time.Now().After(r.NotAfter):
					state = "expired"
				}
				rows = append(rows, []string{r.Kind + "/" + r.ID, strings.Join(r.Roles, ","), state, r.NotAfter.Local().Format("2006-01-02 15:04"), r.Serial})
			}
			for _, l := range authority.Lives() {
				state := "valid"
				switch left := time.Until(l.NotAfter); {
				case left <= 0:
					state = "expired"
				case left < authorityNotice:
					state = "ends soon"
				}
				rows = append(rows, []string{"authority/" + l.Name, "", state, l.NotAfter.Local().Format("2006-01-02 15:04"), l.Serial})
			}
			return a.table([]string{"SUBJECT", "ROLES", "STATE", "NOT AFTER", "SERIAL"}, rows)
		},
	}
}

func certRevokeCommand(a *app) *cobra.Command {
	var yes, unknown bool
	c := &cobra.Command{
		Use: "revoke SERIAL…", Short: "Take certificates back",
		Long: `Take certificates back. A running gateway refuses them at its next handshake,
and ends the sessions they already have within a second. With --unknown also those count that this
authority does not know: after a restore, certificates that were issued later than its backup.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			doing := "revoke " + strconv.Itoa(len(args)) + " certificate(s)"
			if !yes {
				return a.confirmRevoke(args)
			}
			config, err := config.Load(a.config())
			if err == nil {
				_, err = daemon.ChangeCertificates(c.Context(), config, &daemon.CertificateRequest{Do: "revoke", Serials: args, Unknown: unknown}, quietLogger(a.stderr))
			}
			if err != nil {
				return cannot(doing, err)
			}
			a.remark("revoked %s", strings.Join(args, ", "))
			return nil
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do it; without this, it is only shown whom it concerns")
	c.Flags().BoolVar(&unknown, "unknown", false, "also what this authority does not know, as after a restore")
	return c
}

// confirmRevoke shows whom a revocation would concern.
func (a *app) confirmRevoke(serials []string) error {
	authority, err := a.authority()
	if err != nil {
		return err
	}
	records, err := authority.List()
	if err != nil {
		return err
	}
	for _, serial := range serials {
		who := "no certificate of this authority"
		for _, r := range records {
			if r.Serial == serial {
				who = fmt.Sprintf("%s/%s, roles %s, until %s", r.Kind, r.ID, strings.Join(r.Roles, ","), r.NotAfter.Local().Format("2006-01-02 15:04"))
			}
		}
		a.remark("%s: %s", serial, who)
	}
	return exit.Error{Code: "cert.unconfirmed", Message: "nothing was revoked", Exit: exit.Usage, Try: []string{"the same command with --yes"}}
}

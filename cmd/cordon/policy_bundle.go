package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/disk"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/revision"
	"cordon/policy/rego"
)

func policyBundleCommand(a *app) *cobra.Command {
	c := group("bundle", "Policies as signed files")
	c.Long = `A bundle is a policy as one file, NAME.tar.gz, signed twice: by OPA's signature inside, which
lists the hash of every file, and by a detached one beside it, NAME.tar.gz.sig, which says
which revision it is and until when it may be taken. A gateway with policy.bundle in its
configuration takes nothing else: no edit of a folder, no bundle that lacks either signature,
none that is older than what was in force.`
	c.AddCommand(bundleKeygenCommand(a), bundleBuildCommand(a), bundleSignCommand(a), bundleVerifyCommand(a), bundleLoadCommand(a), bundleStatusCommand(a))
	return c
}

func bundleKeygenCommand(a *app) *cobra.Command {
	var out string
	c := &cobra.Command{
		Use: "keygen", Short: "Make the two keys that bundles are signed with",
		Long: `Make the two keys that bundles are signed with: bundle.key for OPA's signature (ECDSA on P-256)
and signer.key for the detached one (Ed25519), each with its public half in .pub. The private
keys belong to different people, and neither to the gateway.`,
		Example: "  cordon policy bundle keygen --out keys",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return cannot("make keys", a.bundleKeygen(out)) },
	}
	c.Flags().StringVar(&out, "out", ".", "the `DIR` to write to, which is made if need be")
	mustComplete(c.MarkFlagDirname("out"))
	return c
}

func (a *app) bundleKeygen(dir string) error {
	names := []string{"bundle", "signer"}
	for _, name := range names {
		for _, ext := range []string{".key", ".pub"} {
			if path := filepath.Join(dir, name+ext); disk.Exists(path) {
				return exit.Error{Code: "bundle.exists", Message: path + " exists already, and nothing is overwritten", Exit: exit.Conflict, Try: []string{"--out another directory"}}
			}
		}
	}
	opa, signer, err := rego.NewBundleKeyPairs()
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	for i, pair := range []rego.KeyPair{opa, signer} {
		if err == nil {
			err = disk.Create(filepath.Join(dir, names[i]+".key"), pair.Private, 0o600)
		}
		if err == nil {
			err = disk.Create(filepath.Join(dir, names[i]+".pub"), pair.Public, 0o644)
		}
	}
	if err != nil {
		return err
	}
	if a.json {
		return a.object(struct {
			Schema string `json:"schema"`
			KeyID  string `json:"key_id"`
			Signer string `json:"signer_id"`
			Dir    string `json:"dir"`
		}{"cordon.policy.bundle.keys/v1", opa.ID, signer.ID, dir})
	}
	for i, id := range []string{opa.ID, signer.ID} {
		fmt.Fprintf(a.stdout, "%s  %s\n", filepath.Join(dir, names[i]+".key"), id)
	}
	a.remark(`the gateway needs the public halves; in cordon.yaml:
policy:
  bundle: { from: …, key: bundle.pub, signer: signer.pub }`)
	return nil
}

func bundleBuildCommand(a *app) *cobra.Command {
	var revision uint64
	var label, out string
	c := &cobra.Command{
		Use: "build [DIR]", Short: "Make an unsigned bundle of a policy folder",
		Long: `Make an unsigned bundle of a policy folder, which must compile, have tests and pass them. DIR
is another folder than the configured one. The same files, revision and label give the same
bytes. A revision is a whole number; gateways take only ever higher ones.`,
		Example: "  cordon policy bundle build policy --revision 12 --label spring --out ward-12.tar.gz",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return cannot("build a bundle", a.bundleBuild(c.Context(), args, revision, label, out))
		},
	}
	f := c.Flags()
	f.Uint64Var(&revision, "revision", 0, "the revision, from 1")
	f.StringVar(&label, "label", "", "what people call it: letters, digits, dots, hyphens and underscores")
	f.StringVar(&out, "out", "", "the `FILE` (default policy-REVISION.tar.gz)")
	mustComplete(c.MarkFlagRequired("revision"))
	return c
}

func (a *app) bundleBuild(ctx context.Context, args []string, number uint64, label, out string) error {
	c := &config.Config{}
	if len(args) > 0 { // who writes policies may have no gateway
		c.Policy.Dir = args[0]
	} else {
		var err error
		if c, err = config.Load(a.config()); err != nil {
			return err
		}
	}
	if out == "" {
		out = fmt.Sprintf("policy-%d%s", number, revision.BundleExt)
	}
	if disk.Exists(out) {
		return exit.Error{Code: "bundle.exists", Message: out + " exists already, and nothing is overwritten", Exit: exit.Conflict, Try: []string{"--out another file", "remove it first"}}
	}
	tarball, results, err := rego.BuildBundle(ctx, c.Policy.Dir, number, label)
	if err == nil {
		err = revision.Failed(c, results)
	}
	if err != nil {
		return revision.Placed(err)
	}
	if err := disk.Create(out, tarball, 0o644); err != nil {
		return err
	}
	if a.json {
		return a.object(struct {
			Schema   string `json:"schema"`
			File     string `json:"file"`
			Revision uint64 `json:"revision"`
			Label    string `json:"label"`
			Tests    int    `json:"tests"`
		}{"cordon.policy.bundle.built/v1", out, number, label, len(results)})
	}
	fmt.Fprintln(a.stdout, out)
	a.remark("revision %d, %d tests passed; next: cordon policy bundle sign %s --key bundle.key --signer signer.key", number, len(results), out)
	return nil
}

func bundleSignCommand(a *app) *cobra.Command {
	var key, id, signer string
	var period time.Duration
	c := &cobra.Command{
		Use: "sign FILE", Short: "Sign a bundle, inside and beside it",
		Long: `Sign a bundle: with --key OPA's signature is put into FILE, with --signer FILE.sig is written
beside it. Two people do it one after the other, OPA's first: the detached signature covers
the file as it then is.`,
		Example: `  cordon policy bundle sign ward-12.tar.gz --key bundle.key
  cordon policy bundle sign ward-12.tar.gz --signer signer.key --for 72h`,
		Args: cobra.ExactArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"gz"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(_ *cobra.Command, args []string) error {
			return cannot("sign "+args[0], a.bundleSign(args[0], key, id, signer, period))
		},
	}
	f := c.Flags()
	f.StringVar(&key, "key", "", "`FILE` with the private key of OPA's signature")
	f.StringVar(&id, "key-id", "", "what gateways call that key (default made from it)")
	f.StringVar(&signer, "signer", "", "`FILE` with the private key of the detached signature")
	f.DurationVar(&period, "for", 30*24*time.Hour, "how long gateways may take the bundle; one that was taken stays good")
	c.MarkFlagsOneRequired("key", "signer")
	return c
}

func (a *app) bundleSign(file, key, id, signer string, period time.Duration) error {
	d, err := revision.ReadDelivery(file)
	if err != nil {
		return err
	}
	var wrote []string
	if key != "" {
		private, err := os.ReadFile(key)
		if err != nil {
			return err
		}
		if d.Bundle, err = rego.SignBundle(d.Bundle, private, id); err != nil {
			return signFailure(err)
		}
		// What was signed beside it is not this file any more.
		if err := os.Remove(file + rego.DetachedSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := disk.Write(file, d.Bundle, 0o644); err != nil {
			return err
		}
		wrote = append(wrote, file)
	}
	if signer != "" {
		private, err := os.ReadFile(signer)
		if err != nil {
			return err
		}
		signature, err := rego.SignDetached(d.Bundle, private, time.Now(), period)
		if err != nil {
			return signFailure(err)
		}
		if err := disk.Write(file+rego.DetachedSuffix, signature, 0o644); err != nil {
			return err
		}
		wrote = append(wrote, file+rego.DetachedSuffix)
	}
	if a.json {
		return a.object(struct {
			Schema string   `json:"schema"`
			Wrote  []string `json:"wrote"`
		}{"cordon.policy.bundle.signed/v1", wrote})
	}
	fmt.Fprintln(a.stdout, strings.Join(wrote, "\n"))
	if signer == "" {
		a.remark("next: cordon policy bundle sign %s --signer signer.key", file)
	}
	return nil
}

// signFailure is why something was not signed.
func signFailure(err error) error {
	if _, ok := errors.AsType[*rego.Problems](err); ok {
		return revision.Placed(err)
	}
	return exit.Error{Code: "bundle.sign", Exit: exit.Usage, Message: err.Error(), Err: err, Try: []string{"cordon policy bundle keygen makes keys of the right kinds"}}
}

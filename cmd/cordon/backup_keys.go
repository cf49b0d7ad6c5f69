package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/backup"
	"cordon/cmd/cordon/disk"
	"cordon/cmd/cordon/exit"
)

// sealing is for whom a backup is to be sealed.
type sealing struct {
	recipient  []string
	file       string
	passphrase string // a file
	ask        bool
}

func (s *sealing) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringArrayVar(&s.recipient, "recipient", nil, "a public `KEY` that begins with age1, of somebody who may open the backup; may be repeated")
	f.StringVar(&s.file, "recipients-file", "", "a `FILE` of such keys, one to a line")
	passphraseFlags(c, &s.passphrase, &s.ask)
	c.MarkFlagsMutuallyExclusive("recipient", "passphrase", "passphrase-file")
	c.MarkFlagsMutuallyExclusive("recipients-file", "passphrase", "passphrase-file")
}

func passphraseFlags(c *cobra.Command, file *string, ask *bool) {
	c.Flags().StringVar(file, "passphrase-file", "", "the passphrase is the first line of `FILE`")
	c.Flags().BoolVar(ask, "passphrase", false, "ask for a passphrase, at the terminal or on standard input")
}

func (s *sealing) recipients(a *app) (backup.Recipients, error) {
	if s.passphrase != "" || s.ask {
		text, err := a.passphrase(s.passphrase, true)
		if err != nil {
			return backup.Recipients{}, err
		}
		to, err := backup.PassphraseRecipient(text)
		if err != nil {
			err = exit.Error{Code: "backup.passphrase", Message: err.Error(), Exit: exit.Usage, Err: err, Try: []string{"five words that do not belong together", "cordon backup keygen, which nobody can guess"}}
		}
		return to, err
	}
	lines := strings.Join(s.recipient, "\n")
	if s.file != "" {
		text, err := disk.Read(s.file, 64<<10)
		if err != nil {
			return backup.Recipients{}, err
		}
		lines += "\n" + string(text)
	}
	if lines == "" {
		return backup.Recipients{}, exit.Error{Code: "backup.recipient", Message: "the backup would hold the authority's keys, and nobody is named who may open it", Exit: exit.Usage,
			Try: []string{"--recipients-file FILE, from cordon backup keygen", "--passphrase"}}
	}
	to, err := backup.ParseRecipients(strings.NewReader(lines))
	if err != nil {
		err = exit.Error{Code: "backup.recipient", Message: err.Error(), Exit: exit.Usage, Err: err, Try: []string{"cordon backup keygen makes one"}}
	}
	return to, err
}

// unsealing is what a backup is to be opened with.
type unsealing struct {
	identity   string // a file
	passphrase string // a file
	ask        bool
	key        string // a file: the log's public key
}

func (o *unsealing) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.identity, "identity", "", "the `FILE` with the private key that opens it")
	passphraseFlags(c, &o.passphrase, &o.ask)
	f.StringVar(&o.key, "key", "", "the log's public key, kept elsewhere: `FILE`. Only it tells whose the backup is")
	c.MarkFlagsOneRequired("identity", "passphrase", "passphrase-file")
	c.MarkFlagsMutuallyExclusive("identity", "passphrase", "passphrase-file")
}

// identities returns what opens the backup, and the trusted key or "".
func (o *unsealing) identities(a *app) (with backup.Identities, key string, err error) {
	if o.key != "" {
		text, err := disk.Read(o.key, 4<<10)
		if err != nil {
			return with, "", err
		}
		key = strings.TrimSpace(string(text))
	}
	if o.identity == "" {
		text, err := a.passphrase(o.passphrase, false)
		if err == nil {
			with, err = backup.PassphraseIdentity(text)
		}
		return with, key, err
	}
	f, err := os.Open(o.identity)
	if err != nil {
		return with, "", err
	}
	defer f.Close()
	if with, err = backup.ParseIdentities(f); err != nil {
		err = exit.Error{Code: "backup.identity", Message: fmt.Sprintf("%s: %v", o.identity, err), Exit: exit.Usage, Err: err, Try: []string{"the file ending in .key, not the one in .pub"}}
	}
	return with, key, err
}

// passphrase reads one from a file or asks for it; a new one is asked for twice.
func (a *app) passphrase(file string, isNew bool) (string, error) {
	if file != "" {
		text, err := disk.Read(file, 4<<10)
		line, _, _ := strings.Cut(string(text), "\n")
		return strings.TrimSuffix(line, "\r"), err
	}
	times := 1
	if isNew {
		times = 2
	}
	list, err := a.askHidden("passphrase", times)
	if err != nil {
		return "", err
	}
	if isNew && len(list) == 2 && list[0] != list[1] {
		return "", exit.Error{Code: "backup.passphrase", Message: "the two are not the same", Exit: exit.Usage, Try: []string{"again"}}
	}
	return list[0], nil
}

func backupKeygenCommand(a *app) *cobra.Command {
	var out string
	c := &cobra.Command{
		Use: "keygen", Short: "Make a key that opens backups, and its public half to seal them with",
		Long: `Make a key that opens backups: NAME.key, and NAME.pub to seal them with. Make it where backups are
to be opened, and keep NAME.key away from the gateway: whoever takes over the gateway then
cannot read its old backups. The key is age's hybrid of ML-KEM-768 and X25519; those of
age-keygen will do as well.`,
		Example: "  cordon backup keygen --out ward",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return cannot("make a key", a.backupKeygen(out)) },
	}
	c.Flags().StringVar(&out, "out", "backup", "`NAME` of the two files, without .key and .pub")
	return c
}

func (a *app) backupKeygen(out string) error {
	for _, file := range []string{out + ".key", out + ".pub"} {
		if disk.Exists(file) {
			return exit.Error{Code: "backup.exists", Message: file + " exists already, and nothing is overwritten", Exit: exit.Conflict, Try: []string{"--out another name"}}
		}
	}
	private, public, err := backup.NewIdentity()
	if err == nil {
		err = disk.Create(out+".key", []byte(private), 0o600)
	}
	if err == nil {
		err = disk.Create(out+".pub", []byte(public), 0o644)
	}
	if err != nil {
		return err
	}
	if a.json {
		return a.object(struct {
			Schema    string `json:"schema"`
			Identity  string `json:"identity"`
			Recipient string `json:"recipients_file"`
		}{"cordon.backup.key/v1", out + ".key", out + ".pub"})
	}
	fmt.Fprintf(a.stdout, "%s.key\n%[1]s.pub\n", out)
	a.remark("keep %s.key where nothing of the gateway is: without it no backup for it opens\nnext: cordon backup FILE --recipients-file %[1]s.pub", out)
	return nil
}

// askHidden asks a person at a terminal for something that is not shown, so many times; elsewhere
// it reads one line of standard input.
func (a *app) askHidden(what string, times int) (list []string, err error) {
	in, isFile := a.stdin.(*os.File)
	if !isFile || !a.terminal(in) {
		line, err := readLine(a.stdin)
		if err != nil {
			return nil, exit.Error{Code: "backup.passphrase", Message: "no passphrase is given", Exit: exit.Usage, Err: err, Try: []string{"--passphrase-file FILE"}}
		}
		return []string{line}, nil
	}
	back, err := silence(in)
	if err != nil {
		return nil, fmt.Errorf("turn the echo off: %w", err)
	}
	defer back()
	for i := range times {
		again := ""
		if i > 0 {
			again = " again"
		}
		fmt.Fprintf(a.stderr, "%s%s, not shown: ", what, again)
		line, err := readLine(in)
		fmt.Fprintln(a.stderr)
		if err != nil {
			return nil, err
		}
		list = append(list, line)
	}
	return list, nil
}

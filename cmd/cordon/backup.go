package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/backup"
	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/disk"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/home"
	"cordon/gateway/audit"
)

func backupCommand(a *app) *cobra.Command {
	var to sealing
	c := &cobra.Command{
		Use: "backup FILE", Short: "Write everything this gateway is into one sealed file",
		Long: `Write into FILE everything that this gateway is: its configuration, profiles and policy, its
authority with the keys, the log, revisions, what is granted and quarantined, and the rest of
gateway.state. A gateway that runs goes on; what it changes meanwhile is in the next backup. FILE
must not exist. It is sealed by age, for holders of keys (--recipient, --recipients-file) or
with a passphrase, and signed with the log's key; the log says that it was made, and by whom.

What the machine brings is not in it: the program, plugins' programs, certificates of persons.`,
		Example: `  cordon backup keygen --out ward           # once, elsewhere: ward.key opens backups, ward.pub is for the gateway
  cordon backup /mnt/ward-4.backup --recipients-file ward.pub
  cordon backup verify /mnt/ward-4.backup --identity ward.key`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: anyFile,
		RunE: func(c *cobra.Command, args []string) error {
			return cannot("back up to "+args[0], a.backup(c.Context(), args[0], &to))
		},
	}
	to.flags(c)
	c.AddCommand(backupVerifyCommand(a), backupKeygenCommand(a))
	return c
}

// anyFile completes the first argument as a file.
func anyFile(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveDefault
}

// backedUp is a backup for programs.
type backedUp struct {
	Schema     string    `json:"schema"`
	File       string    `json:"file"`
	Gateway    string    `json:"gateway"`
	Made       time.Time `json:"made"`
	By         string    `json:"by"`
	Version    string    `json:"version"`
	Files      int       `json:"files"`
	Bytes      int64     `json:"bytes"`  // of these
	Sealed     int64     `json:"sealed"` // of the file
	Entries    int64     `json:"entries"`
	Checkpoint string    `json:"checkpoint"`
	Key        string    `json:"key"` // that has signed it: the log's
	Trusted    bool      `json:"trusted_key"`
}

func newBackedUp(schema, file string, m *backup.Manifest) backedUp {
	b := backedUp{Schema: schema, File: file, Gateway: m.Gateway, Made: m.Made, By: m.By, Version: m.Version, Files: len(m.Files), Bytes: m.Size(),
		Entries: m.Log.Entries, Checkpoint: m.Log.Checkpoint, Key: m.Log.Key}
	if info, err := os.Stat(file); err == nil {
		b.Sealed = info.Size()
	}
	return b
}

func (a *app) backup(ctx context.Context, file string, to *sealing) error {
	if err := home.CheckWhole(a.config()); err != nil {
		return err
	}
	c, err := config.Load(a.config())
	if err != nil {
		return err
	}
	if err := checkLayout(a.config(), c); err != nil {
		return err
	}
	if err := checkTarget(file, c); err != nil {
		return err
	}
	recipients, err := to.recipients(a)
	if err != nil {
		return err
	}
	f, err := daemon.Freeze(ctx, c, &daemon.FreezeRequest{For: recipients.Names}, quietLogger(a.stderr))
	if err != nil {
		return err
	}
	defer os.RemoveAll(filepath.Join(c.Gateway.State, f.Dir))
	files, err := a.readSources(c)
	if err != nil {
		return err
	}
	m := &backup.Manifest{Gateway: c.ID(), Made: f.Made, By: f.By, Version: daemon.Build().Version}
	err = writeWhole(file, func(out io.Writer) error {
		counted := &countingWriter{Writer: out, ctx: ctx}
		defer a.counts("written", &counted.n)()
		w, err := backup.NewWriter(counted, recipients)
		if err != nil {
			return err
		}
		if m.Log.Entries, err = putAll(f, w, c, files); err != nil {
			return err
		}
		log, err := audit.OpenReader(c.Audit.Dir)
		if err != nil {
			return err
		}
		m.Log.Checkpoint, m.Log.Key = string(f.Checkpoint), log.VerifierKey()
		return w.Close(m, func(text string) ([]byte, error) { return audit.Sign(c.Audit.Dir, text) })
	})
	if err != nil {
		return err
	}
	done := newBackedUp("cordon.backup.written/v1", file, m)
	done.Trusted = true
	if a.json {
		return a.object(done)
	}
	fmt.Fprintln(a.stdout, file)
	a.remark("%d files, %s, sealed for %s; the log up to entry %d\nnext: keep it elsewhere, with the log's public key, %s\n      cordon backup verify %s",
		done.Files, megabytes(done.Sealed), strings.Join(recipients.Names, ", "), done.Entries-1, filepath.Join(c.Audit.Dir, "key.pub"), file)
	return nil
}

// checkTarget refuses a place where the backup would be in the next one, or over something.
func checkTarget(file string, c *config.Config) error {
	if disk.Exists(file) {
		return exit.Error{Code: "backup.exists", Message: file + " exists already, and nothing is overwritten", Exit: exit.Conflict, Try: []string{"another name, such as one with the date"}}
	}
	for _, dir := range []string{c.Gateway.State, c.Audit.Dir, c.Policy.Dir} {
		if _, inside := within(dir, file); inside {
			return exit.Error{Code: "backup.inside", Message: fmt.Sprintf("%s is inside %s, which is what is backed up", file, dir), Exit: exit.Usage, Try: []string{"another disk, and better another machine"}}
		}
	}
	return nil
}

// writeWhole makes a file that only its owner can read, as a whole or not at all.
func writeWhole(file string, fill func(io.Writer) error) (err error) {
	out, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name()) // if it still has that name
	err = fill(out)
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return err
	}
	if disk.Exists(file) {
		return exit.Error{Code: "backup.exists", Message: file + " exists by now, and nothing is overwritten", Exit: exit.Conflict}
	}
	if err := os.Rename(out.Name(), file); err != nil {
		return err
	}
	return disk.Sync(filepath.Dir(file))
}

// countingWriter counts, and ends with ctx.
type countingWriter struct {
	io.Writer
	ctx context.Context
	n   atomic.Int64
}

func (w *countingWriter) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := w.Writer.Write(p)
	w.n.Add(int64(n))
	return n, err
}

// counts tells a person each second how many bytes there are, until it is stopped.
func (a *app) counts(done string, n *atomic.Int64) (stop func()) {
	if !a.terminal(a.stderr) || a.quiet || a.json {
		return func() {}
	}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-end:
				fmt.Fprint(a.stderr, "\r\x1b[K")
				return
			case <-tick.C:
				fmt.Fprintf(a.stderr, "\r%s %s\x1b[K", megabytes(n.Load()), done)
			}
		}
	}()
	return func() { close(end); <-ended }
}

// megabytes is a size for people.
func megabytes(n int64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%d KiB", (n+1023)>>10)
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/backup"
	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/envelope"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/revision"
	"cordon/gateway/audit"
)

func backupVerifyCommand(a *app) *cobra.Command {
	var with unsealing
	c := &cobra.Command{
		Use: "verify FILE", Short: "See whether a backup is whole, whose it is, and whether its log is as it was written",
		Long: `Open a backup, and see that every file in it is as its manifest says, that the manifest is signed with
the log's key, and that the log's entries are what its checkpoints sign. Nothing is written. Anybody can seal a
file for a public key: whose backup it is, only the log's public key tells that was kept elsewhere (--key).`,
		Example:           "  cordon backup verify ward-4.backup --identity ward.key --key kept/key.pub",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: anyFile,
		RunE: func(c *cobra.Command, args []string) error {
			return cannot("verify "+args[0], a.backupVerify(c.Context(), args[0], &with))
		},
	}
	with.flags(c)
	return c
}

func (a *app) backupVerify(ctx context.Context, file string, with *unsealing) error {
	x, err := a.examineBackup(ctx, file, with)
	if err != nil {
		return err
	}
	done := newBackedUp("cordon.backup.verified/v1", file, &x.Manifest)
	done.Trusted = x.trusted
	if a.json {
		return a.object(done)
	}
	fmt.Fprintf(a.stdout, "ok: %s of %s by %s, %d files, the log up to entry %d\n", x.Gateway, x.Made.UTC().Format(time.RFC3339), x.By, len(x.Files), x.Log.Entries-1)
	a.doubtKey(x)
	return nil
}

// doubtKey says what a backup's signature is worth.
func (a *app) doubtKey(x *examined) {
	if !x.trusted {
		a.remark("whose it is, only the log's public key tells that was kept elsewhere: --key FILE. It is signed with\n%s", x.Log.Key)
	}
}

// examined is a backup that is whole, and what a restore looks at before it writes.
type examined struct {
	*backup.Opened
	small   map[string][]byte // the files of examinedFiles and of the configuration
	trusted bool              // it is signed by a key that was given
}

// What a backup has in any case, or there would be no gateway. examinedFiles are read as they pass, needed or
// not.
var neededFiles = []string{
	inConfig + "/" + config.FileName, inState + "/ca/root.pem", inState + "/ca/intermediate.pem", inState + "/ca/intermediate.key", inState + "/ca/issued.db",
	inLog + "/key", inLog + "/key.pub", inLog + "/checkpoint",
}

var examinedFiles = []string{inState + "/" + daemon.LedgerFile, inState + "/ca/crl.pem", inState + "/" + revision.RolloutFile, inState + "/" + revision.ChosenFile,
	inState + "/" + envelope.File}

// Bounds of those.
const (
	maxExamined    = 64 << 20
	maxExaminedAll = 256 << 20
)

// examineBackup reads a backup to its end and writes nothing.
func (a *app) examineBackup(ctx context.Context, file string, with *unsealing) (*examined, error) {
	identities, key, err := with.identities(a)
	if err != nil {
		return nil, err
	}
	x := &examined{small: map[string][]byte{}, trusted: key != ""}
	log := audit.CopyCheck{VerifierKey: key}
	held := 0
	x.Opened, err = a.readBackup(ctx, file, identities, func(name string, size int64, content io.Reader) error {
		folder, rest, _ := strings.Cut(name, "/")
		if rest == "" || !slices.Contains([]string{inConfig, inPolicy, inState, inLog, inOutside}, folder) {
			return notGateway(fmt.Errorf("%q has no place in a gateway", name))
		}
		if folder == inLog {
			return notLog(log.Take(rest, content))
		}
		if folder != inConfig && folder != inOutside && !slices.Contains(examinedFiles, name) {
			return nil
		}
		text, err := io.ReadAll(io.LimitReader(content, maxExamined+1))
		if held += len(text); err == nil && (len(text) > maxExamined || held > maxExaminedAll) {
			err = notGateway(fmt.Errorf("%q is longer than any such file", name))
		}
		x.small[name] = text
		return err
	})
	if err != nil {
		return nil, refusedBackup(err)
	}
	if err := x.check(key, &log); err != nil {
		return nil, refusedBackup(err)
	}
	return x, nil
}

// readBackup is backup.Read of a file, with a count for whoever waits.
func (a *app) readBackup(ctx context.Context, file string, with backup.Identities, take func(name string, size int64, content io.Reader) error) (*backup.Opened, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	counted := &countingWriter{Writer: io.Discard, ctx: ctx}
	defer a.counts("read", &counted.n)()
	return backup.Read(io.TeeReader(f, counted), with, take)
}

// check sees that a whole file is a gateway's backup, and whose.
func (x *examined) check(key string, log *audit.CopyCheck) error {
	for _, name := range neededFiles {
		if !slices.ContainsFunc(x.Files, func(f backup.File) bool { return f.Name == name }) {
			return notGateway(fmt.Errorf("there is no %s in it", name))
		}
	}
	report, err := log.Done()
	if err != nil {
		return notLog(err)
	}
	if key == "" {
		key = x.Log.Key
	}
	text, err := audit.CheckSigned(x.Signature, key)
	if err != nil || text != x.Text {
		return exit.Error{Code: "backup.signature", Message: "the log's key has not signed it", Exit: exit.Checks, Err: err, Try: []string{"find out who could write there"}}
	}
	if strings.TrimSpace(key) != strings.TrimSpace(x.Log.Key) || report.Size != x.Log.Entries || !bytes.Contains([]byte(x.Log.Checkpoint), fmt.Appendf(nil, "\n%d\n", report.Size)) {
		return notGateway(fmt.Errorf("its log is not the one that its manifest names"))
	}
	if report.Origin != x.Gateway {
		return notGateway(fmt.Errorf("its log is that of %q, and it says to be of %q", report.Origin, x.Gateway))
	}
	return nil
}

// notLog tells a log that is damaged, or another's, from what is none.
func notLog(err error) error {
	_, damaged := errors.AsType[*audit.Damage](err)
	if err == nil || damaged || errors.Is(err, audit.ErrOtherLog) {
		return err
	}
	return notGateway(err)
}

func notGateway(err error) error {
	return exit.Error{Code: "backup.content", Message: err.Error(), Exit: exit.Checks, Err: err, Try: []string{"another backup"}}
}

// refusedBackup says of a backup that cannot be used why, and what to try.
func refusedBackup(err error) error {
	if _, ok := errors.AsType[exit.Error](err); ok {
		return err
	}
	f := exit.Error{Message: err.Error(), Exit: exit.Checks, Err: err}
	damage, damaged := errors.AsType[*audit.Damage](err)
	switch {
	case errors.Is(err, backup.ErrKey):
		f.Code, f.Exit, f.Try = "backup.key", exit.Denied, []string{"the private key of whom it was sealed for", "--passphrase, if it was sealed with one"}
	case errors.Is(err, backup.ErrVersion):
		f.Code, f.Try = "backup.version", []string{"restore it with the cordon that wrote it, then upgrade"}
	case errors.Is(err, audit.ErrOtherLog):
		f.Code, f.Try = "backup.signature", []string{"find out who could write there", "the key of the gateway that it is of"}
	case damaged:
		f.Code, f.Message, f.Try = "audit.damaged", "its log is not what was signed: "+damage.Error(), []string{"another backup"}
	case errors.Is(err, backup.ErrFormat):
		f.Code, f.Try = "backup.damaged", []string{"copy it again", "another backup"}
	default:
		return err
	}
	return f
}

// folder returns the files of one folder of a backup, by their names in it.
func (x *examined) folder(name string) map[string][]byte {
	files := map[string][]byte{}
	for full, text := range x.small {
		if rest, ok := strings.CutPrefix(full, name+"/"); ok {
			files[path.Clean(rest)] = text
		}
	}
	return files
}

package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode"

	"cordon/certs/ca"
	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/control"
	"cordon/cmd/cordon/disk"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/home"
	"cordon/gateway/audit"
)

// A backup of a running gateway is of one moment: that of its entry in the log. While whoever
// changes what is in gateway.state waits, the entry is made and signed, and every file gets a
// second name in a folder of the moment. That takes milliseconds and no space, because
// those files are only ever replaced as a whole. Two are not, and have their own ways: the log,
// whose entries up to the checkpoint never change, and the authority's database.

// freezePrefix begins the names of such folders, in gateway.state; the entry's index follows.
const freezePrefix = ".backup-"

// freezeKept is how long one may lie there whose backup has not ended.
const freezeKept = 24 * time.Hour

// FreezeRequest asks for such a moment.
type FreezeRequest struct {
	For []string `json:"for"` // who can open the backup, for the entry
}

// Frozen is the moment that a backup is of.
type Frozen struct {
	Dir        string    `json:"dir"` // in gateway.state: what that held, without log and database. Whoever asked removes it
	Made       time.Time `json:"made"`
	Entry      int64     `json:"entry"`      // that tells of the backup
	Checkpoint []byte    `json:"checkpoint"` // that signs it
	By         string    `json:"by"`
}

// book is what an audit log can do for a backup.
type book interface {
	Append(ctx context.Context, e audit.Entry) (audit.Receipt, error)
	Checkpoint() ([]byte, error)
}

// answerBackup is the verb of the control socket.
func (r *reloader) answerBackup(_ context.Context, by string, q *FreezeRequest) (any, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.handedOver() {
		return nil, control.ErrMoved
	}
	emergencies, standing := r.parts.emergencies, r.parts.standing
	emergencies.mu.Lock()
	defer emergencies.mu.Unlock()
	standing.mu.Lock()
	defer standing.mu.Unlock()
	if err := standing.settle(); err != nil {
		return nil, err
	}
	return freeze(r.config, r.parts.log, q, by)
}

// Freeze has the running gateway do it, or does it itself where none runs: the lock on the
// audit log keeps one from starting meanwhile.
func Freeze(ctx context.Context, c *config.Config, q *FreezeRequest, quiet *slog.Logger) (*Frozen, error) {
	f := &Frozen{}
	log, err := AskOrOpen(ctx, c, "backup", q, f, 2*ReloadTimeout, quiet) // a reload may be going on
	if log == nil {
		return f, err
	}
	f, err = freeze(c, log, q, control.Operator())
	return f, errors.Join(err, log.Close())
}

// freeze makes the entry, and the folder. The caller keeps others from changing gateway.state.
func freeze(c *config.Config, log book, q *FreezeRequest, by string) (*Frozen, error) {
	if err := checkNames(q.For); err != nil {
		return nil, err
	}
	ctx, cancel := home.RecordTimeout()
	defer cancel()
	receipt, err := log.Append(ctx, audit.Entry{Kind: audit.KindBackup, Note: fmt.Sprintf("begun by %s, keys included, for %s to open", by, strings.Join(q.For, ", "))})
	if err != nil {
		return nil, exit.Error{Code: "backup.unrecorded", Message: "the audit log cannot be written, so there is no backup", Err: err, Try: []string{"cordon doctor", "free space where the log is"}}
	}
	f := &Frozen{Entry: receipt.Index, By: by, Made: time.Now().UTC().Truncate(time.Second)}
	if f.Checkpoint, err = log.Checkpoint(); err != nil {
		return nil, fmt.Errorf("sign the log: %w", err)
	}
	forgetFrozen(c.Gateway.State, time.Now())
	f.Dir = freezePrefix + strconv.FormatInt(receipt.Index, 10)
	dir := filepath.Join(c.Gateway.State, f.Dir)
	if err := linkState(c, dir); err != nil {
		return nil, errors.Join(fmt.Errorf("keep what gateway.state holds: %w", err), os.RemoveAll(dir))
	}
	return f, nil
}

// checkNames bounds what somebody says the recipients are.
func checkNames(names []string) error {
	const most, longest = 32, 64
	for _, name := range names {
		if len(name) > longest || strings.ContainsFunc(name, func(c rune) bool { return !unicode.IsPrint(c) }) {
			return fmt.Errorf("%.80q is no name of a recipient", name)
		}
	}
	if len(names) == 0 || len(names) > most {
		return fmt.Errorf("a backup for %d recipients: want 1 to %d", len(names), most)
	}
	return nil
}

// forgetFrozen removes folders of backups that never ended.
func forgetFrozen(state string, now time.Time) {
	all, _ := os.ReadDir(state) // linkState says what is wrong with it
	for _, d := range all {
		if info, err := d.Info(); err == nil && strings.HasPrefix(d.Name(), freezePrefix) && now.Sub(info.ModTime()) > freezeKept {
			os.RemoveAll(filepath.Join(state, d.Name())) // what stays only takes space
		}
	}
}

// linkState gives every file in gateway.state that a backup takes a second name in dir.
func linkState(c *config.Config, dir string) error {
	state, err := filepath.EvalSymlinks(c.Gateway.State)
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	log, err := os.Stat(c.Audit.Dir)
	if err != nil {
		return err
	}
	return filepath.WalkDir(state, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == state {
			return disk.UnlessGone(err)
		}
		name, err := filepath.Rel(state, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return disk.UnlessGone(err)
		}
		switch {
		case d.IsDir() && (os.SameFile(info, log) || home.OfRestore(name)):
			return fs.SkipDir
		case strings.HasPrefix(d.Name(), ".") && d.IsDir(): // of another backup or a restore
			return fs.SkipDir
		case d.IsDir():
			return os.Mkdir(filepath.Join(dir, name), 0o700)
		case info.Mode().Type()&fs.ModeSymlink != 0:
			if to, err := os.Stat(path); err == nil && os.SameFile(to, log) {
				return nil
			}
			return fmt.Errorf("%q is a symbolic link, and what it leads to would be missing: move that here", path)
		case !d.Type().IsRegular(), strings.HasPrefix(d.Name(), "."), // sockets; files that are being written
			name == filepath.Join(home.CADir, ca.DatabaseFile):
			return nil
		}
		return disk.UnlessGone(link(path, filepath.Join(dir, name)))
	})
}

// link gives a file a second name, or copies it where that may not be.
func link(from, to string) error {
	if err := os.Link(from, to); err == nil || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

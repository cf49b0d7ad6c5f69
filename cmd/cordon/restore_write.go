package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"cordon/cmd/cordon/backup"
	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/control"
	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/disk"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/home"
	"cordon/gateway/audit"
	"cordon/policy/access"
)

// restoring is one restore. First everything is written and made durable beside what is there; then that is moved
// aside, the configuration first, and what was written takes its place, the configuration last. A
// restore that is killed in between leaves no gateway that would start, and can be repeated: see home.Exchange.
type restoring struct {
	app *app
	*restorePlan
	file   string
	backup *examined
	lost   *loss
	unused bool // the sealed codes in the backup are, as somebody says
	stamp  string

	files   []backup.File     // that are written: those of the backup, and what stays taken away
	staging map[string]string // root to folder
	made    []string          // directories that were not there, outermost first
	entry   int64
	aside   []string
	stays   []string      // what was taken away since the backup, in words
	facts   []access.Fact // of it, those that stand for a time
}

func (r *restoring) run(ctx context.Context, with *unsealing) (err error) {
	r.files = slices.Clone(r.backup.Files)
	r.staging = map[string]string{}
	defer func() {
		for _, dir := range r.staging {
			err = errors.Join(err, os.RemoveAll(dir))
		}
		if err != nil && r.entry == 0 {
			for _, dir := range slices.Backward(r.made) {
				os.Remove(dir) // if it is empty
			}
		}
	}()
	if err := r.prepare(); err != nil {
		return err
	}
	if err := r.unpack(ctx, with); err != nil {
		return err
	}
	if err := r.carry(ctx); err != nil {
		return err
	}
	entry, err := r.continueLog()
	if err != nil {
		return err
	}
	if err := r.settleOwners(); err != nil {
		return err
	}
	if err := syncRoots(r.roots); err != nil {
		return err
	}
	if err := r.exchange(); err != nil {
		return err
	}
	r.entry = entry
	return nil
}

// prepare makes the folders to write to, and wants room for what will be there.
func (r *restoring) prepare() error {
	need := map[string]int64{}
	for _, f := range r.backup.Files {
		if place := r.place(f.Name); place != "" {
			if root := r.root(place); root != nil {
				need[root.dir] += f.Size
			}
		}
	}
	for _, root := range r.roots {
		if err := r.makeDir(root); err != nil {
			return err
		}
		var s unix.Statfs_t
		if err := unix.Statfs(root.dir, &s); err != nil {
			return fmt.Errorf("look at %q: %w", root.dir, err)
		}
		if free := int64(s.Bavail) * s.Bsize; free < need[root.dir] {
			return exit.Error{Code: "restore.space", Message: fmt.Sprintf("it takes %s in %s, where %s are free", megabytes(need[root.dir]), root.dir, megabytes(free)), Err: unix.ENOSPC,
				Try: []string{"free space there", "--state, --audit on another disk"}}
		}
		left, err := os.ReadDir(root.dir)
		if err != nil {
			return err
		}
		for _, d := range left { // of a restore that was killed
			if strings.HasPrefix(d.Name(), home.StagingPrefix) {
				if err := os.RemoveAll(filepath.Join(root.dir, d.Name())); err != nil {
					return err
				}
			}
		}
		r.staging[root.dir] = filepath.Join(root.dir, home.StagingPrefix+r.stamp)
		if err := os.Mkdir(r.staging[root.dir], 0o700); err != nil {
			return err
		}
	}
	return nil
}

// makeDir makes a root with its parents. Those who are not to see the state do not; the
// configuration's directory is open to the gateway's group.
func (r *restoring) makeDir(root restoreRoot) error {
	for dir := root.dir; !disk.Exists(dir); dir = filepath.Dir(dir) {
		r.made = append([]string{dir}, r.made...)
	}
	if err := os.MkdirAll(root.dir, 0o755); err != nil {
		return err
	}
	if !slices.Contains(r.made, root.dir) {
		return nil
	}
	if root.dir == r.rules {
		return nil
	}
	if root.own {
		return os.Chmod(root.dir, 0o700)
	}
	return os.Chmod(root.dir, 0o750)
}

// staged is where a place is written first.
func (r *restoring) staged(place string) string {
	root := r.root(place)
	inside, _ := within(root.dir, place)
	return filepath.Join(r.staging[root.dir], inside)
}

// unpack reads the backup once more, and writes it if it is still the one that was examined.
func (r *restoring) unpack(ctx context.Context, with *unsealing) error {
	identities, _, err := with.identities(r.app)
	if err != nil {
		return err
	}
	modes := map[string]fs.FileMode{}
	for _, f := range r.backup.Files {
		modes[f.Name] = f.Mode
	}
	again, err := r.app.readBackup(ctx, r.file, identities, func(name string, size int64, content io.Reader) error {
		place := r.place(name)
		mode, known := modes[name]
		switch {
		case !known:
			return errors.New("the file is another by now")
		case place == "" || r.root(place) == nil: // see exchange
			return nil
		case name == inConfig+"/"+config.FileName:
			return r.write(place, mode, strings.NewReader(string(r.text)))
		}
		return r.write(place, restoredMode(name, mode), content)
	})
	if err == nil && again.Text != r.backup.Text {
		err = errors.New("the file is another by now")
	}
	if err != nil {
		return refusedBackup(err)
	}
	return nil
}

// restoredMode is a file's mode as it was, without what nothing of a gateway has: others who
// may write, and others who may read keys.
func restoredMode(name string, mode fs.FileMode) fs.FileMode {
	mode &^= 0o022
	if strings.HasSuffix(name, ".key") || name == inLog+"/key" {
		mode &^= 0o077
	}
	return mode | 0o400
}

func (r *restoring) write(place string, mode fs.FileMode, content io.Reader) error {
	file := r.staged(place)
	if err := r.makeParents(place); err != nil {
		return err
	}
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, content)
	return errors.Join(err, out.Chmod(mode), out.Close())
}

// makeParents makes the staged directories above a place: the state's are the gateway's alone,
// those of policy and profiles are for everybody to read, as cordon init makes them.
func (r *restoring) makeParents(place string) error {
	mode := fs.FileMode(0o700)
	for _, open := range []string{r.rules, filepath.Join(r.dir, config.ProfileDir)} {
		if _, inside := within(open, place); inside {
			mode = 0o755
		}
	}
	var missing []string
	for dir := filepath.Dir(r.staged(place)); !disk.Exists(dir); dir = filepath.Dir(dir) {
		missing = append(missing, dir)
	}
	for _, dir := range slices.Backward(missing) {
		if err := os.Mkdir(dir, mode); err != nil {
			return err
		}
		if err := os.Chmod(dir, mode); err != nil { // whatever the umask
			return err
		}
	}
	return nil
}

// continueLog writes the entry from which on the log is another than the one it was copied from.
func (r *restoring) continueLog() (entry int64, err error) {
	log, err := audit.Open(audit.Config{Dir: r.staged(r.log), Origin: r.gateway, Gateway: r.name, Logger: quietLogger(r.app.stderr)})
	if err != nil {
		return 0, err
	}
	ctx, cancel := home.RecordTimeout()
	defer cancel()
	x := r.backup
	note := fmt.Sprintf("restored by %s from a backup of %s up to entry %d, made by %s", control.Operator(), x.Made.UTC().Format(time.RFC3339), x.Log.Entries-1, x.By)
	if r.lost.Log != "" {
		note += "; of the log that was in its place: " + r.lost.Log
	}
	for _, s := range r.stays {
		note += "; " + s
	}
	if n := len(r.lost.Unknown); n > 0 {
		note += fmt.Sprintf("; %d things of what was there could not be read", n)
	}
	receipt, err := log.Append(ctx, audit.Entry{Kind: audit.KindRestore, Note: note})
	for i := range r.facts {
		if err == nil {
			_, err = log.Append(ctx, daemon.StaysNote(&r.facts[i]))
		}
	}
	return receipt.Index, errors.Join(err, log.Close())
}

// syncFS makes everything durable that was written to a directory's file system.
func syncFS(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("make %q durable: %w", dir, err)
	}
	return nil
}

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"cordon/cmd/cordon/backup"
	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/disk"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/home"
)

// exchange moves aside what is there and puts what was written in its place. What goes wrong is
// taken back at once; a kill in between is taken back by the next restore.
func (r *restoring) exchange() error {
	x, err := r.order()
	if err != nil {
		return err
	}
	note := home.ExchangeFile(r.dir, r.stamp)
	if err := x.Note(note); err != nil {
		return errors.Join(err, disk.UnlessGone(os.Remove(note+".new")))
	}
	if err = r.carryOut(x); err != nil {
		if undone := takeBack(x, r.roots); undone != nil {
			r.staging = nil // nothing is removed that may be all there is
			return errors.Join(err, undone)
		}
	} else {
		r.aside = x.Aside
	}
	return errors.Join(err, forgetExchange(x, note))
}

// order is what is to be moved, and in which order.
func (r *restoring) order() (*home.Exchange, error) {
	there, err := r.there(r.files)
	if err != nil {
		return nil, err
	}
	configuration := filepath.Join(r.dir, config.FileName)
	if i := slices.Index(there, configuration); i > 0 {
		there = slices.Concat([]string{configuration}, there[:i], there[i+1:])
	}
	x := &home.Exchange{Backup: r.file}
	for _, place := range there {
		root := r.root(place)
		inside, _ := within(root.dir, place)
		aside := filepath.Join(root.dir, home.ReplacedPrefix+r.stamp)
		if root.dir == r.rules { // where what is hidden is no policy
			aside = filepath.Join(root.dir, "."+home.ReplacedPrefix+r.stamp)
		}
		if !slices.Contains(x.Aside, aside) {
			x.Aside = append(x.Aside, aside)
		}
		x.Moves = append(x.Moves, home.Move{From: place, To: filepath.Join(aside, inside)})
	}
	for _, unit := range r.units(r.files) {
		x.Moves = append(x.Moves, home.Move{From: r.staged(unit), To: unit, In: true})
	}
	for _, file := range r.outside {
		x.Added = append(x.Added, home.AddedOne{Place: file, Second: filepath.Join(filepath.Dir(file), home.StagingPrefix+r.stamp+"-"+filepath.Base(file))})
	}
	return x, nil
}

// carryOut makes the moves. That there is no configuration is durable before anything else is moved, and all else
// before there is one again.
func (r *restoring) carryOut(x *home.Exchange) error {
	for _, dir := range x.Aside {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	first := slices.IndexFunc(x.Moves, func(m home.Move) bool { return m.In })
	for i, m := range x.Moves {
		mode := fs.FileMode(0o700)
		if m.In {
			mode = 0o755
		}
		if err := os.MkdirAll(filepath.Dir(m.To), mode); err != nil {
			return err
		}
		if i == first {
			for _, file := range x.Added {
				if err := r.addOutside(file); err != nil {
					return err
				}
			}
		}
		if i == len(x.Moves)-1 {
			if err := syncRoots(r.roots); err != nil {
				return err
			}
		}
		if disk.Exists(m.To) {
			return fmt.Errorf("there is something at %s by now", m.To)
		}
		if err := os.Rename(m.From, m.To); err != nil {
			return err
		}
		if i == 0 {
			if err := syncFS(r.dir); err != nil {
				return err
			}
		}
	}
	return syncRoots(r.roots)
}

func syncRoots(roots []restoreRoot) error {
	for _, root := range roots {
		if err := syncFS(root.dir); err != nil {
			return err
		}
	}
	return nil
}

// addOutside writes a file that the configuration names outside its directory, and that is missing.
func (r *restoring) addOutside(x home.AddedOne) error {
	name := inOutside + x.Place
	i := slices.IndexFunc(r.backup.Files, func(f backup.File) bool { return f.Name == name })
	if err := os.MkdirAll(filepath.Dir(x.Place), 0o755); err != nil {
		return err
	}
	if err := disk.Create(x.Second, r.backup.small[name], restoredMode(name, r.backup.Files[i].Mode)); err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		uid, gid, err := ownerOf(r.backup.Files[i], filepath.Dir(x.Place))
		if err != nil {
			return err
		}
		if err := os.Lchown(x.Second, uid, gid); err != nil {
			return err
		}
	}
	if err := os.Link(x.Second, x.Place); err != nil { // not over one that somebody else has put there
		return err
	}
	return syncFS(filepath.Dir(x.Place))
}

// takeBack undoes what was moved, in the opposite order: the old configuration comes last.
func takeBack(x *home.Exchange, roots []restoreRoot) error {
	half := func(err error) error {
		return exit.Error{Code: "restore.half", Message: fmt.Sprintf("%v: what was there is in %s", err, strings.Join(x.Aside, ", ")), Err: err, Try: []string{"the same command again, when the disk is well", "or put everything back by hand"}}
	}
	for i, m := range slices.Backward(x.Moves[:x.Came()]) {
		if i == 0 {
			if err := syncRoots(roots); err != nil {
				return half(err)
			}
		}
		if disk.Exists(m.From) {
			return half(fmt.Errorf("there is something at %s by now", m.From))
		}
		if err := os.Rename(m.To, m.From); err != nil {
			return half(err)
		}
	}
	for _, a := range x.Added {
		if isSame(a.Place, a.Second) {
			if err := os.Remove(a.Place); err != nil {
				return half(err)
			}
		}
	}
	for _, dir := range x.Aside {
		removeEmpty(dir)
	}
	return syncRoots(roots)
}

func isSame(a, b string) bool {
	x, err := os.Lstat(a)
	y, err2 := os.Lstat(b)
	return err == nil && err2 == nil && os.SameFile(x, y)
}

// forgetExchange is for one that is done, or taken back.
func forgetExchange(x *home.Exchange, note string) error {
	var failed []error
	for _, a := range x.Added {
		failed = append(failed, disk.UnlessGone(os.Remove(a.Second)))
	}
	return errors.Join(append(failed, disk.UnlessGone(os.Remove(note)), disk.Sync(filepath.Dir(note)))...)
}

// removeEmpty removes directories that have nothing in them but such.
func removeEmpty(dir string) {
	inside, _ := os.ReadDir(dir)
	for _, d := range inside {
		if d.IsDir() {
			removeEmpty(filepath.Join(dir, d.Name()))
		}
	}
	os.Remove(dir) // not if there is anything else in it
}

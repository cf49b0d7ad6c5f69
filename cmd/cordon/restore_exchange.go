package main

import (
	"fmt"
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

// exchange moves aside what is there and puts what was written in its place.
func (r *restoring) exchange() error {
	there, err := r.there(r.backup.Files)
	if err != nil {
		return err
	}
	configuration := filepath.Join(r.dir, config.FileName)
	if i := slices.Index(there, configuration); i > 0 {
		there = slices.Concat([]string{configuration}, there[:i], there[i+1:])
	}
	for _, place := range there {
		root := r.root(place)
		inside, _ := within(root.dir, place)
		aside := filepath.Join(root.dir, home.ReplacedPrefix+r.stamp)
		if root.dir == r.rules { // where what is hidden is no policy
			aside = filepath.Join(root.dir, "."+home.ReplacedPrefix+r.stamp)
		}
		if !slices.Contains(r.aside, aside) {
			if err := os.Mkdir(aside, 0o700); err != nil {
				return err
			}
			r.aside = append(r.aside, aside)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(aside, inside)), 0o700); err != nil {
			return err
		}
		if err := r.move(place, filepath.Join(aside, inside)); err != nil {
			return err
		}
	}
	for _, file := range r.outside {
		if err := r.writeOutside(file); err != nil {
			return err
		}
	}
	for _, unit := range r.units(r.backup.Files) {
		if err := os.MkdirAll(filepath.Dir(unit), 0o755); err != nil {
			return err
		}
		if unit == configuration { // what it needs is there after a power cut, too
			if err := r.sync(); err != nil {
				return err
			}
		}
		if err := r.move(r.staged(unit), unit); err != nil {
			return err
		}
	}
	return r.sync()
}

func (r *restoring) sync() error {
	for _, root := range r.roots {
		if err := syncFS(root.dir); err != nil {
			return err
		}
	}
	return nil
}

// writeOutside writes a file that the configuration names outside its directory, and that is missing.
func (r *restoring) writeOutside(file string) error {
	name := inOutside + file
	i := slices.IndexFunc(r.backup.Files, func(f backup.File) bool { return f.Name == name })
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	if err := disk.Create(file, r.backup.small[name], restoredMode(name, r.backup.Files[i].Mode)); err != nil {
		return err
	}
	r.moves = append(r.moves, [2]string{"", file})
	if os.Geteuid() != 0 {
		return nil
	}
	uid, gid, err := ownerOf(r.backup.Files[i], filepath.Dir(file))
	if err != nil {
		return err
	}
	return os.Lchown(file, uid, gid)
}

func (r *restoring) move(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	r.moves = append(r.moves, [2]string{from, to})
	return nil
}

// undo takes back what exchange has done, in the opposite order.
func (r *restoring) undo() error {
	for _, m := range slices.Backward(r.moves) {
		var err error
		if m[0] == "" {
			err = os.Remove(m[1])
		} else {
			err = os.Rename(m[1], m[0])
		}
		if err != nil {
			r.staging = nil // nothing is removed that may be all there is
			return exit.Error{Code: "restore.half", Message: fmt.Sprintf("%v: what was there is in %s", err, strings.Join(r.aside, ", ")), Err: err, Try: []string{"the same command again, when the disk is well", "or put everything back by hand"}}
		}
	}
	for _, dir := range r.aside {
		removeEmpty(dir)
	}
	r.aside = nil
	return nil
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

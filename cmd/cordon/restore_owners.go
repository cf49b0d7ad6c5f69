package main

import (
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"cordon/cmd/cordon/backup"
	"cordon/cmd/cordon/home"
)

// settleOwners gives what was written to whom it belonged, if root restores. Who is not known on
// this machine is whoever has the directory.
func (r *restoring) settleOwners() error {
	if os.Geteuid() != 0 {
		return nil
	}
	done := map[string]bool{}
	for _, f := range r.files {
		place := r.place(f.Name)
		if place == "" || r.root(place) == nil {
			continue
		}
		unit := r.unit(place)
		root := r.root(place)
		uid, gid, err := ownerOf(f, root.dir)
		if err != nil {
			return err
		}
		if root.own && slices.Contains(r.made, root.dir) {
			if err := os.Lchown(root.dir, uid, gid); err != nil {
				return err
			}
		}
		if r.dir == root.dir && slices.Contains(r.made, r.dir) && place == filepath.Join(r.state, home.CADir, "intermediate.key") {
			if err := os.Lchown(r.dir, uid, gid); err != nil {
				return err
			}
		}
		if done[unit] {
			continue
		}
		done[unit] = true
		err = filepath.WalkDir(r.staged(unit), func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Lchown(path, uid, gid)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ownerOf finds a file's owner and group on this machine.
func ownerOf(f backup.File, dir string) (uid, gid int, err error) {
	info, err := os.Stat(dir)
	if err != nil {
		return 0, 0, err
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		uid, gid = int(s.Uid), int(s.Gid)
	}
	if u, err := user.Lookup(f.Owner); err == nil {
		if n, err := strconv.Atoi(u.Uid); err == nil {
			uid = n
		}
	}
	if g, err := user.LookupGroup(f.Group); err == nil {
		if n, err := strconv.Atoi(g.Gid); err == nil {
			gid = n
		}
	}
	return uid, gid, nil
}

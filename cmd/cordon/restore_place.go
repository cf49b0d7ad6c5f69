package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"cordon/cmd/cordon/backup"
	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/disk"
	"cordon/cmd/cordon/home"
)

// place is where a file of the backup goes; "" if it is there already.
func (p *restorePlan) place(name string) string {
	folder, rest, _ := strings.Cut(name, "/")
	rest = filepath.FromSlash(rest)
	switch folder {
	case inConfig:
		return filepath.Join(p.dir, rest)
	case inPolicy:
		return filepath.Join(p.rules, rest)
	case inState:
		return filepath.Join(p.state, rest)
	case inLog:
		return filepath.Join(p.log, rest)
	}
	if file := "/" + rest; slices.Contains(p.outside, file) {
		return file
	}
	return ""
}

// root is the directory that a place is below, and unit what is put there as a whole: a file
// of the configuration, a directory that is the gateway's, or an entry of one.
func (p *restorePlan) root(place string) *restoreRoot {
	for i := len(p.roots) - 1; i >= 0; i-- { // the first is the only one that others may be seen from
		if _, inside := within(p.roots[i].dir, place); inside {
			return &p.roots[i]
		}
	}
	return nil
}

func (p *restorePlan) unit(place string) string {
	root := p.root(place)
	if root == nil {
		return place
	}
	if root.own {
		inside, _ := within(root.dir, place)
		first, _, _ := strings.Cut(inside, string(filepath.Separator))
		return filepath.Join(root.dir, first)
	}
	for _, whole := range []string{p.state, p.log, p.rules, filepath.Join(p.dir, config.ProfileDir)} {
		if _, inside := within(whole, place); inside {
			return whole
		}
	}
	return place
}

// units are what a restore puts in place, the configuration last: where it is, the rest is.
func (p *restorePlan) units(files []backup.File) []string {
	seen := map[string]bool{}
	var list []string
	for _, f := range files {
		if place := p.place(f.Name); place != "" && p.root(place) != nil && !seen[p.unit(place)] {
			seen[p.unit(place)] = true
			list = append(list, p.unit(place))
		}
	}
	last := filepath.Join(p.dir, config.FileName)
	list = slices.DeleteFunc(list, func(u string) bool { return u == last })
	return append(list, last)
}

// there is what a restore would move aside.
func (p *restorePlan) there(files []backup.File) ([]string, error) {
	var list []string
	for _, u := range p.units(files) {
		if disk.Exists(u) {
			list = append(list, u)
		}
	}
	for _, r := range p.roots {
		if !r.own {
			continue
		}
		all, err := os.ReadDir(r.dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, d := range all {
			path := filepath.Join(r.dir, d.Name())
			if !slices.Contains(list, path) && !home.OfRestore(d.Name()) && d.Name() != "lost+found" {
				list = append(list, path)
			}
		}
	}
	return list, nil
}

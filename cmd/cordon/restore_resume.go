package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/home"
)

// lockDir keeps other restores to the same directory out; where there is none yet, nobody has anything to lose.
func (p *restorePlan) lockDir() (release func(), err error) {
	dir, err := os.Open(p.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return func() {}, nil
	}
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		dir.Close()
		return nil, exit.Error{Code: "restore.running", Message: fmt.Sprintf("another restore to %s is going on", p.dir), Exit: exit.Conflict, Err: err, Try: []string{"wait for its end"}}
	}
	return func() { dir.Close() }, nil
}

// resume is restorePlan.resume for a person.
func (a *app) resume(p *restorePlan, dryRun bool) (back bool, err error) {
	if dryRun {
		return false, home.CheckWhole(filepath.Join(p.dir, config.FileName))
	}
	if back, err = p.resume(); back {
		a.remark("an earlier restore was cut short, and what it did is taken back")
	}
	return back, err
}

// resume takes back what restores to the same directory have done that were cut short in the middle, so that what
// was there is there again, and to be compared. It reports whether there was one.
func (p *restorePlan) resume() (any bool, err error) {
	all, err := home.Exchanges(p.dir)
	if err != nil {
		return false, err
	}
	for note, x := range all {
		half := x.Came() < len(x.Moves)
		if half || len(x.Added) > 0 {
			if err := p.covers(x); err != nil {
				return false, err
			}
		}
		if half {
			if err := takeBack(x, p.roots); err != nil {
				return false, err
			}
			any = true
		}
		if err := forgetExchange(x, note); err != nil {
			return false, err
		}
	}
	return any, nil
}

// covers wants every place of an exchange below the directories that this restore writes to: what a note says
// elsewhere is not done, and other places take the same flags again.
func (p *restorePlan) covers(x *home.Exchange) error {
	ours := func(path string) bool {
		return slices.ContainsFunc(p.roots, func(r restoreRoot) bool { _, inside := within(r.dir, path); return inside })
	}
	var places []string
	for _, m := range x.Moves {
		places = append(places, m.From, m.To)
	}
	places = append(places, x.Aside...)
	elsewhere := slices.ContainsFunc(places, func(path string) bool { return !ours(path) })
	for _, a := range x.Added {
		if !slices.Contains(p.mayAdd, a.Place) || filepath.Dir(a.Second) != filepath.Dir(a.Place) {
			elsewhere = true
		}
	}
	if elsewhere {
		return exit.Error{Code: "restore.unfinished", Exit: exit.Conflict, Message: fmt.Sprintf("a restore of %s to %s was cut short, and had other places than this one", x.Backup, p.dir),
			Try: []string{"the same command as then, with its --state and --audit", "or put back by hand what is in " + home.ReplacedPrefix + "…"}}
	}
	return nil
}

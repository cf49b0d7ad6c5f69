package main

import (
	"context"
	"fmt"

	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/disk"
	"cordon/cmd/cordon/exit"
	"cordon/gateway/audit"
)

func restoreCommand(a *app) *cobra.Command {
	var with unsealing
	var to whither
	var how restoreFlags
	c := &cobra.Command{
		Use: "restore FILE --dir DIR", Short: "Make a gateway from a backup",
		Long: `Make the gateway that a backup is of: in DIR, and where its configuration says. The backup is
read and verified to its end before anything is written; what is written is complete before anything that is
there is touched; and that is moved aside, not removed. The log goes on with an entry that says which backup it
was restored from, and up to which entry: whoever has a later checkpoint sees that it is not the same any more.
One that is cut short leaves the old gateway, the new one, or none that starts; the same command again takes back
what it did, and does all of it.

What came after the backup is not in it. Where the gateway is still there, and can be read, what it has taken away
since stays so: revocations, quarantines, ends of access, used codes, the newest bundle. Elsewhere sealed codes are
void, unless --codes-unused says that no envelope was opened since, and it says what is to be repeated.

Nothing is written outside DIR that is not named: the state and the log by --state and --audit, where they may
also be given other places, and the rest by --outside. Over a gateway that is there, it shows what would be
lost, and asks. A running gateway has to be stopped first. Run it as root where the gateway has a user of its own.`,
		Example: `  cordon restore ward-4.backup --dir /etc/cordon --state /var/lib/cordon --identity ward.key --key kept/key.pub
  cordon restore ward-4.backup --dir drill --state drill/state --identity ward.key --dry-run`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: anyFile,
		RunE: func(c *cobra.Command, args []string) error {
			return cannot("restore "+args[0], a.restore(c.Context(), args[0], &with, to, how))
		},
	}
	with.flags(c)
	f := c.Flags()
	f.StringVar(&to.state, "state", "", "the `DIR` for gateway.state, where the configuration keeps it outside --dir")
	f.StringVar(&to.log, "audit", "", "the `DIR` for the log, where the configuration keeps it outside both")
	f.BoolVar(&to.outside, "outside", false, "also write the policy, certificates and secrets that the configuration names elsewhere")
	f.BoolVar(&how.unused, "codes-unused", false, "nobody has opened an envelope with sealed codes since the backup: they stay good")
	f.BoolVar(&how.dryRun, "dry-run", false, "verify the backup and show what would be done")
	f.BoolVar(&how.yes, "yes", false, "do not ask")
	mustComplete(c.MarkFlagDirname("state"))
	mustComplete(c.MarkFlagDirname("audit"))
	return c
}

// restoreFlags are what somebody said about how.
type restoreFlags struct{ dryRun, yes, unused bool }

// restored is what a restore did, or would do.
type restored struct {
	Schema   string            `json:"schema"`
	File     string            `json:"file"`
	Gateway  string            `json:"gateway"`
	Made     time.Time         `json:"made"`
	Entries  int64             `json:"entries"` // of the log in the backup
	Key      string            `json:"key"`
	Trusted  bool              `json:"trusted_key"`
	Dir      string            `json:"dir"`
	State    string            `json:"state"`
	Audit    string            `json:"audit"`
	Policy   string            `json:"policy"`
	Outside  []string          `json:"outside"`
	Files    int               `json:"files"`
	Bytes    int64             `json:"bytes"`
	Loss     *loss             `json:"loss"`
	Missing  map[string]string `json:"missing"` // plugins' programs that this machine lacks, by protocol
	Restored bool              `json:"restored"`
	Entry    int64             `json:"entry,omitempty"` // that says so
	Aside    []string          `json:"aside,omitempty"` // where what was there is now
	Stays    []string          `json:"stays,omitempty"` // what was taken away since the backup, and stays so
	Repeat   []string          `json:"repeat"`          // what nobody but people can know, and is to be done before clients come back
}

func (a *app) restore(ctx context.Context, file string, with *unsealing, to whither, how restoreFlags) error {
	if a.dir == "" {
		return exit.Error{Code: "usage.dir", Message: "where to is not said", Exit: exit.Usage, Try: []string{"--dir DIR", "--dir . for this directory"}}
	}
	x, err := a.examineBackup(ctx, file, with)
	if err != nil {
		return err
	}
	now := time.Now()
	if err := x.checkClock(now); err != nil {
		return err
	}
	p, err := x.plan(a.dir, to)
	if err != nil {
		return err
	}
	unlockDir, err := p.lockDir()
	if err != nil {
		return err
	}
	defer unlockDir()
	back, err := a.resume(p, how.dryRun)
	if err == nil && back { // what was there is there again, or missing again
		p, err = x.plan(a.dir, to)
	}
	if err != nil {
		return err
	}
	lost, err := p.compare(x, now)
	if err != nil {
		return err
	}
	r := &restoring{app: a, restorePlan: p, file: file, backup: x, lost: lost, unused: how.unused, stamp: now.UTC().Format("20060102T150405.000Z")}
	done := &restored{Schema: "cordon.restore/v1", File: file, Gateway: x.Gateway, Made: x.Made, Entries: x.Log.Entries, Key: x.Log.Key, Trusted: x.trusted,
		Dir: p.dir, State: p.state, Audit: p.log, Policy: p.rules, Outside: append([]string{}, p.outside...), Files: len(x.Files), Bytes: x.Size(), Loss: lost, Missing: map[string]string{}, Repeat: r.repeat(now)}
	for _, program := range p.programs {
		if !disk.Exists(program.Path) {
			done.Missing[program.Protocol] = program.Path
		}
	}
	if how.dryRun {
		if err := a.showRestored(done, x); err != nil {
			return err
		}
		a.remark("nothing was written: this was a dry run")
		return nil
	}
	if len(lost.Replaced) > 0 && !how.yes {
		if err := a.showRestored(done, x); err != nil {
			return err
		}
		if err := a.confirm("This replaces what is there.", "restore"); err != nil {
			return err
		}
	}
	unlock, err := p.hold()
	if err != nil {
		return err
	}
	defer unlock()
	if err := r.run(ctx, with); err != nil {
		return err
	}
	done.Restored, done.Entry, done.Aside, done.Stays = true, r.entry, r.aside, r.stays
	return a.showRestored(done, x)
}

// hold keeps gateways from starting in the places that are written, and refuses where one runs.
func (p *restorePlan) hold() (release func(), err error) {
	var held []func() error
	release = func() {
		for _, f := range held {
			f()
		}
	}
	dirs := []string{p.log}
	if c, err := config.Load(filepath.Join(p.dir, config.FileName)); err == nil && !sameDir(p.log, c.Audit.Dir) {
		dirs = append(dirs, c.Audit.Dir)
	}
	for _, dir := range dirs {
		if !disk.Exists(filepath.Join(dir, "key.pub")) {
			continue
		}
		one, err := audit.Lock(dir)
		if err != nil {
			release()
			return nil, exit.Error{Code: "restore.running", Message: err.Error(), Exit: exit.Conflict, Err: err, Try: []string{"stop the gateway: systemctl stop cordon", "another --dir"}}
		}
		held = append(held, one)
	}
	return release, nil
}

func (a *app) showRestored(r *restored, x *examined) error {
	if a.json {
		return a.object(r)
	}
	if !r.Restored {
		fmt.Fprintf(a.stdout, "%s of %s, %d files, %s, the log up to entry %d\n", r.Gateway, r.Made.UTC().Format(time.RFC3339), r.Files, megabytes(r.Bytes), r.Entries-1)
		rows := [][]string{{"configuration", r.Dir}, {"state", r.State}, {"log", r.Audit}, {"policy", r.Policy}}
		for _, file := range r.Outside {
			rows = append(rows, []string{"outside", file})
		}
		if err := a.table([]string{"WHAT", "WHERE TO"}, rows); err != nil {
			return err
		}
		if len(r.Loss.Replaced) > 0 {
			if err := r.Loss.show(a); err != nil {
				return err
			}
		}
		a.remark("what came after the backup is not in it. To be done once it is restored:")
		for _, what := range r.Repeat {
			a.remark("  - %s", what)
		}
		a.doubtKey(x)
		return nil
	}
	fmt.Fprintf(a.stdout, "restored: %s as of %s, the log goes on with entry %d\n", r.Gateway, r.Made.UTC().Format(time.RFC3339), r.Entry)
	if len(r.Aside) > 0 {
		a.remark("what was there is in %s, keys included: remove it when nothing in it is needed", strings.Join(r.Aside, ", "))
	}
	a.doubtKey(x)
	for protocol, path := range r.Missing {
		a.remark("%s is missing, the program that speaks %s: install it", path, protocol)
	}
	for _, stays := range r.Stays {
		a.remark("since the backup, and stays so: %s", stays)
	}
	a.remark("not in the backup is what came after %s. Before clients come back:", r.Made.UTC().Format(time.RFC3339))
	for _, what := range r.Repeat {
		a.remark("  - %s", what)
	}
	a.remark("next: cordon check --dir %s\n      cordon run -c %[1]s/cordon.yaml", r.Dir)
	return nil
}

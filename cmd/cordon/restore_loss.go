package main

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"cordon/certs"
	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/disk"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/home"
	"cordon/cmd/cordon/revision"
	"cordon/gateway/audit"
	"cordon/policy/access"
	"cordon/policy/rollout"
)

// loss is what a restore over a gateway would undo. What it replaces is kept beside it, but no
// longer counts; only what that gateway has taken away stays so, see carry.
type loss struct {
	Replaced []string `json:"replaced"`          // what is moved aside
	Gateway  string   `json:"gateway,omitempty"` // that is there
	Same     bool     `json:"same"`              // it is the one that the backup is of
	Log      string   `json:"log,omitempty"`     // what becomes of its log
	Entries  int64    `json:"entries"`           // of it that are not in the backup
	Revoked  []string `json:"revoked"`           // serials that are not in the backup: of the same gateway they stay revoked
	Stays    []string `json:"stays"`             // that began or ended since the backup, and stays so
	Ends     []string `json:"ends"`              // access in force that the backup does not know
	Returns  []string `json:"returns"`           // that would be in force again
	Policy   string   `json:"policy,omitempty"`  // which policy decides there, where the backup has another
	Unknown  []string `json:"unknown"`           // what could not be compared, and why

	state string // directory of the gateway that is there
}

// compare looks at what is where the backup is to go.
func (p *restorePlan) compare(x *examined, now time.Time) (*loss, error) {
	l := &loss{Revoked: []string{}, Stays: []string{}, Ends: []string{}, Returns: []string{}, Unknown: []string{}}
	there, err := p.there(x.Files)
	if err != nil {
		return nil, err
	}
	if l.Replaced = there; len(there) == 0 {
		l.Replaced = []string{}
		return l, nil
	}
	state, log := p.state, p.log
	if c, err := config.Load(filepath.Join(p.dir, config.FileName)); err == nil {
		l.Gateway, state, log = c.ID(), c.Gateway.State, c.Audit.Dir
	} else if !errors.Is(err, fs.ErrNotExist) && disk.Exists(filepath.Join(p.dir, config.FileName)) {
		l.Unknown = append(l.Unknown, "the configuration there: "+exit.Errors(err)[0].Message)
	}
	unknown := func(what string, err error) {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.Unknown = append(l.Unknown, what+": "+err.Error())
		}
	}
	l.state = state
	l.Same = l.Gateway == x.Gateway
	unknown("the log", l.compareLog(x, log))
	unknown("revocations", l.compareRevoked(x, filepath.Join(state, home.CADir, "crl.pem")))
	unknown("access and quarantines", l.compareAccess(x, filepath.Join(state, daemon.LedgerFile), now))
	unknown("the policy", l.comparePolicy(x))
	return l, nil
}

func (l *loss) compareLog(x *examined, dir string) error {
	r, err := audit.OpenReader(dir)
	if err != nil {
		return err
	}
	size, err := r.Size()
	l.Same = r.VerifierKey() == x.Log.Key // names are given, and given again
	switch {
	case err != nil:
		return err
	case r.VerifierKey() != x.Log.Key:
		l.Log, l.Entries = fmt.Sprintf("it is another log, of %d entries", size), size
	case size > x.Log.Entries:
		l.Log, l.Entries = fmt.Sprintf("entries %d to %d are not in the backup", x.Log.Entries, size-1), size-x.Log.Entries
	default:
		l.Log = "the backup has all of it"
	}
	return nil
}

func (l *loss) compareRevoked(x *examined, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	is, err := revokedIn(text)
	if err != nil {
		return err
	}
	was, err := revokedIn(x.small[inState+"/ca/crl.pem"])
	if err != nil {
		return err
	}
	for _, serial := range is {
		if !slices.Contains(was, serial) {
			l.Revoked = append(l.Revoked, serial)
		}
	}
	return nil
}

// revokedIn lists the serials of a revocation list; none is an empty one.
func revokedIn(text []byte) (serials []string, err error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, nil
	}
	list, err := x509.ParseRevocationList(block.Bytes)
	if err != nil {
		return nil, err
	}
	for _, e := range list.RevokedCertificateEntries {
		serials = append(serials, certs.Serial(e.SerialNumber))
	}
	return serials, nil
}

func (l *loss) compareAccess(x *examined, file string, now time.Time) error {
	is, err := access.Read(file)
	if err != nil {
		return err
	}
	var was access.Ledger
	if text := x.small[inState+"/"+daemon.LedgerFile]; text != nil {
		if was, err = access.Parse(text); err != nil {
			return err
		}
	}
	is, _ = is.Advance(now)
	was, _ = was.Advance(now)
	if l.Same && disk.Exists(file) {
		var stays []access.Fact
		was, stays = was.Restored(is, now)
		for i := range stays {
			f := &stays[i]
			if f.Phase() == access.Over {
				l.Stays = append(l.Stays, f.ID+" "+f.String()+" has ended")
			} else {
				l.Stays = append(l.Stays, f.ID+" "+f.String())
			}
		}
	}
	missing := func(from, in access.Ledger) (list []string) {
		for i := range from.Facts {
			f := &from.Facts[i]
			if other, known := in.Find(f.ID); f.Phase() == access.InForce && (!known || other.Phase() != access.InForce) {
				list = append(list, f.ID+" "+f.String())
			}
		}
		return list
	}
	l.Ends, l.Returns = append(l.Ends, missing(is, was)...), append(l.Returns, missing(was, is)...)
	return nil
}

// comparePolicy says which bundle or revision decides there, if the backup has another.
func (l *loss) comparePolicy(x *examined) error {
	was, err := revision.ParseChosen(x.small[inState+"/"+revision.ChosenFile])
	if err != nil {
		return err
	}
	is, err := revision.KeptBundles{Dir: filepath.Join(l.state, revision.BundleDir)}.InForce()
	if err != nil {
		return err
	}
	if is != nil && (was == nil || was.Revision != is.Revision) {
		l.Policy = fmt.Sprintf("bundle revision %d", is.Revision)
		if l.Same && was.Since(is) != nil {
			l.Policy += fmt.Sprintf("; older than %d none is taken", is.Highest)
		}
		return nil
	}
	there, revisions := revision.ReadRollout(l.state)
	if text := x.small[inState+"/"+revision.RolloutFile]; revisions && text != nil {
		before, err := rollout.Parse(text)
		if err != nil {
			return err
		}
		if before.Current.Number != there.Current.Number {
			l.Policy = fmt.Sprintf("revision %d; the backup has revision %d", there.Current.Number, before.Current.Number)
		}
	}
	return nil
}

// show tells a person.
func (l *loss) show(a *app) error {
	var rows [][]string
	add := func(what string, list ...string) {
		for _, s := range list {
			rows = append(rows, []string{what, s})
		}
	}
	if l.Gateway != "" {
		add("gateway there", l.Gateway)
	}
	add("moved aside", l.Replaced...)
	if l.Log != "" {
		add("log", l.Log)
	}
	if l.Same {
		add("revoked, and stays so", l.Revoked...)
	} else {
		add("revoked, and not known", l.Revoked...)
	}
	add("came since, and stays", l.Stays...)
	add("in force, and would end", l.Ends...)
	add("ended, and would be in force", l.Returns...)
	if l.Policy != "" {
		add("policy", l.Policy)
	}
	add("not known", l.Unknown...)
	return a.table([]string{"WHAT", "THERE"}, rows)
}

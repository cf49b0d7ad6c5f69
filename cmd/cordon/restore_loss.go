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
	"cordon/gateway/audit"
	"cordon/policy/access"
)

// loss is what a restore over a gateway would undo. What it replaces is kept beside it, but no
// longer counts.
type loss struct {
	Replaced []string `json:"replaced"`          // what is moved aside
	Gateway  string   `json:"gateway,omitempty"` // that is there
	Log      string   `json:"log,omitempty"`     // what becomes of its log
	Entries  int64    `json:"entries"`           // of it that are not in the backup
	Revoked  []string `json:"revoked"`           // serials that would be believed again
	Ends     []string `json:"ends"`              // access and quarantines in force that the backup does not know
	Returns  []string `json:"returns"`           // that would be in force again
	Unknown  []string `json:"unknown"`           // what could not be compared, and why
}

// compare looks at what is where the backup is to go.
func (p *restorePlan) compare(x *examined, now time.Time) (*loss, error) {
	l := &loss{Revoked: []string{}, Ends: []string{}, Returns: []string{}, Unknown: []string{}}
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
	unknown("the log", l.compareLog(x, log))
	unknown("revocations", l.compareRevoked(x, filepath.Join(state, home.CADir, "crl.pem")))
	unknown("access and quarantines", l.compareAccess(x, filepath.Join(state, daemon.LedgerFile), now))
	return l, nil
}

func (l *loss) compareLog(x *examined, dir string) error {
	r, err := audit.OpenReader(dir)
	if err != nil {
		return err
	}
	size, err := r.Size()
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
	add("revoked, and believed again", l.Revoked...)
	add("in force, and would end", l.Ends...)
	add("ended, and would be in force", l.Returns...)
	add("not known", l.Unknown...)
	return a.table([]string{"WHAT", "THERE"}, rows)
}

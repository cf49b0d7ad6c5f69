package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"cordon/certs/ca"
	"cordon/cmd/cordon/backup"
	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/disk"
	"cordon/cmd/cordon/envelope"
	"cordon/cmd/cordon/home"
	"cordon/cmd/cordon/revision"
	"cordon/policy/access"
)

// What came between a backup and its restore is not in it. Permits that are lost are asked for again; what was
// taken away and comes back unseen is a hole. So where the gateway is still there that the backup is of, and can be read,
// whatever it has taken away stays so: revocations, quarantines, the ends of grants, used codes, the newest bundle,
// rejections, newer lists of other authorities; and alarms that nobody has heard yet are still told. None of it permits
// anything, so it need not be believed: the worst that somebody can do who has written there is to refuse. Where nothing is there to be read, sealed codes
// are void unless somebody knows that none was used, and the rest is for people to repeat: see repeat.

// carry brings that into what was written, and notes what the log is to say of it.
func (r *restoring) carry(ctx context.Context) error {
	for _, one := range []func(context.Context) (string, error){r.carryRevoked, r.carryAccess, r.carryBundle, r.carryRejected, r.carryCodes, r.carryLists, r.carryAlarms} {
		said, err := one(ctx)
		if err != nil {
			return fmt.Errorf("keep what was taken away since the backup: %w", err)
		}
		if said != "" {
			r.stays = append(r.stays, said)
		}
	}
	return nil
}

// wrote notes that a file of the state is written that the backup may not have.
func (r *restoring) wrote(name string) {
	if slices.ContainsFunc(r.files, func(f backup.File) bool { return f.Name == name }) {
		return
	}
	i := slices.IndexFunc(r.files, func(f backup.File) bool { return f.Name == path.Join(inState, home.CADir, "intermediate.key") })
	r.files = append(r.files, backup.File{Name: name, Mode: 0o600, Owner: r.files[i].Owner, Group: r.files[i].Group})
}

func (r *restoring) carryRevoked(ctx context.Context) (string, error) {
	if !r.lost.Same || len(r.lost.Revoked) == 0 {
		return "", nil
	}
	authority, err := ca.Open(r.staged(filepath.Join(r.state, home.CADir)), ca.Limits{})
	if err == nil {
		err = authority.RevokeUnknown(ctx, r.lost.Revoked...)
	}
	r.wrote(path.Join(inState, home.CADir, "crl.pem"))
	return fmt.Sprintf("%d certificates stay revoked", len(r.lost.Revoked)), err
}

// carryAccess is the ledger, as it will be.
func (r *restoring) carryAccess(context.Context) (string, error) {
	since := filepath.Join(r.lost.state, daemon.LedgerFile)
	if !r.lost.Same || !disk.Exists(since) {
		return "", nil
	}
	is, err := access.Read(since)
	if err != nil {
		return "", nil // it is among what is not known
	}
	place := filepath.Join(r.state, filepath.FromSlash(daemon.LedgerFile))
	was, err := access.Read(r.staged(place))
	if err != nil {
		return "", err
	}
	next, stays := was.Restored(is, time.Now())
	if r.facts = stays; len(stays) == 0 {
		return "", nil
	}
	if err := r.makeParents(place); err != nil {
		return "", err
	}
	r.wrote(path.Join(inState, daemon.LedgerFile))
	return fmt.Sprintf("%d quarantines and ends of access stay", len(stays)), next.Write(r.staged(place))
}

func (r *restoring) carryBundle(context.Context) (string, error) {
	if !r.lost.Same {
		return "", nil
	}
	kept := revision.KeptBundles{Dir: r.staged(filepath.Join(r.state, revision.BundleDir))}
	was, err := kept.InForce()
	if err != nil || was == nil {
		return "", err
	}
	since, err := revision.KeptBundles{Dir: filepath.Join(r.lost.state, revision.BundleDir)}.InForce()
	if err != nil {
		return "", nil // it is among what is not known
	}
	next := was.Since(since)
	if next == nil {
		return "", nil
	}
	return fmt.Sprintf("no bundle older than revision %d is taken", next.Highest), kept.Enter(next)
}

func (r *restoring) carryRejected(context.Context) (string, error) {
	if !r.lost.Same {
		return "", nil
	}
	restored, since := *r.config, *r.config
	restored.Gateway.State, since.Gateway.State = r.staged(r.state), r.lost.state
	numbers, err := revision.RejectedSince(&restored, &since)
	if len(numbers) == 0 {
		return "", err
	}
	return fmt.Sprintf("rejected stay revisions %v", numbers), err
}

// carryCodes keeps sealed codes from being good again that may have been used.
func (r *restoring) carryCodes(context.Context) (string, error) {
	state := r.staged(r.state)
	set, err := envelope.Read(state)
	if errors.Is(err, envelope.ErrNone) {
		return "", nil
	}
	if err != nil { // they open nothing then
		return "", nil
	}
	next, fate := r.codes(set, time.Now())
	if next == set {
		return "", nil
	}
	return fate, next.Write(state)
}

// codes is what is good of the sealed codes in the backup, and what is to be said of it.
func (r *restoring) codes(set *envelope.Set, now time.Time) (*envelope.Set, string) {
	if set.Unused() == 0 {
		return set, ""
	}
	if r.lost.Same {
		since, err := envelope.Read(r.lost.state)
		next, same := set.Restored(since)
		switch {
		case same && next.Unused() == set.Unused():
			return next, "the sealed codes are as they were"
		case same:
			return next, fmt.Sprintf("%d sealed codes used since the backup stay so", set.Unused()-next.Unused())
		case err == nil:
			return set.Void(now), "its sealed codes are void: others were sealed since"
		}
	}
	if r.unused {
		return set, ""
	}
	return set.Void(now), fmt.Sprintf("its %d sealed codes are void: it is not known which were used since", set.Unused())
}

// carryLists keeps lists of other authorities that are newer than those of the backup.
func (r *restoring) carryLists(context.Context) (string, error) {
	place := r.config.Identity.CA.CRLFile
	if place == "" || r.root(place) == nil {
		return "", nil
	}
	is, err := disk.Read(place, maxExamined)
	if err != nil {
		return "", nil // there is none
	}
	was, err := disk.Read(r.staged(place), maxExamined)
	if err != nil || bytes.Equal(is, was) || !newerLists(is, was) {
		return "", nil
	}
	info, err := os.Stat(r.staged(place))
	if err == nil {
		err = disk.Write(r.staged(place), is, info.Mode().Perm())
	}
	return "revocation lists of other authorities stay as new as they were", err
}

// newerLists reports whether is has a list of every authority that was has one of, none of them
// older and one newer. Who has signed them is seen when a gateway reads them; one that nobody
// has signed is refused then, and with it the authority's clients.
func newerLists(is, was []byte) bool {
	newest := func(text []byte) map[string]time.Time {
		of := map[string]time.Time{}
		for _, der := range listsIn(text) {
			l, err := x509.ParseRevocationList(der)
			if err != nil {
				return nil
			}
			if by := string(l.RawIssuer) + string(l.AuthorityKeyId); of[by].Before(l.ThisUpdate) {
				of[by] = l.ThisUpdate
			}
		}
		return of
	}
	there, before := newest(is), newest(was)
	newer := false
	for by, at := range before {
		now, known := there[by]
		if !known || now.Before(at) {
			return false
		}
		newer = newer || now.After(at)
	}
	return newer
}

// listsIn splits a file of lists, PEM or one in DER.
func listsIn(text []byte) (all [][]byte) {
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		all = append(all, block.Bytes)
	}
	if all == nil {
		return [][]byte{text}
	}
	return all
}

// carryAlarms keeps alarms that nobody has been told of. Those of the backup are told once more, if they were.
func (r *restoring) carryAlarms(context.Context) (string, error) {
	if !r.lost.Same {
		return "", nil
	}
	since := filepath.Join(r.lost.state, daemon.AlarmDir)
	kept := 0
	files, err := filepath.Glob(filepath.Join(since, "*", "*.json"))
	if err != nil {
		return "", nil // a pattern in the directory's name
	}
	for _, file := range files {
		inside, err := filepath.Rel(r.lost.state, file)
		if err != nil {
			return "", err
		}
		place := filepath.Join(r.state, inside)
		info, err := os.Lstat(file)
		if err != nil || !info.Mode().IsRegular() || info.Size() > maxAlarm || disk.Exists(r.staged(place)) {
			continue
		}
		text, err := disk.Read(file, maxAlarm)
		if err != nil {
			continue
		}
		if err := r.makeParents(place); err != nil {
			return "", err
		}
		if err := disk.Create(r.staged(place), text, 0o600); err != nil {
			return "", err
		}
		r.wrote(path.Join(inState, filepath.ToSlash(inside)))
		kept++
	}
	if kept == 0 {
		return "", nil
	}
	return fmt.Sprintf("%d alarms are still to be told", kept), nil
}

// maxAlarm is more than an alarm has, in bytes.
const maxAlarm = 64 << 10

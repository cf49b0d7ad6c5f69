package ca

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"cordon/certs"
)

// lookEvery is how often, at most, the files are looked at, which happens when
// somebody asks. A revocation must end sessions within a second; this leaves the
// greater part of it for that.
const lookEvery = 250 * time.Millisecond

// trust is whom clients may come from and whose certificates were taken back, as
// files say. It follows them, and only forwards: a file that has become
// unreadable, forged or older than what is known is reported and not followed.
type trust struct {
	a     *Authority // its intermediate issues our own leaves, and signs the revocation list
	own   *x509.CertPool
	log   *slog.Logger
	start time.Time
	tell  func(what Followed, fault error) // whenever that is another one, or nil again

	known atomic.Pointer[knowledge]
	next  atomic.Int64 // nanoseconds after start at which to look again

	mu      sync.Mutex // for what follows
	crl     watched
	foreign watched // path "" if there is none
	lists   listFile
	kept    keptLists
	told    map[Followed]string // of a fault
}

// knowledge is never changed, only replaced.
type knowledge struct {
	epoch   uint64
	number  *big.Int // of the revocation list
	list    []byte   // the list itself
	revoked map[string]bool
	foreign *x509.CertPool

	authorities authorities // of the trust file
	lists       listsByKey  // what those have revoked; nil: nobody asks for it
	over        int         // how many of those were over when last looked at
}

// watched is a file, as it was when last followed.
type watched struct {
	path     string
	seen     fs.FileInfo
	reported string // the fault last reported, so that it is said once
}

// newTrust reads the files. Here, at the start, a fault is an error; but what is wrong with the lists of others, the
// first look tells.
func newTrust(a *Authority, foreignPath, listsPath string, log *slog.Logger, tell func(Followed, error)) (*trust, error) {
	t := a.watch(foreignPath, listsPath, log, tell)
	k := knowledge{epoch: 1, number: new(big.Int)}
	if _, err := t.followCRL(&k); err != nil {
		return nil, err
	}
	if err := t.begin(&k); err != nil {
		return nil, err
	}
	k.over = k.lists.over(time.Now())
	t.known.Store(&k)
	return t, nil
}

// watch names the files, and reads none.
func (a *Authority) watch(foreignPath, listsPath string, log *slog.Logger, tell func(Followed, error)) *trust {
	t := &trust{
		a:       a,
		own:     x509.NewCertPool(),
		log:     log,
		start:   time.Now(),
		tell:    tell,
		crl:     watched{path: a.path(crlFile)},
		foreign: watched{path: foreignPath},
		lists:   listFile{watched: watched{path: listsPath}},
		kept:    keptLists{dir: a.path(listsDir)},
		told:    map[Followed]string{},
	}
	t.own.AddCert(a.root)
	// Many clients send their leaf alone ("openssl s_client -cert" does), although the file
	// they were given holds the chain.
	t.own.AddCert(a.intermediate)
	return t
}

// begin reads the files of others for the first time. A path that was configured wrong is an error. That the lists at
// it are missing or bad is none: whom they are about is refused, and one bad download cuts nobody else.
func (t *trust) begin(k *knowledge) error {
	if t.lists.path != "" && t.foreign.path == "" {
		return errors.New("revocation lists without trusted authorities that could have signed them")
	}
	if _, err := t.followForeign(k); err != nil {
		return err
	}
	if _, err := t.followLists(k); errors.Is(err, errNoFile) {
		return err
	}
	return nil
}

// now returns what is known, having looked at the files if it is time to.
func (t *trust) now() *knowledge {
	elapsed := int64(time.Since(t.start))
	due := t.next.Load()
	if elapsed >= due && t.next.CompareAndSwap(due, elapsed+int64(lookEvery)) && t.mu.TryLock() { // a long list holds nobody up but its reader
		t.follow()
		t.mu.Unlock()
	}
	return t.known.Load()
}

// look follows the files at once, and returns why not further.
func (t *trust) look() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.follow()
}

// follow follows the files as far as they can be, and returns why not further. t.mu is held.
func (t *trust) follow() error {
	k := *t.known.Load()
	anew, fault := t.try(&t.crl, t.followCRL, &k)
	foreign, noForeign := t.try(&t.foreign, t.followForeign, &k)
	lists, noLists := t.try(&t.lists.watched, t.followLists, &k)
	now := time.Now()
	over := k.lists.over(now) // by time alone, an answer changes
	if anew || foreign || lists || over != k.over {
		k.over = over
		k.epoch++
		t.known.Store(&k)
	}
	fault = errors.Join(fault, noForeign)
	t.report(Trust, fault)
	if k.lists != nil {
		noLists = errors.Join(noLists, t.kept.keep(k.authorities, k.lists)) // behind Store: a revocation does not wait for the disk
		t.report(Lists, errors.Join(noLists, t.kept.lost, faultOf(k.authorities.states(k.lists), now)))
		t.kept.lost = nil // it is not read again before the trust file changes
	}
	return errors.Join(fault, noLists)
}

// report tells of a fault once, and of its end.
func (t *trust) report(what Followed, fault error) {
	text := ""
	if fault != nil {
		text = fault.Error()
	}
	if text != t.told[what] {
		t.told[what] = text
		t.tell(what, fault)
	}
}

func (t *trust) try(w *watched, follow func(*knowledge) (bool, error), k *knowledge) (bool, error) {
	anew, err := follow(k)
	fault := ""
	if err != nil {
		fault = err.Error()
	}
	if fault != "" && fault != w.reported {
		t.log.Error("trust file not followed, keeping what is known", "file", w.path, "err", fault)
	}
	w.reported = fault
	return anew, err
}

// followCRL takes a list into k if the file holds another than the one known.
func (t *trust) followCRL(k *knowledge) (anew bool, err error) {
	text, info, err := t.crl.read()
	if text == nil {
		return false, err
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != crlType || len(bytes.TrimSpace(rest)) > 0 {
		return false, fmt.Errorf("read revocation list %q: want one PEM block, %s", t.crl.path, crlType)
	}
	list, err := x509.ParseRevocationList(block.Bytes)
	if err != nil {
		return false, fmt.Errorf("read revocation list %q: %w", t.crl.path, err)
	}
	if err := list.CheckSignatureFrom(t.a.intermediate); err != nil {
		return false, fmt.Errorf("read revocation list %q: not signed by this authority: %w", t.crl.path, err)
	}
	if bytes.Equal(list.Raw, k.list) {
		t.crl.seen = info
		return false, nil
	}
	if list.Number == nil || list.Number.Cmp(k.number) <= 0 {
		return false, fmt.Errorf("read revocation list %q: number %s is not newer than %s, the one known", t.crl.path, list.Number, k.number)
	}
	k.number, k.list, k.revoked = list.Number, list.Raw, make(map[string]bool, len(list.RevokedCertificateEntries))
	for _, e := range list.RevokedCertificateEntries {
		k.revoked[certs.Serial(e.SerialNumber)] = true
	}
	t.crl.seen = info
	return true, nil
}

// followForeign takes the foreign authorities into k if the file has changed.
func (t *trust) followForeign(k *knowledge) (anew bool, err error) {
	if t.foreign.path == "" {
		return false, nil
	}
	text, info, err := t.foreign.read()
	if text == nil {
		return false, err
	}
	all, err := parseAuthorities(text)
	if err != nil {
		return false, fmt.Errorf("read trusted authorities %q: %w", t.foreign.path, err)
	}
	k.foreign, k.authorities, t.foreign.seen = x509.NewCertPool(), newAuthorities(all, t.a), info
	for _, c := range all {
		k.foreign.AddCert(c)
	}
	if t.lists.path != "" {
		k.lists = t.kept.recall(k.authorities, k.lists)
		t.lists.again() // they may be by another signer now
	}
	return true, nil
}

// parseAuthorities reads authorities' certificates in PEM, at least one and nothing behind.
func parseAuthorities(text []byte) (all []*x509.Certificate, err error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || err != nil {
			return nil, fmt.Errorf("block %d is no certificate", len(all)+1)
		}
		if !c.IsCA {
			return nil, fmt.Errorf("block %d (serial %s) is not an authority's certificate", len(all)+1, certs.Serial(c.SerialNumber))
		}
		all = append(all, c)
	}
	if len(all) == 0 || len(bytes.TrimSpace(text)) > 0 {
		return nil, errors.New("want PEM certificates and nothing else after them")
	}
	return all, nil
}

// errNoFile is of a path that was configured wrong, and could keep a reader waiting for ever.
var errNoFile = errors.New("want a file, and no directory, device or pipe")

// read returns the content of a file that is not the one last followed, else nil.
func (w *watched) read() ([]byte, fs.FileInfo, error) {
	info, err := os.Stat(w.path)
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "read", Path: w.path, Err: errNoFile}
	}
	if err != nil {
		return nil, nil, err
	}
	if w.seen != nil && unchanged(w.seen, info) {
		return nil, nil, nil
	}
	text, err := readFile(w.path)
	if err == nil && len(text) == 0 {
		err = &fs.PathError{Op: "read", Path: w.path, Err: errors.New("empty")}
	}
	if err != nil {
		return nil, nil, err
	}
	return text, info, nil
}

func unchanged(was, is fs.FileInfo) bool {
	return os.SameFile(was, is) && was.ModTime().Equal(is.ModTime()) && was.Size() == is.Size()
}

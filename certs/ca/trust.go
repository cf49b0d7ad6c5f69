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
// two files say. It follows them, and only forwards: a file that has become
// unreadable, forged or older than what is known is reported and not followed.
type trust struct {
	issuer *x509.Certificate // of our own leaves; signs the revocation list
	own    *x509.CertPool
	log    *slog.Logger
	start  time.Time
	tell   func(fault error) // whenever that is another one, or nil again

	known atomic.Pointer[knowledge]
	next  atomic.Int64 // nanoseconds after start at which to look again

	mu      sync.Mutex // for what follows
	crl     watched
	foreign watched // path "" if there is none
	told    string  // of a fault
}

// knowledge is never changed, only replaced.
type knowledge struct {
	epoch   uint64
	number  *big.Int // of the revocation list
	list    []byte   // the list itself
	revoked map[string]bool
	foreign *x509.CertPool
}

// watched is a file, as it was when last followed.
type watched struct {
	path     string
	seen     fs.FileInfo
	reported string // the fault last reported, so that it is said once
}

// newTrust reads both files. Here, at the start, any fault is an error.
func newTrust(a *Authority, foreignPath string, log *slog.Logger, tell func(error)) (*trust, error) {
	t := &trust{
		issuer:  a.intermediate,
		own:     x509.NewCertPool(),
		log:     log,
		start:   time.Now(),
		tell:    tell,
		crl:     watched{path: a.path(crlFile)},
		foreign: watched{path: foreignPath},
	}
	t.own.AddCert(a.root)
	// Many clients send their leaf alone ("openssl s_client -cert" does), although the file
	// they were given holds the chain.
	t.own.AddCert(a.intermediate)
	k := knowledge{epoch: 1, number: new(big.Int)}
	if _, err := t.followCRL(&k); err != nil {
		return nil, err
	}
	if _, err := t.followForeign(&k); err != nil {
		return nil, err
	}
	t.known.Store(&k)
	return t, nil
}

// now returns what is known, having looked at the files if it is time to.
func (t *trust) now() *knowledge {
	elapsed := int64(time.Since(t.start))
	due := t.next.Load()
	if elapsed >= due && t.next.CompareAndSwap(due, elapsed+int64(lookEvery)) {
		t.look()
	}
	return t.known.Load()
}

// look follows both files as far as they can be, and returns why not further.
func (t *trust) look() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := *t.known.Load()
	anew, fault := t.try(&t.crl, t.followCRL, &k)
	foreign, unfollowed := t.try(&t.foreign, t.followForeign, &k)
	if anew || foreign {
		k.epoch++
		t.known.Store(&k)
	}
	fault = errors.Join(fault, unfollowed)
	text := ""
	if fault != nil {
		text = fault.Error()
	}
	if text != t.told {
		t.told = text
		t.tell(fault)
	}
	return fault
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
	if err := list.CheckSignatureFrom(t.issuer); err != nil {
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
	pool, n := x509.NewCertPool(), 0
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || err != nil {
			return false, fmt.Errorf("read trusted authorities %q: block %d is no certificate", t.foreign.path, n+1)
		}
		if !c.IsCA {
			return false, fmt.Errorf("read trusted authorities %q: block %d (serial %s) is not an authority's certificate", t.foreign.path, n+1, certs.Serial(c.SerialNumber))
		}
		pool.AddCert(c)
		n++
	}
	if n == 0 || len(bytes.TrimSpace(text)) > 0 {
		return false, fmt.Errorf("read trusted authorities %q: want PEM certificates and nothing else after them", t.foreign.path)
	}
	k.foreign, t.foreign.seen = pool, info
	return true, nil
}

// read returns the content of a file that is not the one last followed, else nil.
func (w *watched) read() ([]byte, fs.FileInfo, error) {
	info, err := os.Stat(w.path)
	if err != nil {
		return nil, nil, err
	}
	if w.seen != nil && os.SameFile(w.seen, info) && w.seen.ModTime().Equal(info.ModTime()) && w.seen.Size() == info.Size() {
		return nil, nil, nil
	}
	text, err := readFile(w.path)
	if err == nil && len(text) == 0 {
		err = errors.New("read " + w.path + ": empty")
	}
	if err != nil {
		return nil, nil, err
	}
	return text, info, nil
}

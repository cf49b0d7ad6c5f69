package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/disk"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/signed"
	"cordon/policy/rego"
	"cordon/policy/rollout"
)

// keptDir is where they are kept, in gateway.state.
const keptDir = "policies"

// Bounds of what is kept.
const (
	keptAlways = 100             // policies, the latest: a clock that jumps ahead takes none of these
	pruneMost  = 1000            // policies in one pass, so that nothing waits for it long
	pruneEvery = 6 * time.Hour   // and how much later than policy.keep says something may go
	keptLock   = 5 * time.Second // that one process waits for another
	keptFile   = 64 << 20        // bytes of one file, unpacked: far above what a policy may have
	listingExt = ".sums"         // a policy: its files, as sha256sum prints them
	filesDir   = "files"         // inside of it: what is in them, by digest, compressed
)

// keptPolicies are the policies that decided here, by their two digests: the log names them, and who asks why needs
// them. A file that several share is there once, so that a grant, which is one small file, costs no more than
// that one.
//
// A policy is complete once its listing is there: its files come first, and go last. Listings carry the time at which a
// policy was last known to decide.
type keptPolicies struct{ dir string }

func keptIn(c *config.Config) keptPolicies {
	return keptPolicies{filepath.Join(c.Gateway.State, keptDir)}
}

func (k keptPolicies) listing(of digests) string {
	sum := sha256.Sum256([]byte(of.Policy + " " + of.Data))
	return filepath.Join(k.dir, hex.EncodeToString(sum[:16])+listingExt)
}

func (k keptPolicies) file(sum string) string { return filepath.Join(k.dir, filesDir, sum+".gz") }

// keep keeps what decides, or notes that it decides again. It is durable then.
func (k keptPolicies) keep(e *rego.Engine) error {
	if err := k.write(e); err != nil {
		return fmt.Errorf("keep the policy: %w", err)
	}
	return nil
}

func (k keptPolicies) write(e *rego.Engine) error {
	if err := os.MkdirAll(filepath.Join(k.dir, filesDir), 0o700); err != nil {
		return err
	}
	unlock, err := k.lock()
	if err != nil {
		return err
	}
	defer unlock()
	path := k.listing(digestsOf(e))
	now := time.Now()
	if err := os.Chtimes(path, now, now); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	files := e.Sources()
	for _, f := range files {
		sum := sha256.Sum256(f.Text)
		at := k.file(hex.EncodeToString(sum[:]))
		if _, err := os.Stat(at); err == nil {
			continue
		}
		if err := rollout.Replace(at, pressed(f.Text)); err != nil {
			return err
		}
	}
	return rollout.Replace(path, rego.FormatListing(files))
}

// open opens a policy that is kept. fs.ErrNotExist: it is not, or not any more.
func (k keptPolicies) open(of digests) (*rego.Engine, error) {
	l, err := k.read(k.listing(of))
	if err != nil {
		return nil, err
	}
	var files []rego.Source
	for _, f := range l.Files {
		text, err := k.contents(f)
		if err != nil {
			return nil, err
		}
		files = append(files, rego.Source{Name: f.Name, Text: text})
	}
	e, err := rego.LoadFiles(files)
	if err == nil && digestsOf(e) != of {
		err = keptChanged(k.listing(of))
	}
	return e, err
}

// read reads a listing.
func (k keptPolicies) read(path string) (*rego.Listing, error) {
	text, err := disk.Read(path, maxRecord)
	if err != nil {
		return nil, err
	}
	l, err := rego.ReadListing(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return l, nil
}

// contents reads one file of a policy, and believes nothing else than what was kept.
func (k keptPolicies) contents(f rego.Listed) ([]byte, error) {
	path := k.file(f.SHA256)
	packed, err := disk.Read(path, keptFile)
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	var text []byte
	if err == nil {
		text, err = io.ReadAll(io.LimitReader(z, keptFile))
	}
	if err != nil || signed.Digest(text) != f.SHA256 {
		return nil, keptChanged(path)
	}
	return text, nil
}

func keptChanged(path string) exit.Error {
	return exit.Error{Code: "policy.kept_changed", Exit: exit.Checks, Message: fmt.Sprintf("%s does not hold what was kept in it", path), Try: []string{"restore it from its backup"}}
}

// access returns what was granted when a policy decided; false if it is not known any more.
func (k keptPolicies) access(of digests) ([]byte, bool) {
	l, err := k.read(k.listing(of))
	if err != nil || l.Revision != of.Policy || l.Data != of.Data {
		return nil, false
	}
	f, granted := l.Access()
	if !granted {
		return nil, true
	}
	text, err := k.contents(f)
	return text, err == nil
}

// keptPolicyFile is a listing where it lies.
type keptPolicyFile struct {
	path string
	last time.Time // at which it is known to have decided
}

// list returns the listings, those first that decided last.
func (k keptPolicies) list() ([]keptPolicyFile, error) {
	entries, err := os.ReadDir(k.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var all []keptPolicyFile
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.HasSuffix(e.Name(), listingExt) {
			all = append(all, keptPolicyFile{filepath.Join(k.dir, e.Name()), info.ModTime()})
		}
	}
	slices.SortFunc(all, func(a, b keptPolicyFile) int { return b.last.Compare(a.last) })
	return all, nil
}

// prune removes what did not decide since a moment, but for what is needed and the latest keptAlways, and then
// files that no policy has any more, those of a keep that was cut short too. It returns how many policies went.
func (k keptPolicies) prune(needed []digests, since time.Time) (removed int, err error) {
	if _, err := os.Stat(k.dir); errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	unlock, err := k.lock()
	if err != nil {
		return 0, err
	}
	defer unlock()
	stays := map[string]bool{}
	for _, d := range needed {
		stays[k.listing(d)] = true
	}
	all, err := k.list()
	if err != nil {
		return 0, err
	}
	used := map[string]bool{}
	for i, p := range all {
		if i >= keptAlways && !stays[p.path] && p.last.Before(since) && removed < pruneMost {
			if err := os.Remove(p.path); err != nil {
				return removed, err
			}
			removed++
			continue
		}
		l, err := k.read(p.path)
		if err != nil {
			return removed, fmt.Errorf("no file is removed as long as it is not known what needs it: %w", err)
		}
		for _, f := range l.Files {
			used[k.file(f.SHA256)] = true
		}
	}
	if err := disk.Sync(k.dir); err != nil { // no listing comes back without its files
		return removed, err
	}
	files, err := filepath.Glob(filepath.Join(k.dir, filesDir, "*")) // the pattern is well formed
	if err != nil {
		return removed, err
	}
	for _, f := range files {
		if !used[f] {
			if err := os.Remove(f); err != nil {
				return removed, err
			}
		}
	}
	return removed, nil
}

// lock keeps other processes, one that takes over or gives up, from what is kept.
func (k keptPolicies) lock() (unlock func(), err error) {
	dir, err := os.Open(k.dir)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(keptLock); ; time.Sleep(5 * time.Millisecond) {
		err = unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { dir.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) || time.Now().After(end) {
			dir.Close()
			return nil, fmt.Errorf("wait for another process at %q: %w", k.dir, err)
		}
	}
}

func pressed(text []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(text) // into memory
	_ = z.Close()
	return b.Bytes()
}

package revision

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
	PruneEvery = 6 * time.Hour   // and how much later than policy.keep says something may go
	keptLock   = 5 * time.Second // that one process waits for another
	keptFile   = 64 << 20        // bytes of one file, unpacked: far above what a policy may have
	listingExt = ".sums"         // a policy: its files, as sha256sum prints them
	filesDir   = "files"         // inside of it: what is in them, by digest, compressed
)

// Kept are the policies that decided here, by their two digests: the log names them, and who asks why needs
// them. A file that several share is there once, so that a grant, which is one small file, costs no more than
// that one.
//
// A policy is complete once its listing is there: its files come first, and go last. Listings carry the time at which a
// policy was last known to decide.
type Kept struct{ Dir string }

// KeptIn is where the policies are kept that decided for the gateway of a configuration.
func KeptIn(c *config.Config) Kept {
	return Kept{filepath.Join(c.Gateway.State, keptDir)}
}

func (k Kept) listing(of Digests) string {
	sum := sha256.Sum256([]byte(of.Policy + " " + of.Data))
	return filepath.Join(k.Dir, hex.EncodeToString(sum[:16])+listingExt)
}

func (k Kept) file(sum string) string { return filepath.Join(k.Dir, filesDir, sum+".gz") }

// Keep keeps what decides, or notes that it decides again. It is durable then.
func (k Kept) Keep(e *rego.Engine) error {
	if err := k.write(e); err != nil {
		return fmt.Errorf("keep the policy: %w", err)
	}
	return nil
}

func (k Kept) write(e *rego.Engine) error {
	if err := os.MkdirAll(filepath.Join(k.Dir, filesDir), 0o700); err != nil {
		return err
	}
	unlock, err := k.lock()
	if err != nil {
		return err
	}
	defer unlock()
	path := k.listing(DigestsOf(e))
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
		if err := disk.Write(at, pressed(f.Text), 0o600); err != nil {
			return err
		}
	}
	return disk.Write(path, rego.FormatListing(files), 0o600)
}

// Open opens a policy that is kept. fs.ErrNotExist: it is not, or not any more.
func (k Kept) Open(of Digests) (*rego.Engine, error) {
	l, err := k.Read(k.listing(of))
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
	if err == nil && DigestsOf(e) != of {
		err = keptChanged(k.listing(of))
	}
	return e, err
}

// Read reads a listing.
func (k Kept) Read(path string) (*rego.Listing, error) {
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
func (k Kept) contents(f rego.Listed) ([]byte, error) {
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

// Access returns what was granted when a policy decided; false if it is not known any more.
func (k Kept) Access(of Digests) ([]byte, bool) {
	l, err := k.Read(k.listing(of))
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
	Path string
	last time.Time // at which it is known to have decided
}

// List returns the listings, those first that decided last.
func (k Kept) List() ([]keptPolicyFile, error) {
	entries, err := os.ReadDir(k.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var all []keptPolicyFile
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.HasSuffix(e.Name(), listingExt) {
			all = append(all, keptPolicyFile{filepath.Join(k.Dir, e.Name()), info.ModTime()})
		}
	}
	slices.SortFunc(all, func(a, b keptPolicyFile) int { return b.last.Compare(a.last) })
	return all, nil
}

// Prune removes what did not decide since a moment, but for what is needed and the latest keptAlways, and then
// files that no policy has any more, those of a keep that was cut short too. It returns how many policies went.
func (k Kept) Prune(needed []Digests, since time.Time) (removed int, err error) {
	if _, err := os.Stat(k.Dir); errors.Is(err, fs.ErrNotExist) {
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
	all, err := k.List()
	if err != nil {
		return 0, err
	}
	used := map[string]bool{}
	for i, p := range all {
		if i >= keptAlways && !stays[p.Path] && p.last.Before(since) && removed < pruneMost {
			if err := os.Remove(p.Path); err != nil {
				return removed, err
			}
			removed++
			continue
		}
		l, err := k.Read(p.Path)
		if err != nil {
			return removed, fmt.Errorf("no file is removed as long as it is not known what needs it: %w", err)
		}
		for _, f := range l.Files {
			used[k.file(f.SHA256)] = true
		}
	}
	if err := disk.Sync(k.Dir); err != nil { // no listing comes back without its files
		return removed, err
	}
	files, err := filepath.Glob(filepath.Join(k.Dir, filesDir, "*")) // the pattern is well formed
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
func (k Kept) lock() (unlock func(), err error) {
	dir, err := os.Open(k.Dir)
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
			return nil, fmt.Errorf("wait for another process at %q: %w", k.Dir, err)
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

// Needed are the policies that may decide without anybody bringing them: those that decide, with what is granted
// if deciding are given so, and those that a rollback may name.
func (f *Source) Needed(deciding ...*rego.Engine) []Digests {
	var all []Digests
	for _, e := range append(deciding, f.Current, f.Candidate) {
		if e != nil {
			all = append(all, DigestsOf(e))
		}
	}
	if s := f.State; s != nil {
		for _, r := range slices.Concat(s.Past, s.Undone, []rollout.Revision{s.Current}) {
			all = append(all, Digests{r.Policy, r.Data})
		}
	}
	return all
}

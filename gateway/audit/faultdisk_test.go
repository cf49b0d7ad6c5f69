package audit

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// faultDisk works on real files, and besides keeps what of them would survive a power
// cut, as POSIX and Linux promise it and not better: content only after a successful
// sync, names only after a sync of the folder, and after a failed sync the content
// counts as clean although it never reached the disk.
type faultDisk struct {
	mu    sync.Mutex
	dir   string
	names map[string]*inode // as a running system sees the folder
	disk  map[string]*inode // as it would be found after a power cut
	moves []func(map[string]*inode)

	calls int
	life  int // set by the test
	rnd   *rand.Rand
	fail  func(call int, op string) error // nil: succeed
	lies  bool                            // Sync does nothing: the negative control
}

const sector = 512

type inode struct {
	content []byte
	dirty   map[int64]bool // sectors written since the last sync
	size    int64          // as a running system sees it
}

func newFaultDisk(dir string, seed int) *faultDisk {
	return &faultDisk{dir: dir, names: map[string]*inode{}, disk: map[string]*inode{}, rnd: rand.New(rand.NewPCG(uint64(seed), 0))}
}

func (d *faultDisk) call(op string) error {
	d.calls++
	if d.fail == nil {
		return nil
	}
	return d.fail(d.calls, op)
}

func (d *faultDisk) move(f func(map[string]*inode)) {
	f(d.names)
	d.moves = append(d.moves, f)
}

func (d *faultDisk) OpenFile(name string, flag int, perm fs.FileMode) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.call("open"); err != nil {
		return nil, err
	}
	f, err := osDisk{}.OpenFile(name, flag&^os.O_WRONLY|os.O_RDWR, perm) // store reads
	if err != nil {
		return nil, err
	}
	n := d.names[name]
	if n == nil {
		n = &inode{dirty: map[int64]bool{}}
		d.move(func(m map[string]*inode) { m[name] = n })
	}
	if flag&os.O_TRUNC != 0 {
		n.size = 0
	}
	return &faultFile{f.(osFile), d, n}, nil
}

func (d *faultDisk) Rename(old, new string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.call("rename"); err != nil {
		return err
	}
	d.move(func(m map[string]*inode) {
		if n := m[old]; n != nil {
			m[new] = n
			delete(m, old)
		}
	})
	os.Remove(new) // ext4 would write old's content to the disk before it replaces a file
	return os.Rename(old, new)
}

func (d *faultDisk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.call("remove"); err != nil {
		return err
	}
	d.move(func(m map[string]*inode) { delete(m, name) })
	return os.Remove(name)
}

func (d *faultDisk) SyncDir(string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.call("syncdir"); err != nil {
		return err
	}
	d.apply(len(d.moves))
	return nil
}

func (d *faultDisk) apply(n int) {
	for _, f := range d.moves[:n] {
		f(d.disk)
	}
	d.moves = slices.Clone(d.moves[n:])
}

type faultFile struct {
	osFile
	d *faultDisk
	n *inode
}

func (f *faultFile) WriteAt(b []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	failed := f.d.call("write")
	if failed != nil {
		b = b[:f.d.rnd.IntN(len(b)+1)] // a part may have been written
	}
	n, err := f.osFile.WriteAt(b, off)
	for s := off / sector; s*sector < off+int64(n); s++ {
		f.n.dirty[s] = true
	}
	f.n.size = max(f.n.size, off+int64(n))
	return n, errors.Join(failed, err)
}

func (f *faultFile) Truncate(size int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.call("truncate"); err != nil {
		return err
	}
	f.n.size = size
	return f.osFile.Truncate(size)
}

func (f *faultFile) Sync() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.call("sync"); err != nil {
		clear(f.n.dirty) // fsync(2): "subsequent calls may succeed"
		return err
	}
	if f.d.lies {
		return nil
	}
	f.store(func() bool { return true })
	clear(f.n.dirty)
	f.n.resize(f.n.size)
	return nil
}

// store brings those dirty sectors to the disk that chosen picks.
func (f *faultFile) store(chosen func() bool) { f.n.store(f.osFile, chosen) }

func (n *inode) store(r io.ReaderAt, chosen func() bool) {
	for _, s := range slices.Sorted(maps.Keys(n.dirty)) {
		var b [sector]byte
		k, _ := r.ReadAt(b[:], s*sector)
		if k == 0 || !chosen() {
			continue
		}
		n.resize(max(int64(len(n.content)), s*sector+int64(k)))
		copy(n.content[s*sector:], b[:k])
	}
}

func (n *inode) resize(size int64) {
	if grow := size - int64(len(n.content)); grow > 0 {
		n.content = append(n.content, make([]byte, grow)...)
	}
	n.content = n.content[:size]
}

// powerCut leaves in the folder what a disk would hold that lost power now: of what
// was not synced, a part.
func (d *faultDisk) powerCut(t testing.TB) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	rnd := d.rnd
	keep := rnd.Float64()
	for _, name := range slices.Sorted(maps.Keys(d.names)) {
		n := d.names[name]
		if f, err := os.Open(name); err == nil {
			n.store(f, func() bool { return rnd.Float64() < keep })
			f.Close()
		}
	}
	d.apply(rnd.IntN(len(d.moves) + 1))
	files, _ := filepath.Glob(filepath.Join(d.dir, "*"))
	for _, name := range files {
		if filepath.Base(name) != fileLock {
			os.Remove(name)
		}
	}
	for name, n := range d.disk {
		if err := os.WriteFile(name, n.content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

package audit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// The files of a log, besides its segments.
const (
	fileHashes     = "hashes"
	fileCheckpoint = "checkpoint"
	fileHistory    = "checkpoints"
	fileKey        = "key"
	fileVerifier   = "key.pub"
	fileCodes      = "codes.key"
	fileLock       = "lock"
)

// disk is what the writer does to files. Tests let each call fail in turn.
type disk interface {
	OpenFile(name string, flag int, perm fs.FileMode) (file, error)
	Rename(old, new string) error
	Remove(name string) error
	SyncDir(name string) error // makes created, renamed and removed names durable
}

type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Sync() error // makes content and size durable
	Size() (int64, error)
}

type osDisk struct{}

func (osDisk) OpenFile(name string, flag int, perm fs.FileMode) (file, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}
func (osDisk) Rename(old, new string) error { return os.Rename(old, new) }
func (osDisk) Remove(name string) error     { return os.Remove(name) }

func (osDisk) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

type osFile struct{ *os.File }

// Sync is fdatasync(2): it leaves out the modification time, which would cost a
// commit of the file system's journal for each entry.
func (f osFile) Sync() error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err == nil {
			return nil
		}
		if err != unix.EINTR {
			return &fs.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
		}
	}
}

func (f osFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// writeFile replaces dir/name by content, durably and in one step.
func writeFile(d disk, dir, name string, content []byte, perm fs.FileMode) error {
	path := filepath.Join(dir, name)
	tmp := path + ".new"
	f, err := d.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := d.Rename(tmp, path); err != nil {
		return err
	}
	return d.SyncDir(dir)
}

// ErrInUse says that a log cannot be opened because it is, by another process or in this one.
var ErrInUse = errors.New("another writer has it open; a log has one writer, stop the other gateway first")

// lockFolder makes this the folder's only writer until the file is closed. flock(2)
// belongs to the open file, so it also keeps out a second writer in this process.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, fileLock), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if err == unix.EWOULDBLOCK {
			return nil, ErrInUse
		}
		return nil, fmt.Errorf("lock it: %w", err)
	}
	return f, nil
}

// Lock keeps writers out of the log in dir until release is called; there may be none yet. It
// fails if one is at work.
func Lock(dir string) (release func() error, err error) {
	f, err := lockFolder(dir)
	if err != nil {
		return nil, fmt.Errorf("lock audit log %q: %w", dir, err)
	}
	return f.Close, nil
}

// Package disk reads and writes the files of a gateway: bounded, as a whole, and durable where
// a power failure must not lose them. It does not defend against somebody else who writes in
// the same directories.
package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"cordon/policy/rollout"
)

// Read reads a file of at most limit bytes. A larger one is an error, and no more of it is read.
func Read(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("read %q: more than %d bytes", path, limit)
	}
	return text, err
}

// Create writes a file that must not exist.
func Create(path string, text []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// Write replaces a file as a whole, so that it is there after a power failure.
func Write(path string, text []byte, mode fs.FileMode) error {
	err := rollout.Replace(path, text)
	if err == nil {
		err = os.Chmod(path, mode)
	}
	if err != nil {
		return fmt.Errorf("write %q: %w", path, err)
	}
	return nil
}

// Edit replaces a file's contents in one step, so that a gateway that reads the
// policy meanwhile sees the old file or the new one.
func Edit(path string, text []byte) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err = errors.Join(err, f.Chmod(info.Mode().Perm()), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// Sync makes what was created, renamed and removed in a directory durable.
func Sync(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Exists reports whether there is anything at path, a dangling symbolic link included.
func Exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// UnlessGone forgives what was removed while it was looked at, such as an alarm that was delivered.
func UnlessGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

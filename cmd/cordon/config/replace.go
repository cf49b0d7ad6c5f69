package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// lock makes edits of files in one directory take turns. The kernel releases it if
// the process dies. An editor does not know of it; replace looks for that.
func lock(dir string, patience time.Duration) (unlock func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open %q to lock it: %w", dir, err)
	}
	deadline := time.Now().Add(patience)
	for {
		err = syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { d.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) || time.Now().After(deadline) {
			d.Close()
			return nil, fmt.Errorf("lock %q, another command is editing there: %w", dir, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// replace puts text in the place of old, which the file must still hold: whoever
// reads the file sees all of the one or all of the other, also after a power cut.
// The file keeps its mode and owner.
func replace(path string, old, text []byte) (err error) {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("replace configuration: %w", err)
	}
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("replace configuration: %w", err)
	}
	defer func() {
		tmp.Close()
		if err != nil {
			os.Remove(tmp.Name())
		}
	}()
	if _, err := tmp.Write(text); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	if err := tmp.Chmod(info.Mode().Perm()); err != nil {
		return fmt.Errorf("keep mode of configuration: %w", err)
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && (int(owner.Uid) != os.Geteuid() || int(owner.Gid) != os.Getegid()) {
		if err := tmp.Chown(int(owner.Uid), int(owner.Gid)); err != nil {
			return fmt.Errorf("keep owner of configuration: %w", err)
		}
	}
	if err := tmp.Sync(); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	if now, err := read(path); err != nil || !bytes.Equal(now, old) {
		return ErrChanged
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return fmt.Errorf("replace configuration: %w", err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("make the new configuration durable: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("make the new configuration durable: %w", err)
	}
	return nil
}

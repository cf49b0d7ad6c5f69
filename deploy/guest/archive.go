package guest

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// writeArchive writes an initramfs: the kernel's cpio format "newc" (its documentation,
// driver-api/early-userspace/buffer-format). files are what comes from where; each belongs to
// root and may be executed.
func writeArchive(w io.Writer, files map[string]string) error {
	n := 0
	entry := func(name string, mode fs.FileMode, kind uint32, size int64, content io.Reader) error {
		n++
		head := "070701"
		for _, v := range []int64{int64(n), int64(kind | uint32(mode)), 0, 0, 1, 0, size, 0, 0, 0, 0, int64(len(name) + 1), 0} {
			head += fmt.Sprintf("%08X", v)
		}
		head += name + "\x00"
		if _, err := io.WriteString(w, head+padding(int64(len(head)))); err != nil || content == nil {
			return err
		}
		if _, err := io.CopyN(w, content, size); err != nil {
			return fmt.Errorf("put %s into an initramfs: %w", name, err)
		}
		_, err := io.WriteString(w, padding(size))
		return err
	}
	made := map[string]bool{".": true}
	var directory func(name string) error
	directory = func(name string) error {
		if made[name] {
			return nil
		}
		made[name] = true
		if err := directory(path.Dir(name)); err != nil {
			return err
		}
		return entry(name, 0o755, 0o040000, 0, nil)
	}
	for name, source := range files {
		if err := directory(path.Dir(name)); err != nil {
			return err
		}
		if err := func() error {
			f, err := os.Open(filepath.Clean(source))
			if err != nil {
				return err
			}
			defer f.Close()
			info, err := f.Stat()
			if err != nil {
				return err
			}
			return entry(name, 0o755, 0o100000, info.Size(), f)
		}(); err != nil {
			return err
		}
	}
	for _, name := range []string{"dev", "root"} {
		if err := directory(name); err != nil {
			return err
		}
	}
	return entry("TRAILER!!!", 0, 0, 0, nil)
}

// padding fills up to a multiple of four bytes.
func padding(size int64) string { return "\x00\x00\x00"[:(4-size%4)%4] }

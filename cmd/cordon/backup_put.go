package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"cordon/certs/ca"
	"cordon/cmd/cordon/backup"
	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/home"
	"cordon/gateway/audit"
)

// putAll writes everything of that moment into a backup, and returns how many entries of the log that are.
func putAll(f *daemon.Frozen, w *backup.Writer, c *config.Config, files []sourceFile) (entries int64, err error) {
	for _, x := range files {
		if err := w.Add(x.File, bytes.NewReader(x.text)); err != nil {
			return 0, err
		}
	}
	o := owners{}
	root := filepath.Join(c.Gateway.State, f.Dir)
	err = filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		return o.putFile(w, path.Join(inState, filepath.ToSlash(name)), file)
	})
	if err == nil {
		err = o.putDatabase(w, c)
	}
	if err != nil {
		return 0, err
	}
	return putLog(w, c, o, f.Checkpoint)
}

func (o owners) putFile(w *backup.Writer, name, file string) error {
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	return w.Add(o.describe(name, info), in)
}

// putDatabase adds the authority's database by way of a file that has no name: however slow the
// backup is written, the gateway does not wait for its database.
func (o owners) putDatabase(w *backup.Writer, c *config.Config) error {
	authority, err := home.OpenAuthority(c)
	if err != nil {
		return err
	}
	spool, err := os.CreateTemp("", "cordon-backup-")
	if err != nil {
		return err
	}
	defer spool.Close()
	if err := os.Remove(spool.Name()); err != nil {
		return err
	}
	if err := authority.CopyDatabase(spool); err != nil {
		return err
	}
	size, err := spool.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	if _, err := spool.Seek(0, io.SeekStart); err != nil {
		return err
	}
	info, err := os.Stat(filepath.Join(c.Gateway.State, home.CADir, ca.DatabaseFile))
	if err != nil {
		return err
	}
	file := o.describe(path.Join(inState, home.CADir, ca.DatabaseFile), info)
	file.Size = size
	return w.Add(file, spool)
}

// putLog adds the log up to the checkpoint.
func putLog(w *backup.Writer, c *config.Config, o owners, checkpoint []byte) (entries int64, err error) {
	log, err := audit.OpenReader(c.Audit.Dir)
	if err != nil {
		return 0, err
	}
	entries, err = log.Copy(checkpoint, func(name string, content []byte) error {
		info, err := os.Stat(filepath.Join(c.Audit.Dir, name))
		if err != nil {
			return err
		}
		file := o.describe(path.Join(inLog, name), info)
		file.Size = int64(len(content))
		return w.Add(file, bytes.NewReader(content))
	})
	if damage, ok := errors.AsType[*audit.Damage](err); ok {
		return 0, exit.Error{Code: "audit.damaged", Message: "the log is damaged, and a gateway restored from it would not start: " + damage.Error(), Exit: exit.Checks, Err: damage,
			Try: []string{"cordon audit verify shows what is damaged", "keep a copy of the directory as it is"}}
	}
	return entries, err
}

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"cordon/cmd/cordon/backup"
	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/disk"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/home"
)

// The folders of a backup. What lies in one goes to where the configuration in the backup says,
// so that no name in it leads anywhere by itself.
const (
	inConfig  = "config"  // the configuration, with what it names that lies in its directory
	inPolicy  = "policy"  // policy.dir
	inState   = "state"   // gateway.state
	inLog     = "audit"   // audit.dir
	inOutside = "outside" // what the configuration names that lies elsewhere, by its absolute path
)

// Bounds of what people write by hand; a policy that is larger does not load.
const (
	maxSources     = 4096     // files
	maxSourceBytes = 64 << 20 // in all
)

// sourceFile is a file that people write, or commands on their behalf.
type sourceFile struct {
	backup.File
	text []byte
}

// readSources reads the configuration, its profiles, the policy folder and every file that the
// configuration names, until two readings agree: nobody is kept from editing meanwhile.
func (a *app) readSources(c *config.Config) ([]sourceFile, error) {
	const tries = 5
	before, err := a.readOnce(c)
	for range tries {
		if err != nil {
			return nil, err
		}
		var again []sourceFile
		if again, err = a.readOnce(c); err == nil && slices.EqualFunc(before, again, sameSource) {
			return again, nil
		}
		before = again
	}
	return nil, exit.Error{Code: "backup.edited", Exit: exit.Conflict, Message: "somebody is editing the configuration or the policy", Err: err, Try: []string{"the same command when they are done"}}
}

func sameSource(a, b sourceFile) bool { return a.File == b.File && bytes.Equal(a.text, b.text) }

// sourceFiles collects them.
type sourceFiles struct {
	files []sourceFile
	bytes int
	named map[string]bool
	owners
}

func (a *app) readOnce(c *config.Config) ([]sourceFile, error) {
	w := &sourceFiles{named: map[string]bool{}, owners: owners{}}
	dir := filepath.Dir(a.config())
	for _, name := range []string{config.FileName, config.FileName + config.PreviousSuffix, "cordon.schema.json", "profile.schema.json"} {
		from := filepath.Join(dir, name)
		if name == config.FileName {
			from = a.config() // which may be called otherwise
		}
		if err := w.add(path.Join(inConfig, name), from); err != nil && (name == config.FileName || !errors.Is(err, fs.ErrNotExist)) {
			return nil, err
		}
	}
	if err := w.addTree(path.Join(inConfig, config.ProfileDir), filepath.Join(dir, config.ProfileDir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := w.addTree(inPolicy, c.Policy.Dir); err != nil {
		return nil, err
	}
	for _, file := range namedFiles(c) {
		name, err := namedPlace(dir, c, file)
		if err != nil {
			return nil, err
		}
		if name == "" || w.named[name] {
			continue
		}
		if err := w.add(name, file); err != nil && (file != c.Identity.CA.CRLFile || !errors.Is(err, fs.ErrNotExist)) { // a gateway lives without
			return nil, err
		}
	}
	return w.files, nil
}

// namedFiles are the files that a configuration names and a gateway reads, besides plugins'
// programs: those are installed.
func namedFiles(c *config.Config) (files []string) {
	b, w := &c.Policy.Bundle, &c.Alarms.Webhook
	for _, file := range []string{c.Identity.CA.TrustFile, c.Identity.CA.CRLFile, b.Key, b.Signer, b.TrustFile, b.Certificate, b.CertificateKey, w.SecretFile, w.TrustFile} {
		if file != "" {
			files = append(files, file)
		}
	}
	return files
}

// namedPlace is a named file's name in a backup; "" if it is there with the policy or the state.
func namedPlace(dir string, c *config.Config, file string) (string, error) {
	for _, whole := range []string{c.Policy.Dir, c.Gateway.State} {
		if _, inside := within(whole, file); inside {
			return "", nil
		}
	}
	if name, inside := within(dir, file); inside {
		return path.Join(inConfig, filepath.ToSlash(name)), nil
	}
	absolute, err := filepath.Abs(file)
	return path.Join(inOutside, filepath.ToSlash(absolute)), err
}

// within returns a path as it is seen from a directory, and whether it is inside.
func within(dir, file string) (name string, inside bool) {
	dir, err := filepath.Abs(dir)
	file, err2 := filepath.Abs(file)
	if err != nil || err2 != nil {
		return "", false
	}
	name, err = filepath.Rel(dir, file)
	return name, err == nil && filepath.IsLocal(name)
}

func (w *sourceFiles) add(name, file string) error {
	if len(w.files) >= maxSources {
		return fmt.Errorf("read %q: more than %d files", file, maxSources)
	}
	text, err := disk.Read(file, int64(maxSourceBytes-w.bytes))
	if err != nil {
		return err
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	w.bytes += len(text)
	w.named[name] = true
	f := w.describe(name, info)
	f.Size = int64(len(text))
	w.files = append(w.files, sourceFile{f, text})
	return nil
}

// addTree adds a folder with all that is in it, but for what git keeps there.
func (w *sourceFiles) addTree(name, dir string) error {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	return filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return disk.UnlessGone(err)
		case d.Name() == ".git" || home.OfRestore(d.Name()):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			return nil
		case !d.Type().IsRegular():
			return fmt.Errorf("%q is no regular file, and cannot be backed up: put the file itself there", file)
		}
		inside, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		return disk.UnlessGone(w.add(path.Join(name, filepath.ToSlash(inside)), file))
	})
}

// owners are the names of those that files belong to, each looked up once.
type owners map[[2]uint32][2]string

// describe is what a backup says of a file besides its content. Who has no name has a number.
func (o owners) describe(name string, info fs.FileInfo) backup.File {
	f := backup.File{Name: name, Size: info.Size(), Mode: info.Mode().Perm()}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return f
	}
	id := [2]uint32{s.Uid, s.Gid}
	if _, known := o[id]; !known {
		number := func(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
		names := [2]string{number(s.Uid), number(s.Gid)}
		if u, err := user.LookupId(names[0]); err == nil {
			names[0] = u.Username
		}
		if g, err := user.LookupGroupId(names[1]); err == nil {
			names[1] = g.Name
		}
		o[id] = names
	}
	f.Owner, f.Group = o[id][0], o[id][1]
	return f
}

// checkLayout refuses directories that lie in each other in a way that a restore could not undo.
func checkLayout(file string, c *config.Config) error {
	for _, x := range []struct{ name, dir, holds, what string }{
		{"policy.dir", c.Policy.Dir, file, "the configuration"},
		{"policy.dir", c.Policy.Dir, c.Gateway.State, "gateway.state"},
		{"policy.dir", c.Policy.Dir, c.Audit.Dir, "audit.dir"},
		{"gateway.state", c.Gateway.State, file, "the configuration"},
		{"gateway.state", c.Gateway.State, c.Policy.Dir, "policy.dir"},
		{"audit.dir", c.Audit.Dir, file, "the configuration"},
		{"audit.dir", c.Audit.Dir, c.Gateway.State, "gateway.state"},
		{"audit.dir", c.Audit.Dir, c.Policy.Dir, "policy.dir"},
	} {
		if _, inside := within(x.dir, x.holds); inside {
			return exit.Error{Code: "backup.layout", Exit: exit.Conflict, Message: fmt.Sprintf("%s is inside %s, %s", x.what, x.name, x.dir), Try: []string{"a directory of its own for each, as cordon init makes them"}}
		}
	}
	return nil
}

package rego

import (
	"embed"
	"io/fs"
	"os"
)

// shipped is the policy that comes with Cordon.
//
//go:embed shipped
var shipped embed.FS

// WriteShipped writes the default policy, its tests, its truth table, and what editors and
// linters want to know into dir, which it creates if need be. A file that is there already is
// an error and stays as it is; nothing is written then.
func WriteShipped(dir string) error {
	contents, err := beside()
	if err != nil {
		return err
	}
	files, err := fs.Sub(shipped, "shipped")
	if err != nil {
		return err
	}
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if contents[entry.Name()], err = fs.ReadFile(files, entry.Name()); err != nil {
			return err
		}
	}
	return writeAll(dir, contents)
}

func writeNew(name string, text []byte) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	if _, err := file.Write(text); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}

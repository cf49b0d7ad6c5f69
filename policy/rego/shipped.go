package rego

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// shipped is the policy that comes with Cordon.
//
//go:embed shipped
var shipped embed.FS

// WriteShipped writes the default policy, its tests and input.schema.json into
// dir, which it creates if need be. A file that is there already is an error and
// stays as it is; nothing is written then.
func WriteShipped(dir string) error {
	files, err := fs.Sub(shipped, "shipped")
	if err != nil {
		return err
	}
	contents := map[string][]byte{"input.schema.json": []byte(inputSchema)}
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if contents[entry.Name()], err = fs.ReadFile(files, entry.Name()); err != nil {
			return err
		}
	}
	for _, name := range sortedNames(contents) {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return fmt.Errorf("write policy: %q exists already", filepath.Join(dir, name))
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write policy: %w", err)
	}
	for _, name := range sortedNames(contents) {
		if err := writeNew(filepath.Join(dir, name), contents[name]); err != nil {
			return fmt.Errorf("write policy: %w", err)
		}
	}
	return nil
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

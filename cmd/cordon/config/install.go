package config

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Read returns the text of the file at path, MaxSize+1 bytes at most. Parse says if that is too
// long, or anything else.
func Read(path string) ([]byte, error) { return read(path) }

// Parse is Load for a text that is not, or not yet, that of the file at path. Faults name that
// file, and paths in the text are relative to it.
func Parse(path string, text []byte) (*Config, error) { return parse(path, text) }

// PreviousSuffix is what the name of the file that Install has replaced ends with.
const PreviousSuffix = ".previous"

// Install makes text the file at path, whose text must still be old, and keeps old beside it,
// named with PreviousSuffix. Whoever reads the file sees all of the one or all of the other, also
// after a power cut; ErrChanged: somebody else has edited it meanwhile.
func Install(path string, old, text []byte) error {
	return exchange(path, old, text, func(path string) error {
		previous := path + PreviousSuffix
		if err := touch(path, previous); err != nil {
			return err
		}
		before, err := read(previous)
		if err != nil {
			return err
		}
		return replace(previous, before, old)
	})
}

// Withdraw makes old the file at path again, whose text must still be text. It keeps nothing.
func Withdraw(path string, text, old []byte) error {
	return exchange(path, text, old, func(string) error { return nil })
}

// exchange replaces the text from by the text to, after keep.
func exchange(path string, from, to []byte, keep func(path string) error) error {
	path, err := filepath.EvalSymlinks(path) // the link stays, what it names is replaced
	if err != nil {
		return notThere(path, err)
	}
	unlock, err := lock(filepath.Dir(path), 5*time.Second)
	if err != nil {
		return err
	}
	defer unlock()
	now, err := read(path)
	if err != nil {
		return err
	}
	if !bytes.Equal(now, from) {
		return ErrChanged
	}
	if err := keep(path); err != nil {
		return err
	}
	return replace(path, from, to)
}

// touch makes the file at path, with the mode of another, if there is none.
func touch(like, path string) error {
	info, err := os.Stat(like)
	if err != nil {
		return fmt.Errorf("keep the old configuration: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, info.Mode().Perm())
	if err != nil {
		return fmt.Errorf("keep the old configuration: %w", err)
	}
	return f.Close()
}

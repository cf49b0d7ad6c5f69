package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"time"
)

// completions are where shells look for what the program says about itself.
var completions = map[string]string{
	"bash": "/usr/share/bash-completion/completions/cordon",
	"zsh":  "/usr/share/zsh/vendor-completions/_cordon",
	"fish": "/usr/share/fish/vendor_completions.d/cordon.fish",
}

// describe has the program write its manual and its completions below scratch, and returns the
// files by where they belong. One of another architecture does not run here: then it is built
// again, for this one.
func describe(program, arch, scratch string, at time.Time) (map[string]string, error) {
	if arch != runtime.GOARCH {
		program = filepath.Join(scratch, "cordon-here")
		if err := compile(program, runtime.GOARCH); err != nil {
			return nil, err
		}
	}
	ask := func(args ...string) ([]byte, error) {
		c := exec.Command(program, args...)
		c.Env = []string{"SOURCE_DATE_EPOCH=" + strconv.FormatInt(at.Unix(), 10)}
		var said bytes.Buffer
		c.Stderr = &said
		out, err := c.Output()
		if err != nil {
			err = fmt.Errorf("run cordon %s: %w: %s", args[0], err, said.Bytes())
		}
		return out, err
	}
	made := map[string]string{}
	manual := filepath.Join(scratch, "manual")
	if err := os.Mkdir(manual, 0o755); err != nil {
		return nil, err
	}
	if _, err := ask("manual", manual); err != nil {
		return nil, err
	}
	pages, err := filepath.Glob(filepath.Join(manual, "*.[15]"))
	if err != nil || len(pages) == 0 {
		return nil, fmt.Errorf("look for the pages of the manual: %w", errors.Join(err, os.ErrNotExist))
	}
	for _, page := range pages {
		packed, err := pack(page)
		if err != nil {
			return nil, err
		}
		section := page[len(page)-1:]
		made["/usr/share/man/man"+section+"/"+filepath.Base(packed)] = packed
	}
	for shell, destination := range completions {
		text, err := ask("completion", shell)
		if err != nil {
			return nil, err
		}
		file := filepath.Join(scratch, shell)
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return nil, err
		}
		made[destination] = file
	}
	return made, nil
}

// pack compresses a page as Debian wants it (policy manual, section 12.1), without a name or a
// time inside, and returns where it is.
func pack(page string) (string, error) {
	text, err := os.ReadFile(page)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return "", err
	}
	_, err = w.Write(text)
	if err := errors.Join(err, w.Close()); err != nil {
		return "", fmt.Errorf("compress %s: %w", page, err)
	}
	return page + ".gz", os.WriteFile(page+".gz", b.Bytes(), 0o644)
}

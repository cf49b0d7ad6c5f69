package guest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// packages are what the guest's Debian consists of, with what they depend on: the machine's
// own apt sources say in which versions, and apt checks their signatures.
var packages = []string{
	"base-files", "base-passwd", "bash", "bsdutils", "coreutils", "dash", "debianutils", "diffutils", "dpkg", "e2fsprogs", "findutils",
	"grep", "gzip", "hostname", "init-system-helpers", "iproute2", "kmod", "libc-bin", "linux-image-cloud-amd64", "login", "mount",
	"nftables", "perl-base", "procps", "sed", "systemd-sysv", "tar", "udev", "util-linux",
}

// debs are downloaded packages.
type debs struct {
	dir   string
	files []string // their names, in the order in which apt would install them
}

// key names this choice of packages, and how a root is made of them.
func (d debs) key() string {
	h := sha256.New()
	fmt.Fprintln(h, recipe, d.files)
	return fmt.Sprintf("%x", h.Sum(nil)[:8])
}

// download asks apt for the packages as for a machine that has none. It needs no privileges,
// and downloads what is not in the cache.
func download(ctx context.Context, cache string) (debs, error) {
	d := debs{dir: filepath.Join(cache, "debs")}
	if err := os.MkdirAll(filepath.Join(d.dir, "partial"), 0o755); err != nil {
		return d, err
	}
	nothing := filepath.Join(cache, "installed-nothing")
	if err := os.WriteFile(nothing, nil, 0o644); err != nil {
		return d, err
	}
	install := func(how ...string) ([]byte, error) {
		args := append([]string{"install", "-qq", "-y", "--no-install-recommends",
			"-o", "Dir::State::status=" + nothing, "-o", "Dir::Cache::archives=" + d.dir, "-o", "Debug::NoLocking=true", "-o", "APT::Sandbox::User="}, how...)
		out, err := exec.CommandContext(ctx, "apt-get", append(args, packages...)...).Output()
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
		}
		return out, err
	}
	list, err := install("--print-uris", "-o", "Dir::Cache::archives="+filepath.Join(cache, "empty")+"/")
	if err != nil {
		return d, fmt.Errorf("ask apt for the guest's packages (try apt-get update): %w", err)
	}
	missing := false
	for line := range strings.Lines(string(list)) {
		f := strings.Fields(line) // 'address' name size checksum
		if len(f) < 3 || !strings.HasSuffix(f[1], ".deb") || strings.Contains(f[1], "/") {
			return d, fmt.Errorf("ask apt for the guest's packages: it answers %q", line)
		}
		d.files = append(d.files, f[1])
		if _, err := os.Stat(filepath.Join(d.dir, f[1])); errors.Is(err, fs.ErrNotExist) {
			missing = true
		}
	}
	if missing {
		if _, err := install("--download-only"); err != nil {
			return d, fmt.Errorf("download the guest's packages (try apt-get update): %w", err)
		}
	}
	return d, nil
}

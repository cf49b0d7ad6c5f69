// Command deb builds the Debian package of Cordon: the program, its units, the user it runs
// as, its manual and completions. The same commit gives the same bytes, wherever and whenever it is built.
//
//	cd deploy/deb && go run . -o ../../cordon.deb
//
// After it is installed:
//
//	cordon init /etc/cordon --state /var/lib/cordon --name ward-4 --trust-domain hospital.example
//	chown -R cordon: /var/lib/cordon
//	systemctl enable --now cordon-guard.service cordon-segment.socket cordon.service
//
// It is a module of its own, so that the libraries that make packages are not among those
// that the gateway is built with. The package starts nothing: there is no gateway before
// somebody has made one (cordon init).
package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
)

func main() {
	out := flag.String("o", "cordon.deb", "the package's `FILE`")
	arch := flag.String("arch", "amd64", "Debian's name of the architecture: amd64 or arm64")
	version := flag.String("version", "0.1.0", "the package's version")
	flag.Parse()
	if err := build(*out, *arch, *version); err != nil {
		fmt.Fprintln(os.Stderr, "deb:", err)
		os.Exit(1)
	}
}

// root is the checkout, seen from this folder.
const root = "../.."

func build(out, arch, version string) error {
	at, err := when()
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "cordon-deb-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	program := filepath.Join(scratch, "cordon")
	if err := compile(program, arch); err != nil {
		return err
	}
	said, err := describe(program, arch, scratch, at)
	if err != nil {
		return err
	}
	info := nfpm.WithDefaults(&nfpm.Info{
		Name: "cordon", Arch: arch, Platform: "linux", Version: version, MTime: at,
		Section: "net", Priority: "optional", License: "Apache-2.0", Maintainer: "Cordon maintainers <maintainers@cordon.invalid>",
		Description: "zero-trust gateway for medical devices that cannot protect themselves\n" +
			"Clients speak mutual TLS to the gateway, which asks a policy about every operation,\n" +
			"records the answer and only then lets the operation reach the device.",
	})
	info.Depends = []string{"systemd"}
	info.Scripts = nfpm.Scripts{PostInstall: "files/postinst", PreRemove: "files/prerm", PostRemove: "files/postrm"}
	units, err := filepath.Glob(filepath.Join(root, "deploy", "systemd", "cordon*"))
	if err != nil || len(units) == 0 {
		return fmt.Errorf("look for units in deploy/systemd: %w", errors.Join(err, fs.ErrNotExist))
	}
	info.Contents = contents(program, said, units, at)
	packager, err := nfpm.Get("deb")
	if err != nil {
		return err
	}
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	if err := errors.Join(packager.Package(info, f), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", out, err)
	}
	return nil
}

// when is the time all files have: SOURCE_DATE_EPOCH, or that of the commit.
func when() (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		b, err := exec.Command("git", "-C", root, "log", "-1", "--format=%ct").Output()
		if err != nil {
			return time.Time{}, fmt.Errorf("ask git for the commit's time, or set SOURCE_DATE_EPOCH: %w", err)
		}
		text = strings.TrimSpace(string(b))
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH %q: expected seconds since 1970", text)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// compile builds the program without anything of the machine it is built on.
func compile(program, arch string) error {
	c := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", program, "./cmd/cordon")
	c.Dir = root
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOFLAGS=")
	if b, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("build cordon for %s: %w\n%s", arch, err, b)
	}
	return nil
}

func contents(program string, said map[string]string, units []string, at time.Time) files.Contents {
	var list files.Contents
	add := func(source, destination string, mode os.FileMode) {
		list = append(list, &files.Content{Source: source, Destination: destination, FileInfo: &files.ContentFileInfo{Mode: mode, MTime: at, Owner: "root", Group: "root"}})
	}
	add(program, "/usr/bin/cordon", 0o755)
	for _, unit := range units {
		add(unit, "/usr/lib/systemd/system/"+filepath.Base(unit), 0o644)
	}
	for _, destination := range slices.Sorted(maps.Keys(said)) {
		add(said[destination], destination, 0o644)
	}
	add("files/sysusers", "/usr/lib/sysusers.d/cordon.conf", 0o644)
	add("files/tmpfiles", "/usr/lib/tmpfiles.d/cordon.conf", 0o644)
	for name, source := range map[string]string{
		"README.md": "README.md", "SECURITY.md": "SECURITY.md", "CHANGELOG.md": "CHANGELOG.md", "OPERATION.md": "deploy/README.md",
		"examples/inline.yaml": "deploy/examples/inline.yaml", "examples/proxy.yaml": "deploy/examples/proxy.yaml",
	} {
		add(filepath.Join(root, source), "/usr/share/doc/cordon/"+name, 0o644)
	}
	add(filepath.Join(root, "LICENSE"), "/usr/share/doc/cordon/copyright", 0o644)
	return list
}

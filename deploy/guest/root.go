package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Root is a small Debian with systemd and its kernel. Nobody may write to its files: they are
// kept in the cache, for every run.
type Root struct {
	Kernel  string
	Image   string   // an ext4 file system, 2 GiB and sparse
	Modules []string // what the kernel needs to mount it, in their order
}

// idle are units without which nothing that is tried here goes otherwise, and the guest starts
// in half the time.
var idle = []string{"getty.target", "systemd-networkd-wait-online.service", "systemd-update-utmp.service", "systemd-update-utmp-runlevel.service",
	"systemd-user-sessions.service", "systemd-random-seed.service", "systemd-network-generator.service", "systemd-journal-flush.service",
	"kmod-static-nodes.service", "dev-hugepages.mount", "dev-mqueue.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount",
	"sys-kernel-config.mount", "sys-fs-fuse-connections.mount", "modprobe@configfs.service", "modprobe@dm_mod.service", "modprobe@drm.service",
	"modprobe@efi_pstore.service", "modprobe@fuse.service", "modprobe@loop.service", "systemd-tmpfiles-clean.timer"}

// recipe is counted up when a root is made otherwise than before.
const recipe = 2

// early is what mounts a root. ext4 asks for the checksum by name, not by a symbol.
var early = []string{"virtio_pci", "virtio_blk", "crc32c_generic", "ext4"}

// MakeRoot returns the root of the packages that apt knows today, made if it is not in the
// cache directory. It needs no privileges but to make a user namespace.
//
// Its packages are unpacked and not configured: their scripts have not run. What a script would
// have done and a start of systemd needs is done here.
func MakeRoot(ctx context.Context, cache string) (*Root, error) {
	d, err := download(ctx, cache)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(cache, d.key())
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := makeRoot(ctx, d, dir); err != nil {
			return nil, fmt.Errorf("make the guest's root: %w", err)
		}
	}
	r := &Root{Kernel: filepath.Join(dir, "vmlinuz"), Image: filepath.Join(dir, "root.ext4")}
	r.Modules, err = filepath.Glob(filepath.Join(dir, "modules", "*"))
	return r, err
}

const making = "making-" // what a root begins as

// makeRoot makes all of it beside dir, and moves it there when it is whole.
func makeRoot(ctx context.Context, d debs, dir string) error {
	made, err := os.MkdirTemp(filepath.Dir(dir), making)
	if err != nil {
		return err
	}
	defer os.RemoveAll(made)
	tree := filepath.Join(made, "tree")
	for _, do := range []func() error{
		func() error { return lay(tree) },
		func() error { return unpack(ctx, d, tree) },
		func() error { return settle(ctx, tree) },
		func() error { return takeKernel(tree, made) },
		func() error {
			return within(ctx, "", "mkfs.ext4", "-q", "-d", tree, "-E", "root_owner=0:0", filepath.Join(made, "root.ext4"), "2G")
		},
		func() error { return os.RemoveAll(tree) },
	} {
		if err := do(); err != nil {
			return err
		}
	}
	if err := os.Rename(made, dir); err != nil && !errors.Is(err, fs.ErrExist) { // somebody else was faster
		return err
	}
	return forget(filepath.Dir(dir), filepath.Base(dir), d)
}

// forget removes what earlier packages were made into, and their files.
func forget(cache, keep string, d debs) error {
	for dir, kept := range map[string][]string{cache: {keep, filepath.Base(d.dir)}, d.dir: append([]string{"partial"}, d.files...)} {
		list, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range list {
			if !slices.Contains(kept, e.Name()) && (e.IsDir() || dir == d.dir) && !strings.HasPrefix(e.Name(), making) {
				if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// lay makes what packages expect to find: Debian's merged /usr.
func lay(tree string) error {
	for _, name := range []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32"} {
		if err := os.MkdirAll(filepath.Join(tree, "usr", name), 0o755); err != nil {
			return err
		}
		if err := os.Symlink("usr/"+name, filepath.Join(tree, name)); err != nil {
			return err
		}
	}
	return os.MkdirAll(filepath.Join(tree, "var", "lib", "dpkg", "info"), 0o755)
}

// unpack puts the packages there, and into dpkg's list as installed: ours is to find what it
// depends on.
func unpack(ctx context.Context, d debs, tree string) error {
	var status bytes.Buffer
	for _, name := range d.files {
		file := filepath.Join(d.dir, name)
		control, err := exec.CommandContext(ctx, "dpkg-deb", "-f", file).Output()
		if err != nil {
			return fmt.Errorf("read %s: %w", file, err)
		}
		first, rest, _ := strings.Cut(string(control), "\n")
		fmt.Fprintf(&status, "%s\nStatus: install ok installed\n%s\n", first, rest)
		list := strings.TrimPrefix(first, "Package: ")
		if strings.Contains(rest, "\nMulti-Arch: same\n") {
			list += ":amd64"
		}
		if err := os.WriteFile(filepath.Join(tree, "var/lib/dpkg/info", list+".list"), nil, 0o644); err != nil {
			return err
		}

		files := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", file)
		tar := exec.CommandContext(ctx, "tar", "-x", "-C", tree, "--no-same-owner", "--keep-directory-symlink",
			"--exclude=./usr/share/doc", "--exclude=./usr/share/man", "--exclude=./usr/share/locale", "--exclude=./usr/share/info")
		if tar.Stdin, err = files.StdoutPipe(); err != nil {
			return err
		}
		var said bytes.Buffer
		tar.Stderr = &said
		if err := files.Start(); err != nil {
			return err
		}
		if err := errors.Join(tar.Run(), files.Wait()); err != nil {
			return fmt.Errorf("unpack %s: %w: %s", file, err, said.Bytes())
		}
	}
	return os.WriteFile(filepath.Join(tree, "var/lib/dpkg/status"), status.Bytes(), 0o644)
}

// settle does what the packages' scripts would have.
func settle(ctx context.Context, tree string) error {
	for name, text := range map[string]string{
		"etc/hostname":   "guest\n",
		"etc/hosts":      "127.0.0.1 localhost\n::1 localhost\n",
		"etc/fstab":      "/dev/vda / ext4 rw 0 1\n",
		"etc/machine-id": "cafe0000cafe0000cafe0000cafe0000\n", // else every start is a first one
		"etc/shadow":     "root:*:20000:0:99999:7:::\n",
		"etc/mtab":       "", // replaced below
	} {
		if err := os.WriteFile(filepath.Join(tree, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	for _, name := range []string{"passwd", "group"} {
		text, err := os.ReadFile(filepath.Join(tree, "usr/share/base-passwd", name+".master"))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(tree, "etc", name), text, 0o644); err != nil {
			return err
		}
	}
	mtab := filepath.Join(tree, "etc/mtab")
	if err := errors.Join(os.Remove(mtab), os.Symlink("../proc/self/mounts", mtab), os.Mkdir(filepath.Join(tree, "guest"), 0o755)); err != nil {
		return err
	}
	kernel, err := version(tree)
	if err != nil {
		return err
	}
	for _, c := range [][]string{
		{"/sbin/ldconfig"},
		{"/sbin/depmod", kernel},
		{"/bin/systemd-sysusers"},
		{"/bin/systemctl", "enable", "-q", "systemd-networkd.service"},
		{"/bin/systemctl", "set-default", "-q", "multi-user.target"},
		append([]string{"/bin/systemctl", "mask", "-q"}, idle...),
	} {
		if err := within(ctx, tree, c[0], c[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// within runs a program as a root that is none: in a user namespace, and with another root
// directory if one is given.
func within(ctx context.Context, root, name string, args ...string) error {
	c := exec.CommandContext(ctx, name, args...)
	c.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	c.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	if root != "" {
		c.Dir = "/"
	}
	if id := os.Geteuid(); id != 0 {
		c.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: id, Size: 1}}
		c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// version is that of the only kernel in a tree.
func version(tree string) (string, error) {
	list, err := filepath.Glob(filepath.Join(tree, "boot/vmlinuz-*"))
	if err != nil || len(list) != 1 {
		return "", fmt.Errorf("look for one kernel in the guest's packages, found %q", list)
	}
	return strings.TrimPrefix(filepath.Base(list[0]), "vmlinuz-"), nil
}

// takeKernel copies the kernel, and the modules that mount the root in the order in which they
// are to be loaded.
func takeKernel(tree, to string) error {
	kernel, err := version(tree)
	if err != nil {
		return err
	}
	if err := copyFile(filepath.Join(tree, "boot/vmlinuz-"+kernel), filepath.Join(to, "vmlinuz")); err != nil {
		return err
	}
	modules := filepath.Join(tree, "lib/modules", kernel)
	text, err := os.ReadFile(filepath.Join(modules, "modules.dep"))
	if err != nil {
		return err
	}
	needs := map[string][]string{} // by path
	paths := map[string]string{}   // by name
	for line := range strings.Lines(string(text)) {
		path, rest, _ := strings.Cut(line, ":")
		needs[path] = strings.Fields(rest)
		name, _, _ := strings.Cut(filepath.Base(path), ".ko")
		paths[strings.ReplaceAll(name, "-", "_")] = path
	}
	var order []string
	for _, name := range early {
		path, there := paths[name]
		if !there {
			continue // it is part of the kernel
		}
		own := append([]string{path}, needs[path]...) // the last one depends on nothing
		slices.Reverse(own)
		for _, p := range own {
			if !slices.Contains(order, p) {
				order = append(order, p)
			}
		}
	}
	if err := os.Mkdir(filepath.Join(to, "modules"), 0o755); err != nil {
		return err
	}
	for i, path := range order {
		if err := copyFile(filepath.Join(modules, path), filepath.Join(to, "modules", fmt.Sprintf("%02d-%s", i, filepath.Base(path)))); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o644)
}

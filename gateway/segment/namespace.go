package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// A namespace is kept by mounting it on a file, so that it outlives the thread that made it
// and every process. Whoever may unmount that file may end it.

// newNamespace mounts a fresh network namespace on path, or leaves the one that is there.
// Forwarding, routes and interfaces of a fresh one are off, none and a loopback that is down.
func newNamespace(path string) error {
	if isNamespace(path) == nil {
		return nil
	}
	f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE|unix.O_NOFOLLOW, 0o444)
	if err != nil {
		return fmt.Errorf("make the file of a namespace: %w", err)
	}
	f.Close()
	return elsewhere(func() error { return unix.Unshare(unix.CLONE_NEWNET) }, func() error {
		if err := unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount the namespace on %s: %w", path, err)
		}
		return nil
	})
}

// isNamespace says why path is not a mounted network namespace, or nil.
func isNamespace(path string) error {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return fmt.Errorf("look at namespace %s: %w", path, err)
	}
	if s.Type != unix.NSFS_MAGIC {
		return fmt.Errorf("look at namespace %s: nothing is mounted there: %w", path, fs.ErrNotExist)
	}
	return nil
}

// openNamespace opens what newNamespace made. The caller closes it.
func openNamespace(path string) (*os.File, error) {
	if err := isNamespace(path); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open namespace: %w", err)
	}
	return f, nil
}

// removeNamespace unmounts it. The kernel ends the namespace when no socket is left in it.
func removeNamespace(path string) error {
	for {
		switch err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err {
		case nil:
			continue // an interrupted setup may have mounted twice
		case unix.EINVAL, unix.ENOENT:
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("remove the file of a namespace: %w", err)
			}
			return nil
		default:
			return fmt.Errorf("unmount namespace %s: %w", path, err)
		}
	}
}

// inside runs f on a thread that is in namespace ns and waits for it. A goroutine that f
// starts runs outside.
func inside(ns *os.File, f func() error) error {
	return elsewhere(func() error { return unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET) }, f)
}

// elsewhere takes a thread of its own to another namespace, runs f there and brings it back.
// If the way back fails, the thread ends: a goroutine that returns while it is locked to its
// thread takes it along.
func elsewhere(enter, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("remember the thread's namespace: %w", err)
			return
		}
		defer home.Close()
		if err = enter(); err != nil {
			err = fmt.Errorf("enter a network namespace: %w", err)
		} else {
			err = f()
		}
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

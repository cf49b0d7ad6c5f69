package plugins

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// maxProgram bounds the size of a pinned program, in bytes.
const maxProgram = 512 << 20

// ErrPin is that a program is not the one that is pinned.
var ErrPin = errors.New("another program is pinned")

// sealed copies the program at path into memory that nobody can write to any more and
// checks the copy against the SHA-256 it must have, in hexadecimal. What is started is then
// what was checked, whatever becomes of the file meanwhile. The caller closes the result,
// whose descriptor is none that a child process is given for another purpose.
func sealed(path, want string) (*os.File, error) {
	program, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the plugin's program: %w", err)
	}
	defer program.Close()
	memory, err := executableMemory()
	if err != nil {
		return nil, fmt.Errorf("copy the plugin's program: %w", err)
	}
	hash := sha256.New()
	n, err := io.Copy(io.MultiWriter(memory, hash), io.LimitReader(program, maxProgram+1))
	switch got := hex.EncodeToString(hash.Sum(nil)); {
	case err != nil:
		err = fmt.Errorf("copy the plugin's program: %w", err)
	case n > maxProgram:
		err = fmt.Errorf("copy the plugin's program %s: it is larger than %d MiB", path, maxProgram>>20)
	case got != want:
		err = fmt.Errorf("check the plugin's program %s: its SHA-256 is %s: %w", path, got, ErrPin)
	default:
		if _, err = unix.FcntlInt(memory.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
			err = fmt.Errorf("seal the plugin's program: %w", err)
		}
	}
	if err != nil {
		return nil, errors.Join(err, memory.Close())
	}
	return memory, nil
}

// executableMemory makes a file in memory. Kernels before 6.3 do not know that such a file
// may have to be marked as executable.
func executableMemory() (*os.File, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("cordon-plugin", flags|unix.MFD_EXEC)
	if err == unix.EINVAL {
		fd, err = unix.MemfdCreate("cordon-plugin", flags)
	}
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	defer unix.Close(fd)
	// A child's descriptors are filled from 0 before its program is looked up.
	const above = 64
	high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, above)
	if err != nil {
		return nil, fmt.Errorf("dup: %w", err)
	}
	return os.NewFile(uintptr(high), "cordon-plugin"), nil
}

package wire

import (
	"errors"
	"fmt"
	"net"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"cordon/plugins/sdk"
)

// A Window is WindowSize bytes of memory that gateway and plugin share, mapped twice in a
// row so that any WindowSize bytes from any offset are one slice: the byte of a stream
// with absolute offset o is at o mod WindowSize, and nothing is ever moved. The gateway
// maps it writable and then seals it: from there on no process can map it writable, write
// to it, grow or shrink it.
type Window struct {
	ID  uint32
	mem []byte // both mappings
}

// NewWindow makes a sealed window, and a descriptor of it to hand over, which the
// caller closes.
func NewWindow(id uint32) (*Window, int, error) {
	fd, err := unix.MemfdCreate("cordon-window", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, -1, fmt.Errorf("memfd_create: %w", err)
	}
	if err := unix.Ftruncate(fd, sdk.WindowSize); err != nil {
		unix.Close(fd)
		return nil, -1, fmt.Errorf("size a window: %w", err)
	}
	w, err := mapWindow(id, fd, unix.PROT_READ|unix.PROT_WRITE)
	if err != nil {
		unix.Close(fd)
		return nil, -1, err
	}
	seals := unix.F_SEAL_FUTURE_WRITE | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		w.Unmap()
		unix.Close(fd)
		return nil, -1, fmt.Errorf("seal a window: %w", err)
	}
	return w, fd, nil
}

// mapWindow maps fd twice in a row. The first mapping reserves the space of both, so the
// second cannot hit anything else.
func mapWindow(id uint32, fd int, prot int) (*Window, error) {
	base, err := unix.MmapPtr(-1, 0, nil, 2*sdk.WindowSize, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("reserve a window: %w", err)
	}
	for _, at := range []uintptr{0, sdk.WindowSize} {
		if _, err := unix.MmapPtr(fd, 0, unsafe.Add(base, at), sdk.WindowSize, prot, unix.MAP_SHARED|unix.MAP_FIXED); err != nil {
			unix.MunmapPtr(base, 2*sdk.WindowSize)
			return nil, fmt.Errorf("map a window: %w", err)
		}
	}
	return &Window{ID: id, mem: unsafe.Slice((*byte)(base), 2*sdk.WindowSize)}, nil
}

// Bytes returns the window's bytes of the stream offsets [from, to), which must be at most
// WindowSize apart. The slice's capacity ends at to.
func (w *Window) Bytes(from, to int64) []byte {
	at := int(from % sdk.WindowSize)
	end := at + int(to-from)
	return w.mem[at:end:end]
}

// Unmap gives the memory back. The window and its slices must not be used afterwards.
func (w *Window) Unmap() {
	unix.MunmapPtr(unsafe.Pointer(&w.mem[0]), 2*sdk.WindowSize)
	w.mem = nil
}

// SendWindow hands a window's descriptor to the plugin over c and waits until it is mapped
// there. c's deadline bounds the wait.
func SendWindow(c *net.UnixConn, id uint32, fd int) error {
	msg := []byte{byte(id), byte(id >> 8), byte(id >> 16), byte(id >> 24)}
	if _, _, err := c.WriteMsgUnix(msg, unix.UnixRights(fd), nil); err != nil {
		return fmt.Errorf("send window %d: %w", id, err)
	}
	var answer [5]byte // one byte more than there should be
	n, err := c.Read(answer[:])
	if err != nil {
		return fmt.Errorf("wait for window %d: %w", id, err)
	}
	if n != 4 || [4]byte(answer[:4]) != [4]byte(msg) {
		return fmt.Errorf("wait for window %d: unexpected answer", id)
	}
	return nil
}

// ReceiveWindow waits for the next window on c, maps it for reading and hands it to keep
// before it acknowledges: a notice about it may arrive right after.
func ReceiveWindow(c *net.UnixConn, keep func(*Window)) error {
	var msg [5]byte
	oob := make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := c.ReadMsgUnix(msg[:], oob)
	if err != nil {
		return err
	}
	fd, err := oneDescriptor(oob[:oobn])
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if n != 4 {
		return fmt.Errorf("receive window: message of %d bytes", n)
	}
	id := uint32(msg[0]) | uint32(msg[1])<<8 | uint32(msg[2])<<16 | uint32(msg[3])<<24
	w, err := mapWindow(id, fd, unix.PROT_READ)
	if err != nil {
		return err
	}
	keep(w)
	_, err = c.Write(msg[:4])
	return err
}

func oneDescriptor(oob []byte) (int, error) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(msgs) != 1 {
		return -1, errors.New("receive window: no descriptor")
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		return -1, errors.New("receive window: not one descriptor")
	}
	return fds[0], nil
}

// SocketPair makes a connected pair of unix stream sockets: the gateway's end, and the file
// the plugin process inherits, which the caller closes after the start.
func SocketPair(name string) (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make the %s socket pair: %w", name, err)
	}
	theirs := os.NewFile(uintptr(fds[1]), name)
	ours, err := FileConn(os.NewFile(uintptr(fds[0]), name))
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

// FileConn turns an inherited descriptor into a connection and closes f.
func FileConn(f *os.File) (*net.UnixConn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("use %s as a socket: %w", f.Name(), err)
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("use %s as a socket: it is a %s", f.Name(), c.LocalAddr().Network())
	}
	return u, nil
}

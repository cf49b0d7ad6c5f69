package guest

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
)

// Disk is a disk with a cache of its own that loses power: what the guest wrote and did not
// flush is, after Cut, there or not there, each block by chance, as with a real one. It lies
// over an image file, which is not changed, and is kept in memory.
//
// It speaks NBD (the protocol's proto.md, fixed newstyle) to one client after the other.
type Disk struct {
	listener net.Listener
	base     *os.File
	size     int64
	serving  sync.WaitGroup

	mu      sync.Mutex
	conn    net.Conn
	kept    map[int64][]byte // blocks that were flushed, by number
	pending map[int64][]byte // and those that were not
}

const (
	block   = 4096
	maxIO   = 32 << 20 // bytes of one request, as the protocol's default
	maxName = 4096     // bytes of an option
)

// NewDisk serves an image at a unix socket until Close.
func NewDisk(image, socket string) (*Disk, error) {
	base, err := os.Open(image)
	if err != nil {
		return nil, err
	}
	info, err := base.Stat()
	if err != nil {
		return nil, errors.Join(err, base.Close())
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, errors.Join(err, base.Close())
	}
	d := &Disk{listener: l, base: base, size: info.Size() / block * block, kept: map[int64][]byte{}, pending: map[int64][]byte{}}
	d.serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			d.mu.Lock()
			d.conn = c
			d.mu.Unlock()
			d.serve(c) // an error ends the guest's disk, which the guest tells
			c.Close()
		}
	})
	return d, nil
}

// Close ends it. It waits until nothing more is served.
func (d *Disk) Close() error {
	err := d.listener.Close()
	d.mu.Lock()
	if d.conn != nil {
		d.conn.Close()
	}
	d.mu.Unlock()
	d.serving.Wait()
	return errors.Join(err, d.base.Close())
}

// Cut is a power failure. It says how many blocks were written and not flushed, and how many
// of them are lost; who is to lose which is decided by the seed.
func (d *Disk) Cut(seed uint64) (pending, lost int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	chance := rand.New(rand.NewPCG(seed, 0))
	for _, n := range slices.Sorted(maps.Keys(d.pending)) {
		pending++
		if chance.IntN(2) == 0 {
			lost++
			continue
		}
		d.kept[n] = d.pending[n]
	}
	clear(d.pending)
	return pending, lost
}

// The numbers of the protocol that are used here.
const (
	nbdMagic      = 0x4e42444d41474943 // NBDMAGIC
	nbdOption     = 0x49484156454f5054 // IHAVEOPT
	nbdAnswer     = 0x0003e889045565a9
	nbdRequest    = 0x25609513
	nbdReply      = 0x67446698
	optExport     = 1
	optAbort      = 2
	optInfo       = 6
	optGo         = 7
	repAck        = 1
	repInfo       = 3
	repUnknown    = 1<<31 | 1
	exportFlags   = 1 | 1<<2 // it has flags, and can be flushed
	cmdRead       = 0
	cmdWrite      = 1
	cmdDisconnect = 2
	cmdFlush      = 3
	wrongArgument = 22
)

func (d *Disk) serve(c net.Conn) error {
	r, w := bufio.NewReaderSize(c, 1<<16), bufio.NewWriterSize(c, 1<<16)
	put := func(values ...any) (err error) {
		for _, v := range values {
			err = errors.Join(err, binary.Write(w, binary.BigEndian, v))
		}
		return err
	}
	var flags uint32
	if err := errors.Join(put(uint64(nbdMagic), uint64(nbdOption), uint16(1|2)), w.Flush(), binary.Read(r, binary.BigEndian, &flags)); err != nil {
		return err
	}
	for chosen := false; !chosen; {
		var o struct {
			Magic        uint64
			Option, Size uint32
		}
		if err := binary.Read(r, binary.BigEndian, &o); err != nil {
			return err
		}
		if o.Magic != nbdOption || o.Size > maxName {
			return fmt.Errorf("read an NBD option: magic %x, %d bytes", o.Magic, o.Size)
		}
		if _, err := r.Discard(int(o.Size)); err != nil {
			return err
		}
		answer := func(kind uint32, size int) error { return put(uint64(nbdAnswer), o.Option, kind, uint32(size)) }
		var err error
		switch o.Option {
		case optExport:
			chosen, err = true, put(uint64(d.size), uint16(exportFlags)) // no zeroes were agreed
		case optInfo, optGo:
			chosen = o.Option == optGo
			err = errors.Join(answer(repInfo, 12), put(uint16(0), uint64(d.size), uint16(exportFlags)), answer(repAck, 0))
		case optAbort:
			return errors.Join(answer(repAck, 0), w.Flush())
		default:
			err = answer(repUnknown, 0)
		}
		if err := errors.Join(err, w.Flush()); err != nil {
			return err
		}
	}
	for {
		var q struct {
			Magic       uint32
			Flags, Kind uint16
			Cookie      uint64
			Offset      uint64
			Size        uint32
		}
		if err := binary.Read(r, binary.BigEndian, &q); err != nil {
			return err
		}
		if q.Magic != nbdRequest || q.Size > maxIO {
			return fmt.Errorf("read an NBD request: magic %x, %d bytes", q.Magic, q.Size)
		}
		var data []byte
		if q.Kind == cmdWrite {
			data = make([]byte, q.Size)
			if _, err := io.ReadFull(r, data); err != nil {
				return err
			}
		}
		var result uint32
		outside := q.Offset > uint64(d.size) || uint64(q.Size) > uint64(d.size)-q.Offset
		switch {
		case q.Kind == cmdDisconnect:
			return nil
		case q.Kind == cmdFlush:
			d.flush()
		case q.Kind == cmdRead && !outside:
			data = make([]byte, q.Size)
			if err := d.read(data, int64(q.Offset)); err != nil {
				return err
			}
		case q.Kind == cmdWrite && !outside:
			if err := d.write(data, int64(q.Offset)); err != nil {
				return err
			}
			data = nil
		default:
			result, data = wrongArgument, nil
		}
		if err := put(uint32(nbdReply), result, q.Cookie); err != nil {
			return err
		}
		if _, err := w.Write(data); err != nil {
			return err
		}
		if r.Buffered() == 0 {
			if err := w.Flush(); err != nil {
				return err
			}
		}
	}
}

// blocks calls f for each block that b, at offset, lies in: which part of b is in it, and where
// that part begins in the block.
func blocks(b []byte, offset int64, f func(n int64, part []byte, at int64) error) error {
	for len(b) > 0 {
		at := offset % block
		size := min(int64(len(b)), block-at)
		if err := f(offset/block, b[:size], at); err != nil {
			return err
		}
		b, offset = b[size:], offset+size
	}
	return nil
}

// content is a block as the guest sees it. The caller does not change it.
func (d *Disk) content(n int64) ([]byte, error) {
	for _, layer := range []map[int64][]byte{d.pending, d.kept} {
		if b := layer[n]; b != nil {
			return b, nil
		}
	}
	b := make([]byte, block)
	_, err := d.base.ReadAt(b, n*block)
	return b, err
}

func (d *Disk) read(b []byte, offset int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return blocks(b, offset, func(n int64, part []byte, at int64) error {
		have, err := d.content(n)
		copy(part, have[at:])
		return err
	})
}

func (d *Disk) write(b []byte, offset int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return blocks(b, offset, func(n int64, part []byte, at int64) error {
		next := d.pending[n]
		if next == nil {
			have, err := d.content(n)
			if err != nil {
				return err
			}
			next = slices.Clone(have)
			d.pending[n] = next
		}
		copy(next[at:], part)
		return nil
	})
}

func (d *Disk) flush() {
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.Copy(d.kept, d.pending)
	clear(d.pending)
}

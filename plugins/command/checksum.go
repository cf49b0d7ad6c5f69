package command

import "bytes"

// checksum says how frames are checked. The zero value is no checksum.
type checksum struct {
	kind string // "sum8_hex", "sum8" or "fcs16"
	skip int    // bytes at the frame's beginning that it leaves out
}

func (c checksum) size() int {
	switch c.kind {
	case "sum8_hex", "fcs16":
		return 2
	case "sum8":
		return 1
	}
	return 0
}

// of appends the checksum of content to b.
func (c checksum) of(b, content []byte) []byte {
	over := content[min(c.skip, len(content)):]
	switch c.kind {
	case "sum8_hex":
		const digits = "0123456789ABCDEF"
		n := sum8(over)
		return append(b, digits[n>>4], digits[n&15])
	case "sum8":
		return append(b, sum8(over))
	case "fcs16":
		n := fcs16(over)
		return append(b, byte(n), byte(n>>8))
	}
	return b
}

// take cuts the checksum off. It is not ok if it is wrong, or there is none.
func (c checksum) take(b []byte) (content []byte, ok bool) {
	n := len(b) - c.size()
	if n < 0 {
		return b, false
	}
	var sum [2]byte
	return b[:n], bytes.Equal(c.of(sum[:0], b[:n]), b[n:])
}

func sum8(b []byte) (sum byte) {
	for _, c := range b {
		sum += c
	}
	return sum
}

// fcs16 is the frame check sequence of RFC 1662 C.2, sent low byte first.
func fcs16(b []byte) uint16 {
	fcs := uint16(0xffff)
	for _, c := range b {
		fcs ^= uint16(c)
		for range 8 {
			fcs = fcs>>1 ^ 0x8408&-(fcs&1)
		}
	}
	return ^fcs
}

package astm

// Transmission control characters (E1381 6).
const (
	stx = 0x02
	etx = 0x03
	eot = 0x04
	enq = 0x05
	ack = 0x06
	lf  = 0x0a
	cr  = 0x0d
	nak = 0x15
	etb = 0x17
)

// restricted are the control characters that no text contains (E1381 6.6), LF excepted,
// with which some devices end records: bit c for character c.
const restricted = 1<<0x01 | 1<<stx | 1<<etx | 1<<eot | 1<<enq | 1<<ack |
	1<<0x10 | 1<<0x11 | 1<<0x12 | 1<<0x13 | 1<<0x14 | 1<<nak | 1<<0x16 | 1<<etb

// frame is what is between STX and the end:
//
//	STX FN text (ETX | ETB) C1 C2 CR LF
type frame struct {
	number byte // FN, '0' to '7'
	text   []byte
	last   bool // ETX: the message's part ends here, and not in the middle of a record
	size   int  // bytes of all of it

	lowerHex bool
	wrong    string // it came broken, and may be sent again
}

// cutFrame takes a frame from the beginning of b, which is an STX. Up to seen it was looked
// at before. With size 0 it is not complete; seen is how far it was looked at now. broken is
// what leaves nobody certain where it ends.
func (set *settings) cutFrame(b []byte, seen int) (f frame, now int, broken string) {
	i := max(seen, 1)
	for ; i < len(b); i++ {
		if c := b[i]; c < 0x20 && restricted>>c&1 != 0 {
			break
		}
		if i > 1+set.maxFrame {
			return f, i, "frame that is too long"
		}
	}
	if i == len(b) {
		return f, i, ""
	}
	if b[i] != etx && b[i] != etb {
		return f, i, "control character in a frame"
	}
	end := i + 3
	if set.frameEnd == "crlf" {
		for k := end; k < len(b) && k < end+2; k++ {
			if b[k] != "\r\n"[k-end] {
				return f, i, "no CR LF behind a checksum"
			}
		}
		end += 2
	}
	if len(b) < end {
		return f, i, ""
	}
	f = frame{last: b[i] == etx, size: end}
	sum := byte(0)
	for _, c := range b[1 : i+1] {
		sum += c
	}
	high, highLower := digit(b[i+1])
	low, lowLower := digit(b[i+2])
	f.lowerHex = highLower || lowLower
	switch {
	case high > 15 || low > 15 || high<<4|low != sum:
		f.wrong = "checksum is wrong"
	case i < 2 || b[1] < '0' || b[1] > '7':
		f.wrong = "no frame number"
	case i == 2:
		f.wrong = "frame without text"
	default:
		f.number, f.text = b[1], b[2:i]
	}
	return f, i, ""
}

// digit is the value of a hexadecimal digit, above 15 if it is none.
func digit(c byte) (value byte, lower bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', false
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, false
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	}
	return 16, false
}

// after is the number of the frame behind one of that number (E1381 6.3.2).
func after(number byte) byte { return '0' + (number-'0'+1)%8 }

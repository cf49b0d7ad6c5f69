package audit

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// A decision code is an entry's index, written so that it can be read over a telephone:
// digits and consonants only, without the letters taken for digits (I, L, O), for
// another letter (U), or for words (the vowels). Five characters serve the first 24.3
// million entries, six the next 729 million, and so on.
const (
	codeAlphabet = "0123456789BCDFGHJKMNPQRSTVWXYZ"
	codeBase     = uint64(len(codeAlphabet))
	codeMin      = 5  // characters without the dash
	codeMax      = 12 // 5·10^17 entries, beyond what any log reaches
	codeRounds   = 6
)

// codes turns indices into codes and back. The order is a keyed permutation of all
// indices of one length, so that codes collide never, tell nobody how many entries
// there are, and need no table. Not for concurrent use.
type codes struct {
	block   cipher.Block
	scratch [aes.BlockSize]byte
}

// newCodes takes the content of the codes.key file.
func newCodes(key []byte) (*codes, error) {
	raw, err := hex.DecodeString(strings.TrimSuffix(string(key), "\n"))
	if err != nil || len(raw) != 16 || string(key) != formatCodeKey(raw) {
		return nil, errors.New("it is not 32 lower-case hexadecimal digits and a newline")
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return nil, err
	}
	return &codes{block: block}, nil
}

func formatCodeKey(raw []byte) string { return hex.EncodeToString(raw) + "\n" }

// code returns the code of index, which is ≥ 0.
func (c *codes) code(index int64) string {
	x, n := uint64(index), codeMin
	size := power(codeMin)
	for ; x >= size && n < codeMax; n++ {
		x -= size
		size *= codeBase
	}
	high, low := halves(n)
	l, r := x/low%high, x%low
	for i := range codeRounds {
		if i%2 == 0 {
			l = wrap(l+c.mix(i, n, r)%high, high)
		} else {
			r = wrap(r+c.mix(i, n, l)%low, low)
		}
	}
	var text [codeMax + 1]byte
	cut := n - n/2
	for i := cut - 1; i >= 0; i-- {
		text[i] = codeAlphabet[l%codeBase]
		l /= codeBase
	}
	text[cut] = '-'
	for i := n; i > cut; i-- {
		text[i] = codeAlphabet[r%codeBase]
		r /= codeBase
	}
	return string(text[:n+1])
}

// index returns the index whose code text is. It forgives case, spaces, dashes, and
// the letters O, I and L for the digits they look like.
func (c *codes) index(text string) (int64, error) {
	var digits [codeMax]uint64
	n := 0
	for _, r := range strings.ToUpper(text) {
		switch r {
		case ' ', '-', '\t':
			continue
		case 'O':
			r = '0'
		case 'I', 'L':
			r = '1'
		}
		d := strings.IndexRune(codeAlphabet, r)
		if d < 0 {
			return 0, fmt.Errorf("decision code %.20q: no code holds %q; codes look like 7QF-21", text, r)
		}
		if n == codeMax {
			return 0, fmt.Errorf("decision code %.20q: longer than any code; codes look like 7QF-21", text)
		}
		digits[n] = uint64(d)
		n++
	}
	if n < codeMin {
		return 0, fmt.Errorf("decision code %.20q: shorter than any code; codes look like 7QF-21", text)
	}
	high, low := halves(n)
	var l, r uint64
	for i, d := range digits[:n] {
		if i < n-n/2 {
			l = l*codeBase + d
		} else {
			r = r*codeBase + d
		}
	}
	for i := codeRounds - 1; i >= 0; i-- {
		if i%2 == 0 {
			l = wrap(l+high-c.mix(i, n, r)%high, high)
		} else {
			r = wrap(r+low-c.mix(i, n, l)%low, low)
		}
	}
	x := l*low + r
	for k := codeMin; k < n; k++ {
		x += power(k)
	}
	return int64(x), nil
}

// mix is the round function: AES of round, length and the other half.
func (c *codes) mix(round, n int, half uint64) uint64 {
	c.scratch = [aes.BlockSize]byte{byte(round), byte(n)}
	binary.LittleEndian.PutUint64(c.scratch[8:], half)
	c.block.Encrypt(c.scratch[:], c.scratch[:])
	return binary.LittleEndian.Uint64(c.scratch[:])
}

// wrap is x mod m for x < 2m.
func wrap(x, m uint64) uint64 {
	if x >= m {
		return x - m
	}
	return x
}

// halves returns how many values the characters before and after the dash have.
func halves(n int) (high, low uint64) { return power(n - n/2), power(n / 2) }

func power(n int) uint64 {
	p := uint64(1)
	for range n {
		p *= codeBase
	}
	return p
}

// Package envelope is the codes that lie in sealed envelopes for the night on which nobody can get a
// certificate: some of them together open a device, each once. It keeps hashes, counts wrong tries and makes
// a guesser wait. It does not know what is opened, and cannot tell a thief with the envelopes from a nurse.
package envelope

import (
	"bytes"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"cordon/cmd/cordon/disk"
	"cordon/cmd/cordon/exit"
)

// File is where the hashes of the sealed codes are kept, in gateway.state.
const File = "access/codes.json"

// Bounds of sealed codes. A code has 73 bits of chance in it, which nobody guesses; what slows a
// guesser down is for the log to be read meanwhile.
const (
	codeLength  = 15
	maxCodes    = 20
	slow        = 100_000 // rounds of PBKDF2 (RFC 8018) with HMAC-SHA256
	maxFile     = 64 << 10
	FreeTries   = 3
	LongestWait = time.Minute
)

// codeAlphabet is that of decision codes: nothing in it is taken for another over a telephone.
const codeAlphabet = "0123456789BCDFGHJKMNPQRSTVWXYZ"

// Set is a set of one-time codes that lie in envelopes, of which some together open a device
// when nobody can get a certificate.
type Set struct {
	Schema string       `json:"schema"`
	Made   time.Time    `json:"made"`
	By     string       `json:"by"`
	Need   int          `json:"need"` // how many together
	Salt   []byte       `json:"salt"`
	Codes  []sealedCode `json:"codes"`
	Wrong  int          `json:"wrong"`         // tries in a row
	Last   time.Time    `json:"last,omitzero"` // of them
}

type sealedCode struct {
	Hash []byte    `json:"hash"`
	Used time.Time `json:"used,omitzero"`
}

const schema = "cordon.codes/v1"

// Seal makes n codes, need of which open a device together. Only whoever sees codes now ever will.
func Seal(n, need int, by string, now time.Time) (set *Set, codes []string, err error) {
	if n < 1 || n > maxCodes || need < 1 || need > n {
		return nil, nil, fmt.Errorf("%d codes of which %d are needed: want 1 to %d, and no more needed than there are", n, need, maxCodes)
	}
	set = &Set{Schema: schema, Made: now.UTC().Truncate(time.Second), By: by, Need: need, Salt: make([]byte, 16)}
	rand.Read(set.Salt)
	for range n {
		code := Random(codeLength)
		hash, err := set.hash(code)
		if err != nil {
			return nil, nil, err
		}
		set.Codes = append(set.Codes, sealedCode{Hash: hash})
		codes = append(codes, code[:5]+"-"+code[5:10]+"-"+code[10:])
	}
	return set, codes, nil
}

// Random draws every symbol with the same chance.
func Random(length int) string {
	var code []byte
	for one := make([]byte, 1); len(code) < length; {
		rand.Read(one)
		if i := int(one[0]); i < 256/len(codeAlphabet)*len(codeAlphabet) {
			code = append(code, codeAlphabet[i%len(codeAlphabet)])
		}
	}
	return string(code)
}

// readCode makes one form of what a person types: dashes, spaces and case do not matter, nor
// letters that are none but look like digits.
func readCode(typed string) string {
	return strings.NewReplacer("-", "", " ", "", "\t", "", "O", "0", "I", "1", "L", "1").Replace(strings.ToUpper(typed))
}

func (s *Set) hash(code string) ([]byte, error) {
	return pbkdf2.Key(sha256.New, code, s.Salt, slow, sha256.Size)
}

// Why codes open nothing. Which of them was right is not told.
var (
	ErrNone  = errors.New("there are no sealed codes")
	errCodes = errors.New("these are not enough different codes that are right and were not used")
)

// Spend uses the codes that a person gives, if they are enough: each is good once. It returns
// which. The caller keeps s, whatever comes of it.
func (s *Set) Spend(codes []string, now time.Time) (numbers []int, err error) {
	if wait := s.wait(now); wait > 0 {
		return nil, exit.Error{Code: "break_glass.wait", Message: fmt.Sprintf("%d tries in a row were wrong", s.Wrong), Exit: exit.Denied, Try: []string{fmt.Sprintf("wait %v, and try again", wait.Round(time.Second))}}
	}
	if len(codes) > maxCodes {
		codes = codes[:maxCodes]
	}
	found := map[int]bool{}
	for _, typed := range codes {
		hash, err := s.hash(readCode(typed))
		if err != nil {
			return nil, err
		}
		for i := range s.Codes { // all of them, however the first compares
			if subtle.ConstantTimeCompare(hash, s.Codes[i].Hash) == 1 && s.Codes[i].Used.IsZero() {
				found[i] = true
			}
		}
	}
	if len(found) < s.Need {
		s.Wrong, s.Last = s.Wrong+1, now.UTC().Truncate(time.Second)
		return nil, exit.Error{Code: "break_glass.codes", Message: fmt.Sprintf("%v: it takes %d", errCodes, s.Need), Exit: exit.Denied, Err: errCodes, Try: []string{"read them again; each is good once"}}
	}
	for i := range s.Codes {
		if found[i] && len(numbers) < s.Need {
			s.Codes[i].Used = now.UTC().Truncate(time.Second)
			numbers = append(numbers, i+1)
		}
	}
	s.Wrong, s.Last = 0, time.Time{}
	return numbers, nil
}

// wait is how long nobody is listened to yet. A clock that was set back ends it.
func (s *Set) wait(now time.Time) time.Duration {
	since := now.Sub(s.Last)
	if s.Wrong < FreeTries || since < 0 {
		return 0
	}
	return max(0, min(time.Second<<min(s.Wrong-FreeTries, 10), LongestWait)-since)
}

// Unused is how many codes are left.
func (s *Set) Unused() (n int) {
	for i := range s.Codes {
		if s.Codes[i].Used.IsZero() {
			n++
		}
	}
	return n
}

// Name is how a proof names codes: "sealed codes 2, 5 of 2026-11-22T12:00:00Z".
func (s *Set) Name(numbers []int) string {
	var words []string
	for _, n := range numbers {
		words = append(words, strconv.Itoa(n))
	}
	return "sealed codes " + strings.Join(words, ", ") + " of " + s.Made.UTC().Format(time.RFC3339)
}

// Read reads what write kept; there being none is ErrNone.
func Read(state string) (*Set, error) {
	path := filepath.Join(state, File)
	text, err := disk.Read(path, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNone
	}
	if err != nil {
		return nil, err
	}
	s, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", path, err)
	}
	return s, nil
}

// Parse reads the content of such a file.
func Parse(text []byte) (*Set, error) {
	s := &Set{}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(s); err != nil {
		return nil, err
	}
	if s.Schema != schema || s.Need < 1 || s.Need > len(s.Codes) || len(s.Codes) > maxCodes || len(s.Salt) != 16 {
		return nil, errors.New("no set of sealed codes")
	}
	return s, nil
}

// Write keeps s; when it returns, it is durable.
func (s *Set) Write(state string) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	dir := filepath.Dir(filepath.Join(state, File))
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return disk.Write(filepath.Join(state, File), append(text, '\n'), 0o600)
}

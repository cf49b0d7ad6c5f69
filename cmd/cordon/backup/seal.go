package backup

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
)

// Only this file knows age.

// Recipients are those for whom a backup is sealed: holders of keys, or whoever knows a
// passphrase.
type Recipients struct {
	list  []age.Recipient
	Names []string // "age1pq1q5u…", shortened, or "a passphrase"
}

// Identities open backups.
type Identities struct{ list []age.Identity }

// MinPassphrase is how many characters a passphrase has at least: whoever has the file may guess
// for as long as they like.
const MinPassphrase = 12

// workFactor is the base-2 logarithm of scrypt's N (RFC 7914): 256 MiB and about a second. A file
// that wants more of its reader is refused.
const workFactor = 18

// ErrKey says that a backup was sealed for others.
var ErrKey = errors.New("it was sealed for another key or passphrase")

// ParseRecipients reads public keys, one to a line; empty lines and those that begin with # do
// not count.
func ParseRecipients(r io.Reader) (Recipients, error) {
	text, err := readLimited(r, maxHeader)
	if err != nil {
		return Recipients{}, fmt.Errorf("read recipients: %w", err)
	}
	list, err := age.ParseRecipients(strings.NewReader(string(text)))
	if err != nil {
		return Recipients{}, fmt.Errorf("read recipients: %w; one begins with age1", err)
	}
	to := Recipients{list: list}
	for _, r := range list {
		name := fmt.Sprint(r)
		if len(name) > 20 {
			name = name[:20] + "…"
		}
		to.Names = append(to.Names, name)
	}
	return to, nil
}

// PassphraseRecipient seals for whoever knows text.
func PassphraseRecipient(text string) (Recipients, error) {
	if len([]rune(text)) < MinPassphrase {
		return Recipients{}, fmt.Errorf("the passphrase has fewer than %d characters", MinPassphrase)
	}
	r, err := age.NewScryptRecipient(text)
	if err != nil {
		return Recipients{}, err
	}
	r.SetWorkFactor(workFactor)
	return Recipients{[]age.Recipient{r}, []string{"a passphrase"}}, nil
}

// ParseIdentities reads a file of private keys as age-keygen and NewIdentity write it.
func ParseIdentities(r io.Reader) (Identities, error) {
	text, err := readLimited(r, maxHeader)
	if err != nil {
		return Identities{}, fmt.Errorf("read private keys: %w", err)
	}
	list, err := age.ParseIdentities(strings.NewReader(string(text)))
	if err != nil {
		return Identities{}, errors.New("read private keys: not a file that cordon backup keygen or age-keygen made") // age's words may quote the key
	}
	return Identities{list}, nil
}

// PassphraseIdentity opens what PassphraseRecipient has sealed.
func PassphraseIdentity(text string) (Identities, error) {
	id, err := age.NewScryptIdentity(text)
	if err != nil {
		return Identities{}, err
	}
	id.SetMaxWorkFactor(workFactor)
	return Identities{[]age.Identity{id}}, nil
}

// NewIdentity makes a key: the private half as a file for ParseIdentities, the public one as a
// line for ParseRecipients. It is age's hybrid of ML-KEM-768 (FIPS 203) and X25519, because a backup that
// somebody copies today is worth opening in ten years.
func NewIdentity() (private, public string, err error) {
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		return "", "", fmt.Errorf("make a key: %w", err)
	}
	return id.String() + "\n", id.Recipient().String() + "\n", nil
}

// seal encrypts to w what is written; Close completes it.
func (to Recipients) seal(w io.Writer) (io.WriteCloser, error) { return age.Encrypt(w, to.list...) }

// open decrypts what seal wrote.
func (with Identities) open(r io.Reader) (io.Reader, error) {
	plain, err := age.Decrypt(r, with.list...)
	if _, none := errors.AsType[*age.NoIdentityMatchError](err); none {
		return nil, ErrKey
	}
	return plain, err
}

func readLimited(r io.Reader, limit int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("more than %d bytes", limit)
	}
	return text, err
}

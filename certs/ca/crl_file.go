package ca

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/big"
	"os"
	"slices"
	"time"

	"cordon/certs"
)

// maxLists bounds the file of lists, in bytes: some 200,000 revocations. To read so much takes a quarter of
// the second within which a revocation ends sessions, and for that long 200 MB; see BenchmarkLists.
const maxLists = 8 << 20

// listFile is the file with what foreign authorities have revoked.
type listFile struct {
	watched
	refused fs.FileInfo // as it was when last refused
	at      time.Time   // that
	fault   error
}

// refusedAgain is how often a file that was refused is read again although it has not changed: a
// list that is not valid yet may be by now.
const refusedAgain = 10 * time.Second

// again has the file read at the next look, whatever it is.
func (f *listFile) again() { f.seen, f.refused = nil, nil }

// list is what one authority has revoked, as of its last word.
type list struct {
	issuer     []byte // its name in DER, as in what it issues
	number     *big.Int
	thisUpdate time.Time
	nextUpdate time.Time
	digest     [sha256.Size]byte
	revoked    map[string]bool // serial numbers, big-endian
	gone       bool            // it is not in the file any more
	raw        []byte          // it, until it is kept; trust.mu is held
}

func (l *list) revokes(c *x509.Certificate) bool {
	return l.revoked[string(c.SerialNumber.Bytes())] && bytes.Equal(l.issuer, c.RawIssuer)
}

// listsByKey are the lists by who signed them.
type listsByKey map[signer]*list

// signers are always in the same order: of two faults the same one is told, and so once.
func (all listsByKey) signers() []signer {
	return slices.SortedFunc(maps.Keys(all), func(a, b signer) int { return bytes.Compare(a[:], b[:]) })
}

// over counts those that do not count any more.
func (all listsByKey) over(now time.Time) (n int) {
	for _, l := range all {
		if now.After(l.nextUpdate) {
			n++
		}
	}
	return n
}

// followLists takes the lists of foreign authorities into k if the file holds others than the ones known.
func (t *trust) followLists(k *knowledge) (anew bool, err error) {
	f := &t.lists
	if f.path == "" {
		return false, nil
	}
	if info, err := os.Stat(f.path); err == nil && f.refused != nil && unchanged(f.refused, info) && time.Since(f.at) < refusedAgain {
		return false, f.fault
	}
	text, info, err := f.read()
	if text == nil && err == nil {
		f.fault = nil
		return false, nil
	}
	var next listsByKey
	if err == nil {
		next, err = k.authorities.parseLists(text, time.Now())
	}
	if err == nil {
		err = t.kept.admit(next, k.lists)
	}
	if err != nil {
		f.refused, f.at, f.fault = info, time.Now(), fmt.Errorf("read revocation lists %q: %w: what was known stays in use", f.path, causeOf(err))
		return false, f.fault
	}
	for by, l := range k.lists {
		if _, still := next[by]; !still && k.authorities.know(by) {
			left := *l
			left.gone = true
			next[by] = &left
		}
	}
	anew = !maps.EqualFunc(k.lists, next, func(a, b *list) bool { return a.digest == b.digest && a.gone == b.gone })
	k.lists, f.seen, f.fault = next, info, nil
	return anew, nil
}

// olderThan says so, of two lists of one authority: by its number and by its time (RFC 5280, section 5.2.3 and 5.1.2.4).
func (l *list) olderThan(was *list) error {
	switch {
	case was.number != nil && (l.number == nil || l.number.Cmp(was.number) < 0):
		return fmt.Errorf("the list of %s has number %v, older than %v, the one known", nameOf(l.issuer), l.number, was.number)
	case l.thisUpdate.Before(was.thisUpdate):
		return fmt.Errorf("the list of %s is of %s, older than of %s, the one known", nameOf(l.issuer), stamp(l.thisUpdate), stamp(was.thisUpdate))
	}
	return nil
}

// parseLists reads whole lists in PEM, or one in DER, each signed by one of the authorities. All of
// a file counts or none: half of it would be believed for the whole.
func (as authorities) parseLists(text []byte, now time.Time) (listsByKey, error) {
	if len(text) > maxLists {
		return nil, fmt.Errorf("more than %d bytes", maxLists)
	}
	all := listsByKey{}
	add := func(n int, der []byte) error {
		by, l, err := as.parseList(der, now)
		if err == nil && all[by] != nil {
			err = fmt.Errorf("a second one of %s", nameOf(l.issuer))
		}
		if err != nil {
			return fmt.Errorf("list %d: %w", n, err)
		}
		all[by] = l
		return nil
	}
	if text[0] == 0x30 { // the tag of a SEQUENCE, and no PEM begins with a digit
		return all, add(1, text)
	}
	begun := bytes.Count(text, []byte("-----BEGIN"))
	for n := 1; ; n++ {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		if block.Type != crlType {
			return nil, fmt.Errorf("block %d is a %.40q, want %s", n, block.Type, crlType)
		}
		if err := add(n, block.Bytes); err != nil {
			return nil, err
		}
		text = rest
	}
	if begun == 0 { // the page of a server that had no list, as like as not
		return nil, fmt.Errorf("it begins with %.40q, and is no list: want PEM (%s), or one list in DER", bytes.TrimSpace(text), crlType)
	}
	// A block that is cut is no block to the decoder.
	if len(all) == 0 || len(all) != begun || len(bytes.TrimSpace(text)) > 0 {
		return nil, fmt.Errorf("%d whole PEM blocks of %d, and %d bytes behind: want lists (%s) and nothing after them", len(all), begun, len(bytes.TrimSpace(text)), crlType)
	}
	return all, nil
}

func (as authorities) parseList(der []byte, now time.Time) (signer, *list, error) {
	parsed, err := x509.ParseRevocationList(der)
	if err != nil {
		return signer{}, nil, err
	}
	if len(parsed.Raw) != len(der) {
		return signer{}, nil, fmt.Errorf("%d bytes behind it", len(der)-len(parsed.Raw))
	}
	by, err := as.signed(parsed)
	if err == nil {
		err = checkList(parsed, now)
	}
	if err != nil {
		return signer{}, nil, fmt.Errorf("of %s: %w", nameOf(parsed.RawIssuer), err)
	}
	l := &list{issuer: bytes.Clone(parsed.RawIssuer), number: parsed.Number, thisUpdate: parsed.ThisUpdate, nextUpdate: parsed.NextUpdate,
		digest: sha256.Sum256(parsed.Raw), raw: parsed.Raw, revoked: make(map[string]bool, len(parsed.RevokedCertificateEntries))}
	for _, e := range parsed.RevokedCertificateEntries { // whatever the reason: what is on hold is not good now
		l.revoked[string(e.SerialNumber.Bytes())] = true
	}
	return by, l, nil
}

// Extensions that change what a list means (RFC 5280, section 5.2 and 5.3).
var (
	oidKeyID       = asn1.ObjectIdentifier{2, 5, 29, 35}
	oidNumber      = asn1.ObjectIdentifier{2, 5, 29, 20}
	oidDelta       = asn1.ObjectIdentifier{2, 5, 29, 27}
	oidPart        = asn1.ObjectIdentifier{2, 5, 29, 28} // issuing distribution point
	oidEntryIssuer = asn1.ObjectIdentifier{2, 5, 29, 29}
)

// checkList refuses a list that does not say of every certificate of its issuer whether it is revoked. One
// that is over is none of those: what it revokes stays revoked.
func checkList(l *x509.RevocationList, now time.Time) error {
	switch {
	case l.SignatureAlgorithm == x509.SHA1WithRSA || l.SignatureAlgorithm == x509.ECDSAWithSHA1:
		return fmt.Errorf("signed with %s: want SHA-256 or better", l.SignatureAlgorithm)
	case l.ThisUpdate.After(now.Add(certs.StatementSkew)):
		return fmt.Errorf("it is of %s, which is to come", stamp(l.ThisUpdate))
	case l.NextUpdate.IsZero():
		return errors.New("it does not say when the next one comes (nextUpdate; RFC 5280, section 5.1.2.5)")
	case l.NextUpdate.Before(l.ThisUpdate):
		return fmt.Errorf("it ends %s, before it begins", stamp(l.NextUpdate))
	}
	for _, e := range l.Extensions {
		switch {
		case e.Id.Equal(oidDelta):
			return errors.New("a delta list, which tells changes only: want the complete list")
		case e.Id.Equal(oidPart):
			return errors.New("a partial or indirect list (issuing distribution point): want one that holds all that this authority has revoked")
		case e.Critical && !e.Id.Equal(oidKeyID) && !e.Id.Equal(oidNumber):
			return fmt.Errorf("unknown critical extension %s", e.Id)
		}
	}
	for _, entry := range l.RevokedCertificateEntries {
		for _, e := range entry.Extensions {
			switch {
			case e.Id.Equal(oidEntryIssuer):
				return errors.New("an indirect list, with certificates of other issuers: want a list of each issuer")
			case e.Critical:
				return fmt.Errorf("unknown critical extension %s of serial %s", e.Id, certs.Serial(entry.SerialNumber))
			}
		}
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

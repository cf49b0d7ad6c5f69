package ca

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cordon/certs"
)

// TestBadLists puts everything in the place of good lists that is not newer ones: those known stay in force, also
// for a process that is started then, and one line is reported.
func TestBadLists(t *testing.T) {
	h := newClinic(t, "St Elsewhere", nil)
	other := newClinic(t, "Elsewhere General", nil)
	namesake := newClinic(t, "St Elsewhere", nil) // of the name, not of the key
	mute := newClinicWith(t, "Mute", nil, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign })
	stranger := newClinic(t, "Nobody", nil)
	stolen, good := h.badge(t, "dr.kim"), h.badge(t, "dr.abe")

	early := h.list(t, nil)
	known := listPEM(h.list(t, nil, stolen.Leaf), other.list(t, nil))
	with := func(change func(*x509.RevocationList)) []byte {
		return listPEM(h.list(t, change), other.list(t, nil))
	}
	extension := func(critical bool, last int, value string) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, last}, Critical: critical, Value: []byte(value)}}
		}
	}
	entry := func(e pkix.Extension) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) {
			l.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: big.NewInt(9), RevocationTime: time.Now(), ExtraExtensions: []pkix.Extension{e}}}
		}
	}
	flipped := h.list(t, nil)
	flipped[len(flipped)-1] ^= 1
	forged := func() []byte {
		l := &x509.RevocationList{Number: big.NewInt(100), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour)}
		issuer := *namesake.cert
		issuer.SubjectKeyId = h.cert.SubjectKeyId
		der, err := x509.CreateRevocationList(nil, l, &issuer, namesake.key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}()
	whole := listPEM(h.list(t, nil), other.list(t, nil))
	cutInFront := append(bytes.Clone(whole[:200]), '\n')
	cutInFront = append(cutInFront, listPEM(other.list(t, nil))...)

	g := newGate(t, certPEM(raws(h, other, mute)...), known)
	epoch, restarts := g.Epoch(), uint64(0)
	for _, c := range []struct {
		name string
		text []byte
		want string
	}{
		{"empty", nil, "empty"},
		{"blank", []byte("\n"), "it begins with \"\", and is no list"},
		{"garbage", []byte("no list"), "it begins with \"no list\", and is no list"},
		{"a page", []byte("\n<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title>"), `it begins with "<!DOCTYPE html>\n<html><head><title>502`},
		{"a certificate", certPEM(h.cert.Raw), "block 1 is a \"CERTIFICATE\""},
		{"cut", whole[:len(whole)-50], "1 whole PEM blocks of 2"},
		{"the first cut", cutInFront, "1 whole PEM blocks of 2"},
		{"something behind", append(bytes.Clone(whole), 'x'), "and 1 bytes behind"},
		{"DER cut", h.list(t, nil)[:60], "list 1: x509: malformed"},
		{"DER with something behind", append(h.list(t, nil), 0), "list 1: 1 bytes behind it"},
		{"of a stranger", listPEM(h.list(t, nil), stranger.list(t, nil)), `list 2: of "Nobody": no authority of that name`},
		{"by another key of that name", listPEM(namesake.list(t, nil)), `list 1: of "St Elsewhere": it is by another key`},
		{"forged", listPEM(forged), `of "St Elsewhere": not signed by the authority`},
		{"one bit off", listPEM(flipped), "not signed by the authority"},
		{"of one who may not", listPEM(listOf(t, mute)), "key usage lacks cRLSign"},
		{"two of one", listPEM(h.list(t, nil), h.list(t, nil)), `list 2: a second one of "St Elsewhere"`},
		{"older by number", listPEM(early, other.list(t, nil)), `the list of "St Elsewhere" has number 1, older than 2`},
		{"older by time", with(func(l *x509.RevocationList) { l.ThisUpdate = l.ThisUpdate.Add(-time.Hour) }), "older than of"},
		{"to come", with(func(l *x509.RevocationList) { l.ThisUpdate = l.ThisUpdate.Add(certs.StatementSkew + time.Minute) }), "which is to come"},
		{"delta", with(extension(true, 27, "\x02\x01\x01")), "list 1: of \"St Elsewhere\": a delta list"},
		{"partial", with(extension(true, 28, "\x30\x03\x81\x01\xff")), "a partial or indirect list"},
		{"partial, said softly", with(extension(false, 28, "\x30\x00")), "a partial or indirect list"},
		{"indirect", with(entry(pkix.Extension{Id: oidEntryIssuer, Critical: true, Value: []byte{0x30, 0}})), "an indirect list"},
		{"indirect, said softly", with(entry(pkix.Extension{Id: oidEntryIssuer, Value: []byte{0x30, 0}})), "an indirect list"},
		{"critical", with(extension(true, 99, "\x05\x00")), "unknown critical extension 2.5.29.99"},
		{"critical of an entry", with(entry(pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 99}, Critical: true, Value: []byte{5, 0}})), "of serial 09"},
		{"too long", append(bytes.Clone(whole), bytes.Repeat([]byte("\n"), maxLists)...), "more than 8388608 bytes"},
	} {
		before := g.log.count("not followed")
		g.put(t, g.crl, c.text)
		for range 3 {
			g.lookNow()
			if err := g.asks(t, stolen); !errors.Is(err, certs.ErrRevoked) {
				t.Errorf("%s: the revocation is forgotten: %v", c.name, err)
			}
			if err := g.asks(t, good); err != nil {
				t.Errorf("%s: another is refused: %v", c.name, err)
			}
		}
		if err := g.Look(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if n := g.log.count("not followed") - before; n != 1 {
			t.Errorf("%s: reported %d times", c.name, n)
		}
		again := g.restarted(t)
		restarts++
		if err := again.asks(t, stolen); !errors.Is(err, certs.ErrRevoked) {
			t.Errorf("%s: the revocation is forgotten by a restart: %v", c.name, err)
		}
		if err := again.asks(t, good); err != nil {
			t.Errorf("%s: after a restart another is refused: %v", c.name, err)
		}
		if told := strings.Join(again.told, "\n"); !strings.HasPrefix(told, "revocation-lists: read revocation lists ") || !strings.Contains(told, c.want) {
			t.Errorf("%s: after a restart, told %q", c.name, told)
		}
		g.put(t, g.crl, known)
		g.Epoch()
	}
	if g.Epoch() != epoch+restarts { // each makes our own list anew
		t.Errorf("epoch %d, was %d: nothing has changed", g.Epoch(), epoch)
	}
	g.put(t, g.crl, listPEM(h.list(t, nil, good.Leaf, stolen.Leaf), other.list(t, nil)))
	if err := g.asks(t, good); !errors.Is(err, certs.ErrRevoked) || g.Look() != nil || g.Epoch() == epoch {
		t.Errorf("a newer list is not followed: %v, %v", err, g.Look())
	}
	if _, err := g.a.Source(t.Context(), SourceConfig{CRLFile: g.crl, Log: g.Source.log}); err == nil {
		t.Error("lists are taken of nobody")
	}
}

// listOf has a list signed by an authority whose certificate does not permit it.
func listOf(t *testing.T, c *clinic) []byte {
	permitted := *c
	permitted.cert = new(x509.Certificate)
	*permitted.cert = *c.cert
	permitted.cert.KeyUsage |= x509.KeyUsageCRLSign
	return permitted.list(t, nil)
}

// What crypto/x509 does not make is refused, too.
func TestCheckList(t *testing.T) {
	now := time.Now()
	good := x509.RevocationList{ThisUpdate: now, NextUpdate: now.Add(time.Hour)}
	if err := checkList(&good, now); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*x509.RevocationList){
		"does not say when the next one comes": func(l *x509.RevocationList) { l.NextUpdate = time.Time{} },
		"before it begins":                     func(l *x509.RevocationList) { l.NextUpdate = now.Add(-time.Hour) },
		"want SHA-256 or better":               func(l *x509.RevocationList) { l.SignatureAlgorithm = x509.SHA1WithRSA },
	} {
		l := good
		change(&l)
		if err := checkList(&l, now); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestListEnds lets a week pass: of a list that is over, whoever it revokes stays revoked and all others are
// refused too, which is told two days before, at the end, and when there is another.
func TestListEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newClinic(t, "St Elsewhere", nil)
		stolen, good := h.badge(t, "dr.kim"), h.badge(t, "dr.abe")
		g := newGate(t, certPEM(h.cert.Raw), listPEM(h.list(t, nil, stolen.Leaf)))
		end := time.Now().Add(7 * 24 * time.Hour).Truncate(time.Second)
		expect := func(when string, want error, told ...string) {
			t.Helper()
			g.lookNow()
			if err := g.asks(t, good); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", when, err, want)
			}
			if err := g.asks(t, stolen); !errors.Is(err, certs.ErrRevoked) {
				t.Errorf("%s, the revoked one: %v", when, err)
			}
			if len(g.told) != len(told) {
				t.Fatalf("%s: told %q", when, g.told)
			}
			for i, text := range told {
				if !strings.Contains(g.told[i], text) {
					t.Errorf("%s: told %q, want %q", when, g.told[i], text)
				}
			}
			g.told = nil
			if err := g.Look(); err != nil { // the file itself is good
				t.Error(err)
			}
		}
		expect("at first", nil)
		time.Sleep(time.Until(end.Add(-7*24*time.Hour/4 - time.Minute)))
		expect("more than a quarter of its life before the end", nil)
		time.Sleep(2 * time.Minute)
		expect("then", nil, `revocation-lists: the revocation list of "St Elsewhere" is over `+stamp(end))
		epoch := g.Epoch()
		time.Sleep(time.Until(end.Add(time.Second)))
		expect("at its end", certs.ErrRevocationUnknown, `was over `+stamp(end)+`: its certificates are refused`)
		if g.Epoch() == epoch {
			t.Error("nobody asks live sessions again when a list is over")
		}
		g.put(t, g.crl, listPEM(h.list(t, nil, stolen.Leaf)))
		expect("with the next one", nil, "revocation-lists: <nil>")
	})
}

// A list that is of no authority is missed: at once where none is known, else when the known one is over.
func TestListMissing(t *testing.T) {
	h, other := newClinic(t, "St Elsewhere", nil), newClinic(t, "Elsewhere General", nil)
	kim, abe := h.badge(t, "dr.kim"), other.badge(t, "dr.abe")
	g := newGate(t, certPEM(raws(h, other)...), listPEM(h.list(t, nil)))
	if err := g.asks(t, kim); err != nil {
		t.Error(err)
	}
	if err := g.asks(t, abe); !errors.Is(err, certs.ErrRevocationUnknown) || !strings.Contains(err.Error(), `there is no list of "Elsewhere General", above serial`) {
		t.Errorf("without a list of its authority: %v", err)
	}
	g.put(t, g.crl, listPEM(other.list(t, nil, abe.Leaf)))
	if err := g.asks(t, kim); err != nil {
		t.Errorf("whose list is not in the file any more: %v", err)
	}
	if err := g.asks(t, abe); !errors.Is(err, certs.ErrRevoked) {
		t.Errorf("what the file holds is not followed: %v", err)
	}
	if told := strings.Join(g.told, "\n"); !strings.Contains(told, `no revocation list of "Elsewhere General"`) || !strings.Contains(told, `list of "St Elsewhere" is not in the file any more`) {
		t.Errorf("told %s", told)
	}
	g.put(t, g.trust, certPEM(other.cert.Raw)) // its owner is not trusted any more, so nobody misses it
	g.Epoch()
	if last := g.told[len(g.told)-1]; last != "revocation-lists: <nil>" {
		t.Errorf("told %s", last)
	}
	if found, err := g.a.LookAtLists(g.trust, g.crl); err != nil || len(found.Faults) > 0 || len(found.States) != 1 || found.States[0].Fault(time.Now()) != nil {
		t.Errorf("looked from outside: %v, %v", found, err)
	}
}

// An intermediate that the trust file names is good only as long as its root, which is there too, says so.
func TestListAboveMissing(t *testing.T) {
	root := newClinic(t, "Root", nil)
	middle := newClinic(t, "Middle", root)
	crossed := *middle // two that have signed each other: nobody goes round in circles
	crossed.cert = root.sign(t, &x509.Certificate{Subject: middle.cert.Subject, IsCA: true, BasicConstraintsValid: true, KeyUsage: middle.cert.KeyUsage}, middle.key)
	back := *root
	back.cert = middle.sign(t, &x509.Certificate{Subject: root.cert.Subject, IsCA: true, BasicConstraintsValid: true, KeyUsage: root.cert.KeyUsage}, root.key)
	alone, whole := middle.badge(t, "dr.kim"), middle.badge(t, "dr.abe", middle)
	for name, trusted := range map[string][]byte{"root": certPEM(raws(middle, root)...), "circle": certPEM(raws(&crossed, &back)...)} {
		g := newGate(t, trusted, listPEM(middle.list(t, nil)))
		for _, b := range []tls.Certificate{alone, whole} {
			if err := g.asks(t, b); !errors.Is(err, certs.ErrRevocationUnknown) || !strings.Contains(err.Error(), `there is no list of "Root"`) {
				t.Errorf("%s: without a list of the root: %v", name, err)
			}
		}
		g.put(t, g.crl, listPEM(middle.list(t, nil), root.list(t, nil)))
		for _, b := range []tls.Certificate{alone, whole} {
			if err := g.asks(t, b); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// Of many faults some are told.
func TestFaultsBounded(t *testing.T) {
	states := make([]ListState, maxFaults+3)
	if text := faultOf(states, time.Now()).Error(); strings.Count(text, "\n") != maxFaults || !strings.HasSuffix(text, "and 3 more") {
		t.Errorf("told %s", text)
	}
}

// What was refused is tried again: at once when there are other authorities, and by itself when its time has come.
func TestListsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, other := newClinic(t, "St Elsewhere", nil), newClinic(t, "Elsewhere General", nil)
		kim, abe := h.badge(t, "dr.kim"), h.badge(t, "dr.abe")
		g := newGate(t, certPEM(h.cert.Raw), listPEM(h.list(t, nil)))
		g.put(t, g.crl, listPEM(h.list(t, nil, kim.Leaf), other.list(t, nil)))
		if err := g.asks(t, kim); err != nil || g.Look() == nil {
			t.Errorf("with a list of a stranger: %v, %v", err, g.Look())
		}
		g.put(t, g.trust, certPEM(raws(h, other)...))
		if err := g.asks(t, kim); !errors.Is(err, certs.ErrRevoked) || g.Look() != nil {
			t.Errorf("who is no stranger any more: %v, %v", err, g.Look())
		}
		g.put(t, g.crl, listPEM(h.list(t, func(l *x509.RevocationList) { l.ThisUpdate = time.Now().Add(certs.StatementSkew + time.Minute) }, kim.Leaf, abe.Leaf), other.list(t, nil)))
		if err := g.asks(t, abe); err != nil || g.Look() == nil {
			t.Errorf("with a list to come: %v, %v", err, g.Look())
		}
		time.Sleep(2 * time.Minute)
		if err := g.asks(t, abe); !errors.Is(err, certs.ErrRevoked) || g.Look() != nil {
			t.Errorf("when it has come: %v, %v", err, g.Look())
		}
	})
}

// FuzzLists gives the reader any bytes. What is believed was signed by the authority, as it is.
func FuzzLists(f *testing.F) {
	read := func(name string) []byte {
		text, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		return text
	}
	all, err := parseAuthorities(read("fuzz.pem"))
	if err != nil {
		f.Fatal(err)
	}
	as := newAuthorities(all, &Authority{root: new(x509.Certificate), intermediate: new(x509.Certificate)})
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	signed := map[[sha256.Size]byte]bool{}
	for _, name := range []string{"fuzz_two.crl", "fuzz_one.der"} {
		text := read(name)
		f.Add(text)
		f.Add(text[:len(text)-9])
		f.Add(append(bytes.Clone(text), text...))
		lists, err := as.parseLists(text, now)
		if err != nil {
			f.Fatal(err)
		}
		for _, l := range lists {
			signed[tbsSum(l)] = true
		}
	}
	f.Add([]byte{0x30, 0x80})
	f.Add([]byte("-----BEGIN X509 CRL-----\n-----END X509 CRL-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) == 0 {
			return // reported as empty before
		}
		lists, err := as.parseLists(text, now)
		if err != nil {
			return
		}
		for by, l := range lists {
			if !as.know(by) || !signed[tbsSum(l)] {
				t.Errorf("believed: %+v", l)
			}
		}
	})
}

// tbsSum is of what a list says: its signature can be written in more than one way.
func tbsSum(l *list) [sha256.Size]byte {
	h := sha256.New()
	h.Write(l.issuer)
	h.Write([]byte(l.number.String() + stamp(l.thisUpdate) + stamp(l.nextUpdate)))
	var sum big.Int
	for serial := range l.revoked {
		sum.Add(&sum, new(big.Int).SetBytes([]byte(serial)))
	}
	h.Write(sum.Bytes())
	return [sha256.Size]byte(h.Sum(nil))
}

// BenchmarkLists reads a file of about the size that is permitted.
func BenchmarkLists(b *testing.B) {
	h := newClinic(b, "St Elsewhere", nil)
	der := h.list(b, func(l *x509.RevocationList) {
		for i := range 165_000 {
			serial := new(big.Int).Lsh(big.NewInt(int64(i)+1<<40), 80) // 16 bytes, as many authorities make them
			l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: serial, RevocationTime: time.Now()})
		}
	})
	as := newAuthorities([]*x509.Certificate{h.cert}, &Authority{root: new(x509.Certificate), intermediate: new(x509.Certificate)})
	text := pem.EncodeToMemory(&pem.Block{Type: crlType, Bytes: der})
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := as.parseLists(text, time.Now()); err != nil {
			b.Fatal(err)
		}
	}
}

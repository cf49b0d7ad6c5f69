package backup

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// holder is somebody with a key.
type holder struct {
	to   Recipients
	with Identities
}

func newHolder(t testing.TB) holder {
	t.Helper()
	private, public, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	to, err := ParseRecipients(strings.NewReader("# of a test\n" + public))
	if err != nil {
		t.Fatal(err)
	}
	with, err := ParseIdentities(strings.NewReader(private))
	if err != nil {
		t.Fatal(err)
	}
	return holder{to, with}
}

var sample = map[string]string{
	"config/cordon.yaml":    "version: 1\n",
	"state/ca/root.key":     "secret",
	"audit/00000001.log":    strings.Repeat("an entry\n", 10000),
	"policy/häuser/a b.txt": "",
}

func written(t testing.TB, to Recipients, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, to)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := w.Add(File{Name: name, Size: int64(len(files[name])), Mode: 0o640, Owner: "cordon", Group: "cordon"}, strings.NewReader(files[name])); err != nil {
			t.Fatal(err)
		}
	}
	m := &Manifest{Gateway: "cordon.internal/cordon", Made: time.Unix(1, 0).UTC(), By: "root", Log: Log{Entries: 7, Checkpoint: "c", Key: "k"}}
	if err := w.Close(m, sign); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sign(text string) ([]byte, error) { return []byte("signed " + text), nil }

// took reads a backup and what is in it.
func took(file []byte, with Identities) (*Opened, map[string]string, error) {
	files := map[string]string{}
	o, err := Read(bytes.NewReader(file), with, func(name string, size int64, content io.Reader) error {
		text, err := io.ReadAll(content)
		files[name] = string(text)
		return err
	})
	return o, files, err
}

func TestRoundTrip(t *testing.T) {
	h := newHolder(t)
	file := written(t, h.to, sample)
	if bytes.Contains(file, []byte("cordon.yaml")) || bytes.Contains(file, []byte("secret")) {
		t.Error("the file shows what is in it")
	}
	o, files, err := took(file, h.with)
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(files, sample) {
		t.Errorf("came back %q", files)
	}
	if string(o.Signature) != "signed "+o.Text || o.Log.Entries != 7 || o.Files[0].Mode != 0o640 || o.Size() != 90000+11+6 {
		t.Errorf("the manifest says %+v", o.Manifest)
	}
	// Whoever takes only some of it still knows that the rest is whole.
	if _, err := Read(bytes.NewReader(file), h.with, func(string, int64, io.Reader) error { return nil }); err != nil {
		t.Error(err)
	}
	mine := errors.New("no more")
	if _, err := Read(bytes.NewReader(file), h.with, func(string, int64, io.Reader) error { return mine }); !errors.Is(err, mine) {
		t.Errorf("what take says comes back as %v", err)
	}
	if _, err := Read(io.MultiReader(bytes.NewReader(file[:3000]), broken{}), h.with, func(string, int64, io.Reader) error { return nil }); !errors.Is(err, errBroken) || errors.Is(err, ErrFormat) {
		t.Errorf("a disk that does not answer is %v", err)
	}
}

var errBroken = errors.New("input/output error")

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errBroken }

func TestPassphrase(t *testing.T) {
	to, err := PassphraseRecipient("correct horse battery")
	if err != nil {
		t.Fatal(err)
	}
	file := written(t, to, sample)
	for text, want := range map[string]error{"correct horse battery": nil, "correct horse batterz": ErrKey} {
		with, err := PassphraseIdentity(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := took(file, with); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", text, err, want)
		}
	}
	if _, _, err := took(file, newHolder(t).with); !errors.Is(err, ErrKey) {
		t.Errorf("with a key in place of the passphrase: %v", err)
	}
	// A file that would have its reader spend twice the memory.
	with, err := PassphraseIdentity("correct horse battery")
	if err != nil {
		t.Fatal(err)
	}
	greedy := "age-encryption.org/v1\n-> scrypt AAAAAAAAAAAAAAAAAAAAAA 19\n" + strings.Repeat("A", 43) + "\n--- " + strings.Repeat("A", 43) + "\n"
	if _, _, err := took([]byte(greedy), with); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "work factor") {
		t.Errorf("a work factor of 19: %v", err)
	}
	if _, err := PassphraseRecipient("hunter2"); err == nil {
		t.Error("a passphrase of 7 characters is taken")
	}
}

func TestKeysRefused(t *testing.T) {
	for _, text := range []string{"", "x", "age1qqqq", "AGE-SECRET-KEY-1QQQ", "ssh-ed25519 AAAA"} {
		if _, err := ParseRecipients(strings.NewReader(text)); err == nil {
			t.Errorf("recipient %q is taken", text)
		}
		if _, err := ParseIdentities(strings.NewReader(text)); err == nil || strings.Contains(err.Error(), "QQQ") {
			t.Errorf("private key %q: %v", text, err)
		}
	}
}

// A file that was changed in any byte, cut anywhere or sealed for others is refused.
func TestChanged(t *testing.T) {
	h := newHolder(t)
	file := written(t, h.to, sample)
	for at := 0; at < len(file); at += 7 {
		changed := bytes.Clone(file)
		changed[at] ^= 1 << (at % 8)
		if _, _, err := took(changed, h.with); !errors.Is(err, ErrFormat) && !errors.Is(err, ErrKey) {
			t.Fatalf("bit %d of byte %d: %v", at%8, at, err)
		}
		if _, _, err := took(file[:at], h.with); !errors.Is(err, ErrFormat) {
			t.Fatalf("cut at %d: %v", at, err)
		}
	}
	if _, _, err := took(append(bytes.Clone(file), 0), h.with); !errors.Is(err, ErrFormat) {
		t.Errorf("a byte behind it: %v", err)
	}
	if _, _, err := took(file, newHolder(t).with); !errors.Is(err, ErrKey) {
		t.Errorf("with another key: %v", err)
	}
}

// member is one of a hostile archive.
type member struct {
	tar.Header
	content string
}

func regular(name, content string) member {
	return member{tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(content)), Mode: 0o600}, content}
}

// forge packs members with a manifest that fits those that are regular, and its signature.
func forge(t testing.TB, members []member, change func(*Manifest)) []byte {
	t.Helper()
	m := Manifest{Schema: Schema}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	put := func(x member) {
		if err := w.WriteHeader(&x.Header); err != nil {
			t.Fatalf("%+v: %v", x.Header, err)
		}
		if _, err := io.WriteString(w, x.content); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range members {
		put(x)
		m.Files = append(m.Files, File{Name: x.Name, Size: int64(len(x.content)), SHA256: sum(x.content)})
	}
	if change != nil {
		change(&m)
	}
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	put(regular(manifestName, string(text)))
	put(regular(signatureName, "signed "+signed(text)))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// pack compresses and seals an archive.
func pack(t testing.TB, to Recipients, archive []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	sealed, err := to.seal(&b)
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(sealed)
	z.Write(archive)
	if err := errors.Join(z.Close(), sealed.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Whoever has the public key can seal what they like.
func TestHostile(t *testing.T) {
	h := newHolder(t)
	ok := regular("config/cordon.yaml", "version: 1\n")
	kind := func(flag byte) []member {
		return []member{ok, {tar.Header{Typeflag: flag, Name: "state/x", Linkname: "/etc/passwd", Devmajor: 1, Devminor: 3, Mode: 0o600}, ""}}
	}
	pax := func(key, value string) []member {
		x := regular("state/x", "x")
		x.PAXRecords, x.Format = map[string]string{key: value}, tar.FormatPAX
		return []member{ok, x}
	}
	raw := func(change func([]byte) []byte) []byte { return pack(t, h.to, change(forge(t, []member{ok}, nil))) }
	archive := func(members []member, change func(*Manifest)) []byte { return pack(t, h.to, forge(t, members, change)) }

	if _, files, err := took(archive([]member{ok}, nil), h.with); err != nil || len(files) != 1 {
		t.Fatalf("the archive that all others are made of: %v", err)
	}
	for _, c := range []struct {
		name string
		file []byte
		says string
	}{
		{"empty file", nil, "does not begin"},
		{"no backup", []byte("PK\x03\x04 a ZIP file"), "does not begin"},
		{"a head without end", append([]byte("age-encryption.org/v1\n"), bytes.Repeat([]byte("-> X25519 a\n"), 1<<16)...), "no end"},
		{"no gzip", func() []byte {
			var b bytes.Buffer
			w, _ := h.to.seal(&b)
			io.WriteString(w, "plain text, sealed")
			w.Close()
			return b.Bytes()
		}(), "gzip"},
		{"no tar", pack(t, h.to, bytes.Repeat([]byte("x"), 2048)), "tar"},
		{"empty archive", raw(func([]byte) []byte { return make([]byte, 1024) }), "without a manifest"},
		{"archive cut", raw(func(b []byte) []byte { return b[:520] }), "EOF"},
		{"bytes behind the archive", raw(func(b []byte) []byte { return append(b, "more"...) }), "behind the end"},
		{"zeros behind the archive", raw(func(b []byte) []byte { return append(b, make([]byte, 512)...) }), "behind the end"},
		{"two gzip members", func() []byte {
			var b bytes.Buffer
			w, _ := h.to.seal(&b)
			for _, content := range [][]byte{forge(t, []member{ok}, nil), nil} { // one that holds nothing is easily missed
				z := gzip.NewWriter(w)
				z.Write(content)
				z.Close()
			}
			w.Close()
			return b.Bytes()
		}(), "behind the end"},
		{"absolute path", archive([]member{ok, regular("/etc/cron.d/x", "x")}, nil), "no plain path"},
		{"path out of it", archive([]member{ok, regular("state/../../x", "x")}, nil), "no plain path"},
		{"dot", archive([]member{ok, regular("./state/x", "x")}, nil), "no plain path"},
		{"two slashes", archive([]member{ok, regular("state//x", "x")}, nil), "no plain path"},
		{"backslash", archive([]member{ok, regular(`state\x`, "x")}, nil), "characters"},
		{"newline", archive([]member{ok, regular("state/a\nb", "x")}, nil), "characters"},
		{"long name", archive([]member{ok, regular("state/"+strings.Repeat("n", 300), "x")}, nil), "a name of"},
		{"symbolic link", archive(kind(tar.TypeSymlink), nil), "no regular file"},
		{"hard link", archive(kind(tar.TypeLink), nil), "no regular file"},
		{"character device", archive(kind(tar.TypeChar), nil), "no regular file"},
		{"block device", archive(kind(tar.TypeBlock), nil), "no regular file"},
		{"pipe", archive(kind(tar.TypeFifo), nil), "no regular file"},
		{"folder", archive([]member{ok, {tar.Header{Typeflag: tar.TypeDir, Name: "state/d", Mode: 0o777}, ""}}, nil), "no regular file"},
		{"twice", archive([]member{ok, ok}, nil), "twice"},
		{"a file and a folder", archive([]member{regular("state", "x"), regular("state/x", "x")}, nil), "file and a folder"},
		{"a folder and a file", archive([]member{regular("state/x", "x"), regular("state", "x")}, nil), "twice"},
		{"attribute", archive(pax("SCHILY.xattr.security.capability", "x"), nil), "attribute"},
		{"bomb", archive([]member{ok, regular("state/bomb", strings.Repeat("\x00", 128<<20))}, nil), "unpack to more"},
		{"no manifest", raw(func(b []byte) []byte { return append(b[:1024:1024], make([]byte, 1024)...) }), "without a manifest"},
		{"no signature", raw(func(b []byte) []byte { return append(b[:2048:2048], make([]byte, 1024)...) }), "signature"},
		{"a file behind the signature", raw(func(b []byte) []byte {
			var more bytes.Buffer
			w := tar.NewWriter(&more)
			w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "state/x", Size: 1})
			w.Write([]byte("x"))
			w.Close()
			return append(b[:len(b)-1024], more.Bytes()...)
		}), "more behind"},
		{"manifest names more", archive([]member{ok}, func(m *Manifest) { m.Files = append(m.Files, File{Name: "state/x"}) }), "names 2"},
		{"manifest names less", archive([]member{ok}, func(m *Manifest) { m.Files = nil }), "names 0"},
		{"another name", archive([]member{ok}, func(m *Manifest) { m.Files[0].Name = "config/x" }), "not what its manifest says"},
		{"another size", archive([]member{ok}, func(m *Manifest) { m.Files[0].Size++ }), "not what its manifest says"},
		{"another digest", archive([]member{ok}, func(m *Manifest) { m.Files[0].SHA256 = sum("x") }), "not what its manifest says"},
		{"set-user-id", archive([]member{ok}, func(m *Manifest) { m.Files[0].Mode = 0o4755 | 1<<23 }), "more than permissions"},
		{"another schema", archive([]member{ok}, func(m *Manifest) { m.Schema = "cordon.bundle/v1" }), "want"},
		{"manifest of no form", raw(func(b []byte) []byte { return bytes.Replace(b, []byte(`"gateway"`), []byte(`"gatewax"`), 1) }), "unknown field"},
	} {
		_, _, err := took(c.file, h.with)
		if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", c.name, err, c.says)
		}
	}
}

// What another cordon wrote is not damaged: copying it again does not help.
func TestOtherVersion(t *testing.T) {
	h := newHolder(t)
	for _, schema := range []string{"cordon.backup/v0", "cordon.backup/v2"} {
		file := pack(t, h.to, forge(t, []member{regular("config/cordon.yaml", "version: 1\n")}, func(m *Manifest) { m.Schema = schema }))
		if _, _, err := took(file, h.with); !errors.Is(err, ErrVersion) || errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), schema) {
			t.Errorf("%s: %v", schema, err)
		}
	}
}

func sum(content string) string {
	h := signed([]byte(content)) // its second line
	return strings.TrimSpace(strings.TrimPrefix(h, Schema+"\n"))
}

// A file that is shorter by now than it was is no file of a backup.
func TestAddRefuses(t *testing.T) {
	w, err := NewWriter(io.Discard, newHolder(t).to)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []File{{Name: "a", Size: 4}, {Name: "../a"}, {Name: manifestName}, {Name: strings.Repeat("a/", 200) + "a"}} {
		if err := w.Add(f, strings.NewReader("abc")); err == nil {
			t.Errorf("%+v is taken", f)
		}
	}
}

// FuzzArchive reads archives as they are inside: whatever is accepted is what its manifest says,
// under plain names.
func FuzzArchive(f *testing.F) {
	ok := regular("config/cordon.yaml", "version: 1\n")
	f.Add(forge(f, []member{ok}, nil))
	f.Add(forge(f, []member{ok, regular("state/x", strings.Repeat("x", 600))}, nil))
	f.Add(forge(f, []member{ok, {tar.Header{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "/"}, ""}}, nil))
	f.Add(forge(f, []member{ok, regular("../x", "x")}, nil))
	f.Fuzz(func(t *testing.T, text []byte) {
		got := map[string]string{}
		a := archive{tar: tar.NewReader(bytes.NewReader(text)), take: func(name string, size int64, content io.Reader) error {
			all, err := io.ReadAll(io.LimitReader(content, 1<<20))
			got[name] = string(all)
			return err
		}}
		o, err := a.read()
		if err != nil {
			if !errors.Is(err, ErrFormat) && !errors.Is(err, ErrVersion) {
				t.Fatalf("%v is no fault of the archive's", err)
			}
			return
		}
		for _, x := range o.Files {
			if checkName(x.Name) != nil || sum(got[x.Name]) == "" || int64(len(got[x.Name])) != min(x.Size, 1<<20) {
				t.Fatalf("%+v is accepted, and was %d bytes", x, len(got[x.Name]))
			}
		}
		if len(got) != len(o.Files) {
			t.Fatalf("%d files are taken of %d", len(got), len(o.Files))
		}
	})
}

// FuzzRead reads whole files.
func FuzzRead(f *testing.F) {
	h := newHolder(f)
	f.Add(written(f, h.to, map[string]string{"config/cordon.yaml": "version: 1\n"}))
	f.Add([]byte("age-encryption.org/v1\n-> scrypt AAAAAAAAAAAAAAAAAAAAAA 30\nAAAA\n--- AAAA\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		if o, _, err := took(file, h.with); err == nil && o.Schema != Schema {
			t.Fatalf("%+v is accepted", o.Manifest)
		}
	})
}

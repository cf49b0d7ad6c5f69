package main

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cordon/cmd/cordon/backup"
	"cordon/cmd/cordon/disk"
	"cordon/cmd/cordon/exit"
	"cordon/gateway/audit"
)

// badBackups are refused, each with its code, and nothing is written.
func badBackups(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.keys(t)
	s.must(t, "backup", "keygen", "--out", "other", "-q")
	s.write(t, "phrase", "correct horse battery staple\n")
	s.write(t, "short", "hunter2\n")
	file := s.path("good.backup")
	s.backUp(t, file)
	s.must(t, "backup", "phrase.backup", "--passphrase-file", "phrase", "--dir", s.gw())
	s.must(t, "backup", "verify", "phrase.backup", "--passphrase-file", "phrase")
	good := []byte(readText(t, file))
	for at := range 8 {
		changed := bytes.Clone(good)
		changed[len(good)*at/8+40] ^= 1
		s.write(t, fmt.Sprintf("flip%d.backup", at), string(changed))
	}
	s.write(t, "cut.backup", string(good[:len(good)-1000]))
	s.write(t, "zip.backup", "PK\x03\x04")
	s.must(t, "init", "stranger")
	s.must(t, "backup", "stranger.backup", "--recipients-file", "ward.pub", "--dir", "stranger")
	s.write(t, "key.pub", readText(t, filepath.Join(s.gw(), "state/audit/key.pub")))
	type bad struct {
		args string
		code int
		says string
	}
	cases := []bad{
		{"cut.backup --identity ward.key", exit.Checks, "backup.damaged"},
		{"zip.backup --identity ward.key", exit.Checks, "backup.damaged"},
		{"missing.backup --identity ward.key", exit.NotFound, "file.missing"},
		{"good.backup --identity other.key", exit.Denied, "backup.key"},
		{"good.backup --identity ward.pub", exit.Usage, "backup.identity"},
		{"good.backup --passphrase-file phrase", exit.Denied, "backup.key"},
		{"phrase.backup --passphrase-file short", exit.Denied, "backup.key"},
		{"phrase.backup --identity ward.key", exit.Denied, "backup.key"},
		{"good.backup", exit.Usage, "usage"},
		{"stranger.backup --identity ward.key --key key.pub", exit.Checks, "backup.signature"},
	}
	for at := range 8 {
		cases = append(cases, bad{fmt.Sprintf("flip%d.backup --identity ward.key", at), 0, "backup."})
	}
	for _, c := range cases {
		for _, command := range []string{"backup verify", "restore --dir new"} {
			out := s.run(t, strings.Fields(command+" "+c.args)...)
			if c.code == 0 && out.code != exit.Checks && out.code != exit.Denied || c.code != 0 && out.code != c.code || !strings.Contains(out.stderr, "code: "+c.says) || disk.Exists(s.path("new")) {
				t.Errorf("%s %s exits with %d: %s", command, c.args, out.code, out.stderr)
			}
		}
	}
	for args, code := range map[string]string{
		"good.backup --recipients-file ward.pub": "backup.exists", "x.backup": "backup.recipient", "x.backup --recipient age1qqq": "backup.recipient",
		"x.backup --passphrase-file short": "backup.passphrase", "gw/state/x.backup --recipients-file ward.pub": "backup.inside",
	} {
		if out := s.run(t, append([]string{"backup", "--dir", "gw"}, strings.Fields(args)...)...); !strings.Contains(out.stderr, "code: "+code) || disk.Exists(s.path("x.backup")) {
			t.Errorf("backup %s exits with %d: %s", args, out.code, out.stderr)
		}
	}
	if out := s.run(t, "restore", "good.backup", "--identity", "ward.key"); out.code != exit.Usage {
		t.Errorf("restore without --dir exits with %d: %s", out.code, out.stderr)
	}
	// A log that is damaged is not carried on.
	log := filepath.Join(s.gw(), "state/audit/00000001.log")
	text := []byte(readText(t, log))
	text[80] ^= 1
	if err := os.WriteFile(log, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out := s.run(t, "backup", "x.backup", "--recipients-file", "ward.pub", "--dir", "gw"); out.code == exit.Done || disk.Exists(s.path("x.backup")) {
		t.Errorf("with a damaged log backup exits with %d: %s", out.code, out.stderr)
	}
}

// forgedBackups come from somebody who has the public key, and perhaps once had a backup.
func forgedBackups(t *testing.T, cordon string) {
	s := newSite(t, cordon)
	s.keys(t)
	s.backUp(t, s.path("good.backup"))
	log := filepath.Join(s.gw(), "state/audit")
	key, err := os.Open(s.path("ward.key"))
	if err != nil {
		t.Fatal(err)
	}
	defer key.Close()
	with, err := backup.ParseIdentities(key)
	if err != nil {
		t.Fatal(err)
	}
	to, err := backup.ParseRecipients(strings.NewReader(readText(t, s.path("ward.pub"))))
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	good, err := backup.Read(strings.NewReader(readText(t, s.path("good.backup"))), with, func(name string, _ int64, content io.Reader) error {
		text, err := io.ReadAll(content)
		texts[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	signs := func(text string) ([]byte, error) { return audit.Sign(log, text) }
	forge := func(name string, change func(map[string]string, *backup.Manifest), sign func(string) ([]byte, error)) {
		t.Helper()
		m, files := good.Manifest, maps.Clone(texts)
		change(files, &m)
		var b bytes.Buffer
		w, err := backup.NewWriter(&b, to)
		if err != nil {
			t.Fatal(err)
		}
		names := slices.Sorted(maps.Keys(files))
		for _, f := range good.Files { // in their order, then what is new
			if text, there := files[f.Name]; there {
				f.Size = int64(len(text))
				if err := w.Add(f, strings.NewReader(text)); err != nil {
					t.Fatal(err)
				}
			}
			names = slices.DeleteFunc(names, func(n string) bool { return n == f.Name })
		}
		for _, n := range names {
			if err := w.Add(backup.File{Name: n, Size: int64(len(files[n])), Mode: 0o755}, strings.NewReader(files[n])); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(&m, sign); err != nil {
			t.Fatal(err)
		}
		s.write(t, name+".backup", b.String())
	}
	replaced := func(name, old, new string) func(map[string]string, *backup.Manifest) {
		return func(files map[string]string, _ *backup.Manifest) {
			if !strings.Contains(files[name], old) {
				t.Fatalf("%s does not hold %q", name, old)
			}
			files[name] = strings.Replace(files[name], old, new, 1)
		}
	}
	put := func(name, text string) func(map[string]string, *backup.Manifest) {
		return func(files map[string]string, _ *backup.Manifest) { files[name] = text }
	}
	without := func(name string) func(map[string]string, *backup.Manifest) {
		return func(files map[string]string, _ *backup.Manifest) { delete(files, name) }
	}
	target := filepath.Join(t.TempDir(), "target")
	for _, c := range []struct {
		name   string
		change func(map[string]string, *backup.Manifest)
		sign   func(string) ([]byte, error)
		code   string
	}{
		{"unchanged", func(map[string]string, *backup.Manifest) {}, signs, ""},
		{"unsigned", func(map[string]string, *backup.Manifest) {}, func(string) ([]byte, error) { return nil, nil }, "backup.signature"},
		{"other_words", func(map[string]string, *backup.Manifest) {}, func(text string) ([]byte, error) { return signs("x" + text) }, "backup.signature"},
		{"another_configuration", replaced("config/cordon.yaml", "4096", "4095"), func(string) ([]byte, error) { return good.Signature, nil }, "backup.signature"},
		{"another_gateway", func(_ map[string]string, m *backup.Manifest) { m.Gateway = "cordon.internal/other" }, signs, "backup.content"},
		{"another_name", replaced("config/cordon.yaml", "name: cordon", "name: other"), signs, "backup.content"},
		{"to_come", func(_ map[string]string, m *backup.Manifest) { m.Made = time.Now().Add(time.Hour) }, signs, "restore.clock"},
		{"more_entries", func(_ map[string]string, m *backup.Manifest) { m.Log.Entries++ }, signs, "backup.content"},
		{"entry_changed", replaced("audit/00000001.log", "root", "toor"), signs, "audit.damaged"},
		{"log_cut", func(files map[string]string, _ *backup.Manifest) {
			log := strings.SplitAfter(files["audit/00000001.log"], "\n")
			files["audit/00000001.log"] = strings.Join(log[:1], "")
		}, signs, "audit.damaged"},
		{"no_key", without("audit/key"), signs, "backup.content"},
		{"no_authority", without("state/ca/intermediate.key"), signs, "backup.content"},
		{"no_configuration", without("config/cordon.yaml"), signs, "backup.content"},
		{"another_folder", put("etc/passwd", "x"), signs, "backup.content"},
		{"no_folder", put("passwd", "x"), signs, "backup.content"},
		{"file_in_the_log", put("audit/x", "x"), signs, "backup.content"},
		{"unnamed_outside", put("outside"+target, "x"), signs, "backup.content"},
		{"broken_configuration", replaced("config/cordon.yaml", "version: 1", "version: 2"), signs, "config."},
		{"state_is_all", replaced("config/cordon.yaml", "state: state ", "state: . "), signs, "backup.layout"},
		{"state_out_of_it", replaced("config/cordon.yaml", "state: state ", "state: ../../target "), signs, "restore.outside"},
		{"state_elsewhere", replaced("config/cordon.yaml", "state: state ", "state: "+target+" "), signs, "restore.outside"},
		{"named_outside", func(files map[string]string, m *backup.Manifest) {
			put("outside"+target, "x")(files, m)
			replaced("config/cordon.yaml", "# trust_file: hospital.pem", "trust_file: "+target+" #")(files, m)
		}, signs, "restore.outside"},
	} {
		forge(c.name, c.change, c.sign)
		out := s.run(t, "restore", c.name+".backup", "--dir", "new", "--identity", "ward.key", "--yes")
		if c.code == "" {
			if out.code != exit.Done {
				t.Fatalf("%s: it exits with %d: %s", c.name, out.code, out.stderr)
			}
			if err := os.RemoveAll(s.path("new")); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if out.code == exit.Done || !strings.Contains(out.stderr, "code: "+c.code) || disk.Exists(s.path("new")) || disk.Exists(target) {
			t.Errorf("%s: it exits with %d: %s", c.name, out.code, out.stderr)
		}
	}
}

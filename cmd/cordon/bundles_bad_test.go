package main

import (
	"archive/tar"
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"cordon/policy/rego"
)

// Bundles no gateway takes. Each of their policies, but for what is wrong with it, refuses
// everything: whatever slipped through would be noticed by the next message.
var refusing = files{
	"cordon.rego":      "package cordon\n\ndefault allow := false\n\nallow if data.open == true\n",
	"patches.rego":     "package cordon\n\npatched contains \"intellivue-results-only\" if data.open == true\n",
	"cordon_test.rego": "package cordon_test\n\nimport data.cordon\n\ntest_closed if not cordon.allow\n",
	"data.json":        `{"open": false}`,
}

// inForceRevision is that of the good bundle before the bad ones; those are newer.
const inForceRevision = 10

type badBundle struct {
	name, code string
	make       func(t *testing.T, p *publisher) rego.Delivery
}

// rules is a bundle signed as it should be, with one file changed.
func rules(name, text string) func(*testing.T, *publisher) rego.Delivery {
	return func(t *testing.T, p *publisher) rego.Delivery { return p.publish(t, refusing.with(name, text), 11) }
}

// besideChanged is a good bundle with a changed detached signature.
func besideChanged(change func(*beside)) func(*testing.T, *publisher) rego.Delivery {
	return func(t *testing.T, p *publisher) rego.Delivery {
		d := p.publish(t, refusing, 11)
		d.Signature = p.detach(d.Bundle, 11, change)
		return d
	}
}

// rewritten is a good bundle with the bytes of its detached signature changed.
func rewritten(change func(text string) string) func(*testing.T, *publisher) rego.Delivery {
	return func(t *testing.T, p *publisher) rego.Delivery {
		d := p.publish(t, refusing, 11)
		d.Signature = []byte(change(string(d.Signature)))
		return d
	}
}

// reshaped is a file made of a good bundle's archive, compressed or not, and signed outside.
func reshaped(change func(t *testing.T, plain []byte) []byte) func(*testing.T, *publisher) rego.Delivery {
	return func(t *testing.T, p *publisher) rego.Delivery {
		f := refusing.with(".manifest", manifestOf("11"))
		return p.outside(change(t, archive(t, f.members()...)), 11)
	}
}

// besides is a good bundle's archive with one more member.
func besides(extra member) func(*testing.T, *publisher) rego.Delivery {
	return reshaped(func(t *testing.T, _ []byte) []byte {
		f := refusing.with(".manifest", manifestOf("11"))
		return gzipped(t, archive(t, append(f.members(), extra)...))
	})
}

// named is a member that is a file.
func named(name string) member {
	return member{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}, "package x\n"}
}

// manifested has another manifest, which is signed with the rest.
func manifested(text string) func(*testing.T, *publisher) rego.Delivery {
	return func(t *testing.T, p *publisher) rego.Delivery {
		return p.sealed(t, refusing.with(".manifest", text), 11)
	}
}

// tokened has another .signatures.json.
func tokened(signatures func(t *testing.T, p *publisher, c claims) string) func(*testing.T, *publisher) rego.Delivery {
	return func(t *testing.T, p *publisher) rego.Delivery {
		f := refusing.with(".manifest", manifestOf("11"))
		return p.sealed(t, f.with(".signatures.json", signatures(t, p, p.hashes(t, f))), 11)
	}
}

// headed has a token with another header.
func headed(key string, value any) func(*testing.T, *publisher) rego.Delivery {
	return tokened(func(t *testing.T, p *publisher, c claims) string {
		h := p.header()
		c.Key = ""
		if h[key] = value; value == nil {
			delete(h, key)
		}
		return signaturesOf(p.token(t, h, c))
	})
}

// claimed has a token with other claims.
func claimed(change func(c *claims)) func(*testing.T, *publisher) rego.Delivery {
	return tokened(func(t *testing.T, p *publisher, c claims) string {
		change(&c)
		return signaturesOf(p.token(t, p.header(), c))
	})
}

func badBundles() []badBundle {
	identity := func(_ *testing.T, plain []byte) []byte { return plain }
	return []badBundle{
		// The detached signature.
		{"no detached signature", "bundle.detached.missing", func(t *testing.T, p *publisher) rego.Delivery {
			return rego.Delivery{Bundle: p.publish(t, refusing, 11).Bundle}
		}},
		{"empty detached signature", "bundle.detached", rewritten(func(string) string { return "{}" })},
		{"detached signature of another format", "bundle.detached", rewritten(func(string) string { return "untrusted comment: minisign" })},
		{"huge detached signature", "bundle.detached", rewritten(func(s string) string { return s + strings.Repeat(" ", 1<<20) })},
		{"two detached signatures in one", "bundle.detached", rewritten(func(s string) string { return s + s })},
		{"detached signature that says more", "bundle.detached", rewritten(func(s string) string { return strings.Replace(s, "{", `{"force":true,`, 1) })},
		{"detached signature by another key", "bundle.detached.key", func(t *testing.T, p *publisher) rego.Delivery {
			d := p.publish(t, refusing, 11)
			d.Signature = newPublisher(t).detach(d.Bundle, 11, nil)
			return d
		}},
		{"detached signature by another key that calls itself ours", "bundle.detached.wrong", func(t *testing.T, p *publisher) rego.Delivery {
			d := p.publish(t, refusing, 11)
			d.Signature = newPublisher(t).detach(d.Bundle, 11, func(b *beside) { b.Key = p.own.ID })
			return d
		}},
		{"detached signature of another bundle", "bundle.detached.file", func(t *testing.T, p *publisher) rego.Delivery {
			d := p.publish(t, refusing, 11)
			d.Signature = p.publish(t, refusing.with("more.rego", "package more\n\nx := 1\n"), 11).Signature
			return d
		}},
		{"revision raised in the detached signature", "bundle.detached.wrong", rewritten(func(s string) string { return strings.Replace(s, `"revision":11`, `"revision":12`, 1) })},
		{"period extended in the detached signature", "bundle.detached.wrong", rewritten(func(s string) string { return strings.Replace(s, `"until":"2`, `"until":"3`, 1) })},
		{"detached signature for another revision", "bundle.detached.revision", besideChanged(func(b *beside) { b.Revision = 12 })},
		{"detached signature without a revision", "bundle.detached", besideChanged(func(b *beside) { b.Revision = 0 })},
		{"signed tomorrow", "bundle.detached.future", besideChanged(func(b *beside) { b.Made, b.Until = b.Made.Add(24*time.Hour), b.Until.Add(24*time.Hour) })},
		{"no longer to be taken", "bundle.detached.expired", besideChanged(func(b *beside) { b.Made, b.Until = b.Made.Add(-48*time.Hour), b.Made.Add(-24*time.Hour) })},

		// The file.
		{"empty file", "bundle.empty", reshaped(func(*testing.T, []byte) []byte { return []byte{} })},
		{"ZIP", "bundle.zip", reshaped(func(*testing.T, []byte) []byte { return []byte("PK\x03\x04and so on") })},
		{"not compressed", "bundle.gzip", reshaped(identity)},
		{"compressed stream cut off", "bundle.gzip", reshaped(func(t *testing.T, plain []byte) []byte { z := gzipped(t, plain); return z[:len(z)/2] })},
		{"checksum cut off", "bundle.gzip", reshaped(func(t *testing.T, plain []byte) []byte { z := gzipped(t, plain); return z[:len(z)-4] })},
		{"checksum wrong", "bundle.gzip", reshaped(func(t *testing.T, plain []byte) []byte { z := gzipped(t, plain); z[len(z)-8] ^= 1; return z })},
		{"two gzip members", "bundle.gzip.members", reshaped(func(t *testing.T, plain []byte) []byte { z := gzipped(t, plain); return append(z, z...) })},
		{"bytes behind the gzip member", "bundle.trailing", reshaped(func(t *testing.T, plain []byte) []byte { return append(gzipped(t, plain), "and more"...) })},
		{"huge file", "bundle.size", reshaped(func(t *testing.T, plain []byte) []byte {
			noise := make([]byte, rego.MaxBundle)
			rand.Read(noise)
			return gzipped(t, append(plain, noise...))
		})},
		{"bomb", "bundle.unpacked", reshaped(func(t *testing.T, plain []byte) []byte { return gzipped(t, append(plain, make([]byte, 256<<20)...)) })},
		{"archive cut off in a file", "bundle.tar", reshaped(func(t *testing.T, plain []byte) []byte { return gzipped(t, plain[:520]) })},
		{"archive cut off behind a file", "bundle.tar", reshaped(func(t *testing.T, plain []byte) []byte { return gzipped(t, plain[:1024]) })},
		{"no archive", "bundle.tar", reshaped(func(t *testing.T, plain []byte) []byte { return gzipped(t, bytes.Repeat([]byte("x"), 2048)) })},
		{"bytes behind the archive", "bundle.trailing", reshaped(func(t *testing.T, plain []byte) []byte { return gzipped(t, append(plain, plain...)) })},
		{"no file in it", "bundle.empty", reshaped(func(t *testing.T, _ []byte) []byte { return gzipped(t, archive(t)) })},

		// The files in it.
		{"2000 files", "bundle.files", reshaped(func(t *testing.T, _ []byte) []byte {
			f := files{}
			for i := range 2000 {
				f[fmt.Sprintf("r%d.rego", i)] = "package r\n"
			}
			return gzipped(t, archive(t, f.members()...))
		})},
		{"huge file in it", "bundle.file.size", besides(member{tar.Header{Name: "x/data.json", Typeflag: tar.TypeReg}, strings.Repeat(" ", 17<<20)})},
		{"long name", "bundle.name", besides(named(strings.Repeat("x", 300) + ".rego"))},
		{"path that leads out", "bundle.name", besides(named("../x.rego"))},
		{"path that leads out, within", "bundle.name", besides(named("a/../../x.rego"))},
		{"path from the root", "bundle.name", besides(named("//etc/x.rego"))},
		{"path of another system", "bundle.name", besides(named(`a\x.rego`))},
		{"name with a control character", "bundle.name", besides(named("a\nb.rego"))},
		{"name that is shown backwards", "bundle.name", besides(named("a\u202eoger.txt.rego"))},
		{"name that is not UTF-8", "bundle.name", besides(member{tar.Header{Name: "\xff.rego", Typeflag: tar.TypeReg, Format: tar.FormatGNU}, "package x\n"})},
		{"symbolic link", "bundle.link", besides(member{tar.Header{Name: "x.rego", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}, ""})},
		{"hard link", "bundle.link", besides(member{tar.Header{Name: "x.rego", Typeflag: tar.TypeLink, Linkname: "cordon.rego"}, ""})},
		{"device", "bundle.file.kind", besides(member{tar.Header{Name: "x.rego", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 5}, ""})},
		{"named pipe", "bundle.file.kind", besides(member{tar.Header{Name: "x.rego", Typeflag: tar.TypeFifo}, ""})},
		{"folder", "bundle.file.kind", besides(member{tar.Header{Name: "x/", Typeflag: tar.TypeDir}, ""})},
		{"archive attribute", "bundle.tar", besides(member{tar.Header{Name: "x.rego", Typeflag: tar.TypeReg, PAXRecords: map[string]string{"VENDOR.note": "1"}}, "package x\n"})},
		{"file twice", "bundle.name.twice", besides(named("cordon.rego"))},
		{"file twice, once from the root", "bundle.name.twice", besides(named("/cordon.rego"))},
		{"names that differ in case", "bundle.name.twice", besides(named("Cordon.rego"))},
		{"program", "bundle.unexpected", besides(named("install.sh"))},
		{"hidden folder", "bundle.unexpected", besides(named(".git/x.rego"))},
		{"signatures elsewhere", "bundle.unexpected", besides(named("x/.signatures.json"))},
		{"data that nobody would read", "policy.file.name", besides(named("data.yml"))},
		{"WebAssembly", "bundle.wasm", besides(named("policy.wasm"))},
		{"plan", "bundle.plan", besides(named("plan.json"))},
		{"delta bundle", "bundle.delta", besides(named("patch.json"))},

		// The manifest.
		{"no manifest", "bundle.manifest.missing", func(t *testing.T, p *publisher) rego.Delivery { return p.sealed(t, refusing, 11) }},
		{"manifest that is no JSON", "bundle.manifest", manifested("revision: 11")},
		{"manifest with a byte order mark", "bundle.manifest", manifested("\ufeff" + manifestOf("11"))},
		{"two manifests in one", "bundle.manifest", manifested(manifestOf("11") + manifestOf("12"))},
		{"manifest with an unknown key", "bundle.manifest", manifested(`{"revision": "11", "force": true}`)},
		{"no revision", "bundle.revision", manifested(`{"roots": [""]}`)},
		{"revision zero", "bundle.revision", manifested(manifestOf("0"))},
		{"negative revision", "bundle.revision", manifested(manifestOf("-11"))},
		{"revision that leaves no room", "bundle.revision", manifested(manifestOf("1000000001"))},
		{"revision beyond 64 bits", "bundle.revision", manifested(manifestOf("99999999999999999999999"))},
		{"revision that is a digest", "bundle.revision", manifested(manifestOf("c796750c6838"))},
		{"label that breaks a line", "bundle.revision", manifested(manifestOf("11+a\nb"))},
		{"a part of the policy", "bundle.roots", manifested(`{"revision": "11", "roots": ["cordon"]}`)},
		{"roots that overlap", "bundle.roots", manifested(`{"revision": "11", "roots": ["", "cordon"]}`)},
		{"roots of nothing", "bundle.roots", manifested(`{"revision": "11", "roots": []}`)},
		{"an older Rego", "bundle.rego_version", manifested(`{"revision": "11", "rego_version": 0}`)},
		{"an older Rego in one file", "bundle.rego_version", manifested(`{"revision": "11", "rego_version": 1, "file_rego_versions": {"/cordon.rego": 0}}`)},
		{"WebAssembly in the manifest", "bundle.wasm", manifested(`{"revision": "11", "wasm": [{"entrypoint": "cordon/allow", "module": "/policy.wasm"}]}`)},

		// OPA's signature.
		{"unsigned", "bundle.unsigned", func(t *testing.T, p *publisher) rego.Delivery {
			return p.sealed(t, refusing.with(".manifest", manifestOf("11")), 11)
		}},
		{"no signature in the list", "bundle.signatures", tokened(func(*testing.T, *publisher, claims) string { return `{"signatures": []}` })},
		{"two signatures", "bundle.signatures", tokened(func(t *testing.T, p *publisher, c claims) string {
			one := p.token(t, p.header(), c)
			return signaturesOf(one, one)
		})},
		{"signatures for another verifier", "bundle.signatures", tokened(func(t *testing.T, p *publisher, c claims) string {
			return strings.Replace(signaturesOf(p.token(t, p.header(), c)), "{", `{"plugin": "mine",`, 1)
		})},
		{"signatures that are no JSON", "bundle.signatures", tokened(func(*testing.T, *publisher, claims) string { return "{" })},
		{"token of two parts", "bundle.signatures", tokened(func(t *testing.T, p *publisher, c claims) string {
			head, _, _ := strings.Cut(p.token(t, p.header(), c), ".")
			return signaturesOf(head + "." + head)
		})},
		{"algorithm none", "bundle.signatures.algorithm", tokened(func(t *testing.T, p *publisher, c claims) string {
			return signaturesOf(segment64(t, header{"alg": "none", "kid": p.keyID}) + "." + segment64(t, c) + ".")
		})},
		{"the public key as a shared secret", "bundle.signatures.algorithm", tokened(func(t *testing.T, p *publisher, c claims) string {
			text := segment64(t, header{"alg": "HS256", "kid": p.keyID}) + "." + segment64(t, c)
			mac := hmac.New(sha256.New, p.opa.Public)
			mac.Write([]byte(text))
			return signaturesOf(text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)))
		})},
		{"no algorithm", "bundle.signatures.algorithm", headed("alg", nil)},
		{"no key id", "bundle.signatures.key", headed("kid", nil)},
		{"wrong key id", "bundle.signatures.key", headed("kid", "another")},
		{"two key ids", "bundle.signatures.key", claimed(func(c *claims) { c.Key = "another" })},
		{"key brought along", "bundle.signatures", headed("jwk", map[string]string{"kty": "EC"})},
		{"critical header", "bundle.signatures", headed("crit", []string{"exp"})},
		{"another key of the same id", "bundle.signatures.wrong", tokened(func(t *testing.T, p *publisher, c claims) string {
			return signaturesOf(newPublisher(t).token(t, p.header(), c))
		})},
		{"signed for a scope", "bundle.signatures.scope", claimed(func(c *claims) { c.Scope = "write" })},
		{"weak hash", "bundle.hash.algorithm", claimed(func(c *claims) { c.Files[1].Algorithm = "MD5" })},
		{"file listed twice", "bundle.signatures", claimed(func(c *claims) { c.Files = append(c.Files, c.Files[1]) })},
		{"file not listed", "bundle.hash.unlisted", claimed(func(c *claims) { c.Files = c.Files[1:] })},
		{"nothing listed", "bundle.hash.unlisted", claimed(func(c *claims) { c.Files = nil })},
		{"file missing", "bundle.hash.missing", claimed(func(c *claims) { c.Files = append(c.Files, hashOf{"guard.rego", c.Files[0].Hash, "SHA-256"}) })},
		{"file changed", "bundle.hash.mismatch", func(t *testing.T, p *publisher) rego.Delivery {
			f := refusing.with(".manifest", manifestOf("11"))
			f = f.with(".signatures.json", signaturesOf(p.token(t, p.header(), p.hashes(t, f))))
			return p.sealed(t, f.with("cordon.rego", f["cordon.rego"]+"\nallow if true\n"), 11)
		}},
		{"value of data changed", "bundle.hash.mismatch", func(t *testing.T, p *publisher) rego.Delivery {
			f := refusing.with(".manifest", manifestOf("11"))
			f = f.with(".signatures.json", signaturesOf(p.token(t, p.header(), p.hashes(t, f))))
			return p.sealed(t, f.with("data.json", `{"open": true}`), 11)
		}},

		// The policy.
		{"no rule", "policy.empty", func(t *testing.T, p *publisher) rego.Delivery {
			return p.publish(t, files{"data.json": "{}"}, 11)
		}},
		{"broken Rego", "policy.syntax", rules("cordon.rego", "package cordon\n\nallow if {\n")},
		{"older Rego", "policy.syntax", rules("cordon.rego", "package cordon\n\nallow { true }\n")},
		{"Rego with a byte order mark", "policy.file.encoding", rules("cordon.rego", "\ufeff"+refusing["cordon.rego"])},
		{"data with a byte order mark", "policy.file.encoding", rules("more/data.json", "\ufeff{}")},
		{"Rego that is not UTF-8", "policy.file.encoding", rules("cordon.rego", refusing["cordon.rego"]+"# \xe4\n")},
		{"looping rules", "policy.recursion", rules("cordon.rego", refusing["cordon.rego"]+"\na if b\n\nb if a\n")},
		{"a rule that calls out", "policy.type", rules("cordon.rego", refusing["cordon.rego"]+"\nallow if http.send({\"method\": \"get\", \"url\": \"http://x\"}).status_code == 200\n")},
		{"a rule that asks the clock", "policy.type", rules("cordon.rego", refusing["cordon.rego"]+"\nallow if time.now_ns() > 0\n")},
		{"a rule that reads the environment", "policy.type", rules("cordon.rego", refusing["cordon.rego"]+"\nallow if opa.runtime().env.X\n")},
		{"a rule that asks for what is not in the schema", "policy.type", rules("cordon.rego", refusing["cordon.rego"]+"\nallow if input.opration.class == \"read\"\n")},
		{"an answer of another type", "policy.type", rules("cordon.rego", "package cordon\n\nallow := \"yes\"\n")},
		{"an unsafe variable", "policy.unsafe", rules("cordon.rego", refusing["cordon.rego"]+"\nallow if x == y\n")},
		{"a variable nobody uses", "policy.compile", rules("cordon.rego", refusing["cordon.rego"]+"\nallow if {\n\tx := 1\n\tdata.open\n}\n")},
		{"another package", "policy.allow", rules("cordon.rego", "package corden\n\ndefault allow := false\n\nallow if data.open == true\n")},
		{"data that a rule misses", "policy.data", rules("data.json", `{"opne": false}`)},
		{"data in the rules' place", "policy.data", rules("data.json", `{"open": false, "cordon": {"allow": true}}`)},
		{"data in the rules' place, by a folder", "policy.data", rules("cordon/data.json", `{"allow": true}`)},
		{"data in the gateway's place", "policy.data.access", rules("access/data.json", `{"grants": []}`)},
		{"data that is no object", "policy.data", rules("data.json", `[1]`)},
		{"data twice", "policy.data", rules("data.yaml", "open: true\n")},
		{"data by alias", "policy.data", rules("lists/data.yaml", "a: &a [1]\nb: *a\n")},
		{"no test", "bundle.tests.none", rules("cordon_test.rego", "")},
		{"failing test", "policy.test", rules("cordon_test.rego", refusing["cordon_test.rego"]+"\ntest_open if cordon.allow\n")},
		{"test that does not compile", "policy.type", rules("cordon_test.rego", refusing["cordon_test.rego"]+"\ntest_clock if time.now_ns() > 0\n")},
		{"tests that never end", "bundle.tests.slow", rules("cordon_test.rego", refusing["cordon_test.rego"]+`
test_endless if {
	some a in numbers.range(1, 9999)
	some b in numbers.range(1, 9999)
	some c in numbers.range(1, 9999)
	a + b + c == 0
}

test_endless_comprehension if {
	found := [a |
		some a in numbers.range(1, 9999)
		some b in numbers.range(1, 9999)
		some c in numbers.range(1, 9999)
		a * b * c < 0
	]
	count(found) == 0
}
`)},
		{"missing patch", "policy.patch.missing", rules("patches.rego", "")},

		// The revision.
		{"older", "bundle.older", func(t *testing.T, p *publisher) rego.Delivery { return p.publish(t, refusing, inForceRevision-1) }},
		{"same revision, other content", "bundle.revision.reused", func(t *testing.T, p *publisher) rego.Delivery { return p.publish(t, refusing, inForceRevision) }},
	}
}

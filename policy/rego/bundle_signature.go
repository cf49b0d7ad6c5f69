package rego

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/bundle"
)

// OPA's signature is a JSON Web Token in .signatures.json that lists the hash of every other
// file of the bundle. Its verification is OPA's own. What stands here is what OPA leaves
// open: which key, which algorithm, which hashes.

const (
	maxSignatures = 1 << 20    // bytes of .signatures.json: a hash and a name for each of 1000 files
	ownVerifier   = "_default" // what "opa build" calls OPA's verification; "opa sign" calls it nothing
)

// verifyFiles verifies OPA's signature and that it lists every file as it is.
func (k *BundleKeys) verifyFiles(files []Source) *Problem {
	text, ok := member(files, signaturesName)
	if !ok {
		return &Problem{Code: "bundle.unsigned", Message: "there is no " + signaturesName, Hint: "cordon policy bundle sign, or opa sign"}
	}
	bad := func(code, message string) *Problem {
		return &Problem{File: signaturesName, Code: code, Message: message}
	}
	var list bundle.SignaturesConfig
	if len(text) > maxSignatures {
		return bad("bundle.signatures", fmt.Sprintf("more than %d KiB", maxSignatures>>10))
	}
	if err := strictJSON(text, &list); err != nil {
		return bad("bundle.signatures", "not a list of signatures: "+err.Error())
	}
	if len(list.Signatures) != 1 || list.Plugin != "" && list.Plugin != ownVerifier {
		return bad("bundle.signatures", fmt.Sprintf("%d signatures for the verifier %.40q, want one for OPA's own", len(list.Signatures), list.Plugin))
	}
	if p := k.checkToken(list.Signatures[0]); p != nil {
		return p
	}
	hashes, err := bundle.VerifyBundleSignature(list, k.pinned())
	if err != nil {
		return &Problem{File: signaturesName, Code: "bundle.signatures.wrong", Message: err.Error(), Hint: "policy.bundle.key is the key whose bundles are taken"}
	}
	for _, s := range files {
		if s.Name == signaturesName {
			continue
		}
		switch listed, ok := hashes[s.Name]; {
		case !ok:
			return &Problem{File: s.Name, Code: "bundle.hash.unlisted", Message: "the signature does not list this file"}
		case !slices.Contains([]string{"SHA-256", "SHA-384", "SHA-512"}, listed.Algorithm):
			return &Problem{File: s.Name, Code: "bundle.hash.algorithm", Message: fmt.Sprintf("hashed with %.20q, want SHA-256, SHA-384 or SHA-512", listed.Algorithm)}
		}
		// Takes the file off the list, so that the rest is what is missing.
		if err := bundle.VerifyBundleFile(s.Name, *bytes.NewBuffer(s.Text), hashes); err != nil {
			return &Problem{File: s.Name, Code: "bundle.hash.mismatch", Message: "not the file that was signed: " + err.Error(), Hint: "build and sign it again"}
		}
	}
	for _, name := range sortedNames(hashes) {
		return &Problem{Code: "bundle.hash.missing", Message: fmt.Sprintf("the signature lists %.200q, which is not in the bundle", name)}
	}
	return nil
}

// pinned is the one key for OPA's verification, with no scope and no file left out.
func (k *BundleKeys) pinned() *bundle.VerificationConfig {
	return bundle.NewVerificationConfig(map[string]*bundle.KeyConfig{k.id: {Key: k.key, Algorithm: k.algorithm}}, k.id, "", nil)
}

// checkToken looks at what OPA passes over: it takes the algorithm and the key from the
// configuration whatever the token says, lets a later entry for a file replace an earlier
// one, and knows no critical headers (RFC 7515 section 4.1.11).
func (k *BundleKeys) checkToken(token string) *Problem {
	bad := func(code, message, hint string) *Problem {
		return &Problem{File: signaturesName, Code: code, Message: message, Hint: hint}
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return bad("bundle.signatures", "not a JSON Web Token of three parts", "")
	}
	head, err := base64.RawURLEncoding.Strict().DecodeString(parts[0])
	var h struct {
		Algorithm string `json:"alg"`
		Key       string `json:"kid"`
		Type      string `json:"typ"`
	}
	if err == nil {
		err = strictJSON(head, &h)
	}
	if err != nil {
		return bad("bundle.signatures", "not a token's header: "+err.Error(), "")
	}
	if h.Algorithm != k.algorithm {
		return bad("bundle.signatures.algorithm", fmt.Sprintf("signed with the algorithm %.20q, want %s, which is the key's", h.Algorithm, k.algorithm), "cordon policy bundle sign, or opa sign --signing-alg "+k.algorithm)
	}
	body, err := base64.RawURLEncoding.Strict().DecodeString(parts[1])
	var claims struct {
		Files []bundle.FileInfo `json:"files"`
		Key   string            `json:"keyid"` // where "opa sign" puts it
		Scope string            `json:"scope"`
	}
	if err == nil {
		err = json.Unmarshal(body, &claims)
	}
	if err != nil {
		return bad("bundle.signatures", "not a token's claims: "+err.Error(), "")
	}
	switch named := cmp.Or(h.Key, claims.Key); {
	case named == "":
		return bad("bundle.signatures.key", fmt.Sprintf("names no key, want %q", k.id), `cordon policy bundle sign, or opa sign --claims-file with {"keyid": …}`)
	case named != k.id || claims.Key != "" && claims.Key != named:
		return bad("bundle.signatures.key", fmt.Sprintf("signed with the key %.64q, want %q", named, k.id), "policy.bundle.key_id is what the bundles' key is called")
	}
	if claims.Scope != "" {
		return bad("bundle.signatures.scope", fmt.Sprintf("signed for the scope %.40q only", claims.Scope), "sign it without a scope")
	}
	seen := map[string]bool{}
	for _, f := range claims.Files {
		if seen[f.Name] {
			return bad("bundle.signatures", fmt.Sprintf("lists %.200q twice", f.Name), "")
		}
		seen[f.Name] = true
	}
	return nil
}

package rego

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"
)

// BundleKeys are the two public keys that a bundle must be signed with.
type BundleKeys struct {
	key       string // PEM
	id        string
	algorithm string // of JWS, which the key's own kind decides
	signer    ed25519.PublicKey
}

var keyIDForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

var errMore = errors.New("more after the end of the document")

// NewBundleKeys takes the keys as PEM: key is OPA's, an RSA, EC or Ed25519 public key with the
// id that bundles name it by, or "" for KeyID's; signer is ours, an Ed25519 public key.
func NewBundleKeys(key []byte, id string, signer []byte) (*BundleKeys, error) {
	public, err := publicKey(key)
	if err != nil {
		return nil, fmt.Errorf("read the bundles' key: %w", err)
	}
	algorithm, err := algorithmOf(public)
	if err != nil {
		return nil, fmt.Errorf("read the bundles' key: %w", err)
	}
	if id == "" {
		id = KeyID(public)
	}
	if !keyIDForm.MatchString(id) {
		return nil, fmt.Errorf("read the bundles' key: the key id %q is not 1 to 64 letters, digits, dots, hyphens and underscores", id)
	}
	own, err := publicKey(signer)
	if err != nil {
		return nil, fmt.Errorf("read the signer's key: %w", err)
	}
	ed, ok := own.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("read the signer's key: not an Ed25519 key, but %T", own)
	}
	return &BundleKeys{key: string(key), id: id, algorithm: algorithm, signer: ed}, nil
}

func publicKey(text []byte) (crypto.PublicKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("not a PEM file")
	}
	if block.Type != "PUBLIC KEY" {
		return nil, fmt.Errorf("a %q in PEM, want a \"PUBLIC KEY\"", block.Type)
	}
	return x509.ParsePKIXPublicKey(block.Bytes)
}

// algorithmOf returns the only algorithm (RFC 7518 section 3.1, RFC 8037) a key is used with.
// HMAC is not among them: who can verify could sign.
func algorithmOf(key crypto.PublicKey) (string, error) {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < 2048 {
			return "", fmt.Errorf("an RSA key of %d bits, want 2048 at least", k.N.BitLen())
		}
		return "RS256", nil
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return "ES256", nil
		case elliptic.P384():
			return "ES384", nil
		}
		return "", fmt.Errorf("a key on the curve %s, want P-256 or P-384", k.Curve.Params().Name)
	case ed25519.PublicKey:
		return "EdDSA", nil
	}
	return "", fmt.Errorf("a key of a kind that signs no bundles: %T", key)
}

// KeyID names a public key by the first 16 hexadecimal digits of the SHA-256 of its
// SubjectPublicKeyInfo. It returns "" for a key of no known kind.
func KeyID(key crypto.PublicKey) string {
	info, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(info)
	return hex.EncodeToString(sum[:8])
}

// KeyPair is a new key in PEM: the private half is PKCS #8 and for its owner's eyes only.
type KeyPair struct {
	ID              string
	Private, Public []byte
}

// NewBundleKeyPairs makes one key for each of a bundle's signatures: ECDSA on P-256 for OPA's,
// Ed25519 for the detached one.
func NewBundleKeyPairs() (opa, signer KeyPair, err error) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err == nil {
		opa, err = pair(ec, ec.Public())
	}
	if err != nil {
		return opa, signer, fmt.Errorf("make a key: %w", err)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err == nil {
		signer, err = pair(private, public)
	}
	if err != nil {
		return opa, signer, fmt.Errorf("make a key: %w", err)
	}
	return opa, signer, nil
}

func pair(private crypto.PrivateKey, public crypto.PublicKey) (KeyPair, error) {
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return KeyPair{}, err
	}
	open, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return KeyPair{}, err
	}
	return KeyPair{KeyID(public), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: open})}, nil
}

// privateKey reads a PKCS #8 private key in PEM.
func privateKey(text []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errors.New(`not a "PRIVATE KEY" in PEM (PKCS #8)`)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a key that signs nothing: %T", key)
	}
	return signer, nil
}

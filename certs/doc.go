// Package certs says who is there: it turns the certificate a client presented in
// a TLS handshake into an Identity, or refuses it.
//
// Read profile.go for what a client certificate must look like, verify.go for how
// one is checked, source.go for what the check is made against, server.go for the
// TLS configuration that makes every connection pass through it, statement.go for what
// a subject says outside a connection, so that it can be kept. Package certs/ca
// issues such certificates and implements Source.
//
// What it does not defend: it knows who holds a key, not who sits at the keyboard;
// whoever has copied the key is that subject until the certificate expires or is
// revoked. It believes a trusted authority's every signature that its own name
// constraints permit, and it learns of revocations only as fast as its Source does.
// It decides nothing about devices and operations: that is the policy's part.
package certs

// Package ca is Cordon's own certificate authority: smallstep/certificates with a
// bbolt file, embedded, and nothing of it that Cordon does not use. It issues
// client certificates of the profile in package certs and the gateway's own, takes
// them back, and is the gateway's certs.Source.
//
// Read init.go for what is on disk, authority.go for how the embedded authority is
// opened, issue.go, revoke.go and list.go for what is done with it, source.go,
// trust.go, crl_file.go, crl_kept.go, list_state.go and foreign.go for the side that
// lives in the gateway.
//
// The authority is opened for one piece of work at a time and closed again, so that
// the daemon and the command line share it. It listens nowhere, and there is no
// ACME, SCEP or SSH.
//
// What it does not defend: who can read the directory can issue any identity of the
// trust domain, and no other, for the intermediate is constrained to it. Nothing
// needs root.key in daily work; keep it elsewhere. Neither root nor intermediate is
// ever renewed. Certificates of a foreign authority cannot be revoked here. What it has
// revoked is known as of the lists in CRLFile (crl_file.go, foreign.go) and not at all
// without them: complete lists, signed by the authority itself, and neither delta, partial
// nor indirect ones nor OCSP. The last of them are kept in the directory (crl_kept.go): who
// can write there can put older ones in their place. The certificates of servers that
// devices call are not looked for in lists.
package ca

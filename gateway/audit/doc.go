// Package audit is Cordon's tamper-evident log: what was asked, what was answered,
// and by which policy, durable before the first byte of the operation moves.
//
// Read entry.go for what is written, code.go for the short code people read out,
// log.go and commit.go for how an entry becomes durable, checkpoint.go for what is
// signed, recover.go and keys.go for what happens at start, cursor.go and read.go for other
// processes, verify.go and prove.go for the auditor, copy.go for backups.
//
// # On disk
//
// A log is a folder with one writer:
//
//	00000001.log …  entries, one line each: CRC-32C, a space, one JSON object
//	hashes          the Merkle tree's nodes in tlog order; a cache, rebuilt when damaged
//	checkpoint      the newest signed size and root, a C2SP tlog-checkpoint
//	checkpoints     earlier ones, one for every ten minutes of use and every close
//	key             the signing key (secret)
//	key.pub         its verifier key, to be given to auditors
//	codes.key       the key of the decision codes (secret only in that it hides volume)
//	lock            held while a writer is alive
//
// The leaves of the tree are the JSON objects, hashed as RFC 6962 section 2.1 says, so
// proofs can be checked by any transparency-log tool. Lines can be read with cut and jq.
//
// The files are plain and append-only instead of a key-value store for two reasons: a
// commit is then one write and one fdatasync into blocks that exist already, with no
// page of the store's own to rewrite; and a store's exclusive lock would keep the
// operator's tools from reading while the gateway runs.
//
// # What it does not defend
//
// Whoever holds the signing key can write another history. Entries younger than the
// newest checkpoint (a second, at most, while the disk is well) are protected by a CRC
// only. A rollback of the whole folder to an older state of itself is invisible from the
// folder alone: it shows only against a checkpoint kept elsewhere, so keep some (see
// Options.TrustedCheckpoint). The file of earlier checkpoints catches only the careless.
// The log does not encrypt: whoever can read the folder can read the entries.
package audit

// Package rego answers Cordon's question with rules written in Rego. It is the
// only package that knows OPA.
//
// A policy is a folder: rules in *.rego files, facts in data.json or data.yaml,
// tests in *_test.rego files. The rules of package cordon answer:
//
//	allow        boolean; anything but true refuses
//	reason       string; shown to whoever was refused
//	rule         string; names the rule that decided
//	obligations  set of strings
//	valid_until  ns since the Unix epoch; when the answer may change by itself
//
// Only allow is required. What they may read of a request is input.schema.json.
//
// Read folder.go for what is read from disk, compile.go for what is accepted,
// engine.go for how a request is decided, access.go for what the gateway adds to the data, reads.go and key.go for why an answer
// may be given again, cache.go for where it is kept, explain.go for how an old
// decision is accounted for, learn.go and propose.go for how what was refused becomes a
// proposal, suite.go for the folder's own tests, lint.go for slips that compile, table.go for
// who may do what, repair.go for what would allow a refused
// request (where to look: repair_places.go; which is mildest: repair_rank.go), shipped.go for the policy
// that comes with Cordon, workspace.go for what is beside it.
//
// A policy may also come as a bundle, a file signed twice: bundle.go says in which
// order it is looked at, bundle_detached.go, bundle_tar.go, bundle_manifest.go and
// bundle_signature.go are the stations, bundle_build.go makes one,
// bundle_download.go fetches it.
//
// It does not defend against a policy that is wrong, only against one that is
// broken: a rule that allows too much is believed. Nor does it check who wrote
// a folder; that is for file permissions, or for signed bundles in its place. A
// deadline stops rules that loop, but not one single call of a built-in function
// on a huge value.
package rego

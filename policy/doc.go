// Package policy is Cordon's vocabulary and the one question it asks: may this
// subject do this operation to this device now?
//
// Read subject.go, device.go, operation.go for the nouns, request.go for what a
// policy is asked, decision.go for what it answers. The rest of Cordon speaks in
// these words and the standard library is all this package needs.
//
// It does not defend anything by itself: it neither checks who a subject is
// (package certs does) nor evaluates a rule (policy/rego does). A Request is
// believed as it is given.
package policy

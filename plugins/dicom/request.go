package dicom

import (
	"encoding/binary"
	"slices"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// request is an A-ASSOCIATE-RQ as it is read: facts, and what refuses it.
type request struct {
	*association
	facts
	proposals, applications, userItems int

	seen   uint64 // user information items by type, those that come once
	reason string // why it is invalid; "" if it is not
}

// readRequest reads an A-ASSOCIATE-RQ behind its PDU header. The operation is invalid if
// reason is not empty.
func (set *settings) readRequest(a *association, b []byte) (op policy.Operation, reason string, wrong *violation) {
	r := &request{association: a, facts: facts{room: maxRoom}}
	a.window = 1
	if len(b) < fixedPart {
		return op, "", badAssociation
	}
	if b[1]&1 == 0 {
		r.invalid(rejectVersion, "protocol version that is not supported")
	}
	a.called = r.title(b[4:20], rejectCalledAE)
	a.calling = r.title(b[20:36], rejectCallingAE)
	if len(set.calledAE) > 0 && !slices.Contains(set.calledAE, a.called) {
		r.invalid(rejectCalledAE, "AE title this device does not answer to")
	}
	if !items(b[fixedPart:], r.item) || r.applications != 1 || r.userItems != 1 || r.proposals == 0 {
		return op, "", badAssociation
	}
	return r.operation(set), r.reason, nil
}

func (r *request) invalid(how rejection, reason string) {
	if r.reason == "" {
		r.rejected, r.reason = how, reason
	}
}

func (r *request) title(b []byte, how rejection) string {
	title, quirks, ok := aeTitle(b)
	r.quirks |= quirks
	if !ok {
		r.invalid(how, "AE title that is none")
	}
	return title
}

func (r *request) uid(b []byte) string {
	text, quirks, ok := uid(b)
	r.quirks |= quirks
	if !ok {
		r.invalid(rejectNoReason, "UID that is none")
	}
	return text
}

func (r *request) item(kind byte, b []byte) bool {
	switch kind {
	case itemApplication:
		r.applications++
		if name := r.uid(b); name != dicomApplication {
			r.set("app_context", name)
			r.invalid(rejectAppContext, "application context that is not DICOM's")
		}
	case itemProposed:
		r.proposals++
		return r.propose(b)
	case itemUser:
		r.userItems++
		return items(b, r.userItem)
	}
	return true // PS3.8 9.3.1: unknown items are ignored
}

func (r *request) propose(b []byte) bool {
	if len(b) < 4 || b[0]&1 == 0 || len(r.contexts) == maxContexts || r.context(b[0]) != nil {
		return false
	}
	p := presentation{id: b[0]}
	abstracts := 0
	ok := items(b[4:], func(kind byte, b []byte) bool {
		switch kind {
		case itemAbstract:
			abstracts++
			p.abstract = r.uid(b)
		case itemTransfer:
			p.proposed = append(p.proposed, r.uid(b))
		}
		return true
	})
	r.contexts = append(r.contexts, p)
	return ok && abstracts == 1 && len(p.proposed) > 0
}

func (r *request) userItem(kind byte, b []byte) bool {
	switch kind {
	case itemMaxPDU, itemClassUID, itemAsync, itemVersion, itemUserIdentity:
		if r.seen&(1<<(kind&63)) != 0 {
			return false
		}
		r.seen |= 1 << (kind & 63)
	}
	switch kind {
	case itemMaxPDU:
		if len(b) != 4 {
			return false
		}
		r.maxPDU[sdk.Reverse] = int64(binary.BigEndian.Uint32(b))
		r.set("max_pdu", r.maxPDU[sdk.Reverse])
	case itemClassUID:
		r.set("impl_class_uid", r.uid(b))
	case itemVersion:
		r.text("impl_version", b, latin1)
	case itemAsync:
		if len(b) != 4 {
			return false
		}
		r.set("async_invoked", int64(binary.BigEndian.Uint16(b)))
		r.set("async_performed", int64(binary.BigEndian.Uint16(b[2:])))
	case itemRole:
		class, _, provider, ok := role(b)
		if !ok {
			return false
		}
		if len(r.roles) == maxContexts {
			return false
		}
		if provider {
			r.roles = addOnce(r.roles, r.uid(class))
		}
	case itemUserIdentity:
		return r.userIdentity(b)
	}
	return true
}

// identityKinds are by type of item 58 (PS3.7 D.3.3.7.1).
var identityKinds = [...]string{1: "username", 2: "username+passcode", 3: "kerberos", 4: "saml", 5: "jwt"}

// userIdentity takes who the client claims to be, never what would prove it.
func (r *request) userIdentity(b []byte) bool {
	if len(b) < 6 {
		return false
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if n > len(b)-6 || int(binary.BigEndian.Uint16(b[4+n:])) != len(b)-6-n {
		return false
	}
	kind := int(b[0])
	if kind < 1 || kind >= len(identityKinds) {
		r.invalid(rejectNoReason, "user identity of unknown type")
		return true
	}
	r.identity = identityKinds[kind]
	if kind <= 2 {
		if n == 0 || n > maxIdentity {
			r.invalid(rejectNoReason, "user identity that is empty or too long")
			return true
		}
		var odd bool
		if r.user, odd = escape(b[4:4+n], utf8Set); odd {
			r.quirks |= charset
		}
	}
	return true
}

// operation gives the facts their names.
func (r *request) operation(set *settings) policy.Operation {
	r.who(r.association)
	var abstracts, transfers []string
	for i := range r.contexts {
		p := &r.contexts[i]
		abstracts = addOnce(abstracts, p.abstract)
		for _, t := range p.proposed {
			if transfers = addOnce(transfers, t); len(transfers) > maxSyntaxes {
				r.invalid(rejectNoReason, "more transfer syntaxes than there are")
				break
			}
		}
	}
	r.strings("abstract_syntaxes", abstracts)
	r.strings("transfer_syntaxes", transfers)
	r.strings("scp_role", r.roles)
	if r.identity != "" {
		r.set("user_identity_type", r.identity)
		r.set("user_identity_verified", "no")
	}
	if r.quirks&set.refuse != 0 {
		r.invalid(rejectNoReason, refusedQuirk)
	}
	attributes, fit := r.attributes()
	if !fit {
		r.invalid(rejectNoReason, "association request with more than can be told")
	}
	return policy.Operation{Name: "dicom:A-ASSOCIATE", Class: policy.ClassSession, Attributes: attributes}
}

// who adds the names of the two sides, which every operation repeats.
func (f *facts) who(a *association) {
	f.set("called_ae", a.called)
	f.set("calling_ae", a.calling)
	f.set("user_identity", a.user)
}

package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"strconv"

	"cordon/certs"
	"cordon/gateway/audit"
	"cordon/gateway/timing"
	"cordon/policy"
)

// CodeUnrecorded is the code of refusals that could not be recorded because the log
// cannot be written. Every other code is an entry's; none of them has a vowel.
const CodeUnrecorded = "NO-LOG"

// record makes a decision durable and returns its code. A decision that cannot be
// recorded within Limits.RecordTimeout becomes a refusal: nothing moves that the log
// does not know of.
func (g *Gateway) record(request *policy.Request, d policy.Decision) (policy.Decision, string) {
	ctx, cancel := context.WithTimeout(context.Background(), g.Limits.RecordTimeout)
	defer cancel()
	began := timing.Clock()
	receipt, err := g.Log.Append(ctx, audit.Entry{Kind: audit.KindDecision, Gateway: g.Name, Input: request.AppendJSON(nil), Decision: d})
	g.sums.record.Observe(timing.Clock() - began)
	if err != nil {
		return policy.Decision{Reason: "the audit log cannot be written", Cause: policy.CauseDoubt, Revision: d.Revision, Data: d.Data}, CodeUnrecorded
	}
	return d, receipt.Code
}

// handshakeReason says in one line why a handshake failed, without echoing what a
// stranger sent.
func handshakeReason(err error) string {
	switch word := handshakeWord(err); word {
	case "timeout":
		return "the handshake took too long"
	case "not_tls":
		return "not TLS"
	case "client_alert":
		alert, _ := errors.AsType[tls.AlertError](err)
		return "the client ended the handshake: " + alert.Error()
	case "no_certificate":
		return certs.ErrNoCertificate.Error()
	case "other":
		return "the handshake did not complete"
	}
	return err.Error()
}

// handshakeWord is the same in one word, of handshakeWords.
func handshakeWord(err error) string {
	var record tls.RecordHeaderError
	var alert tls.AlertError
	switch {
	case errors.Is(err, certs.ErrNoCertificate), err.Error() == "tls: client didn't provide a certificate":
		return "no_certificate"
	case errors.Is(err, certs.ErrExpired):
		return "expired"
	case errors.Is(err, certs.ErrUntrusted):
		return "untrusted"
	case errors.Is(err, certs.ErrRevoked):
		return "revoked"
	case errors.Is(err, certs.ErrRevocationUnknown):
		return "revocation_unknown"
	case errors.Is(err, certs.ErrProfile):
		return "profile"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.As(err, &record):
		return "not_tls"
	case errors.As(err, &alert):
		return "client_alert"
	}
	return "other"
}

func plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.FormatInt(n, 10) + " " + many
}

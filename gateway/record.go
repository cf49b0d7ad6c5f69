package gateway

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"cordon/certs"
	"cordon/gateway/audit"
	"cordon/policy"
)

// CodeUnrecorded is the code of refusals that could not be recorded because the log
// cannot be written. Every other code is an entry's; none of them has a vowel.
const CodeUnrecorded = "NO-LOG"

// record makes a decision durable and returns its code. A decision that cannot be
// recorded within Limits.RecordTimeout becomes a refusal: nothing moves that the log
// does not know of.
func (g *Gateway) record(input []byte, d policy.Decision) (policy.Decision, string) {
	ctx, cancel := context.WithTimeout(context.Background(), g.Limits.RecordTimeout)
	defer cancel()
	receipt, err := g.Log.Append(ctx, audit.Entry{Kind: audit.KindDecision, Gateway: g.Name, Input: input, Decision: d})
	if err != nil {
		return policy.Decision{Reason: "the audit log cannot be written", Cause: policy.CauseDoubt, Revision: d.Revision, Data: d.Data}, CodeUnrecorded
	}
	return d, receipt.Code
}

// encodeRequest gives the policy's input exactly as it was asked. A request consists of
// strings and numbers, so encoding cannot go wrong.
func encodeRequest(r *policy.Request) []byte {
	b, err := json.Marshal(r)
	if err != nil {
		panic(fmt.Sprintf("encode a request: %v", err))
	}
	return b
}

// encoder encodes the requests of one session. What does not change from operation to
// operation is encoded once.
type encoder struct{ prefix []byte }

// newEncoder takes the parts of r that stay: all but Operation and NowNs.
func newEncoder(r *policy.Request) encoder {
	part := func(v any) []byte {
		b, err := json.Marshal(v)
		if err != nil {
			panic(fmt.Sprintf("encode a request: %v", err))
		}
		return b
	}
	b := append([]byte(nil), `{"phase":"operation","subject":`...)
	b = append(append(b, part(r.Subject)...), `,"device":`...)
	b = append(append(b, part(r.Device)...), `,"service":`...)
	b = append(append(b, part(r.Service)...), `,"session":`...)
	b = append(append(b, part(r.Session)...), `,"operation":`...)
	return encoder{prefix: append([]byte(nil), b...)}
}

// encode gives the same bytes encodeRequest would.
func (e encoder) encode(r *policy.Request) []byte {
	op, err := json.Marshal(r.Operation)
	if err != nil {
		panic(fmt.Sprintf("encode a request: %v", err))
	}
	b := make([]byte, 0, len(e.prefix)+len(op)+32)
	b = append(append(b, e.prefix...), op...)
	b = append(b, `,"now_ns":`...)
	b = strconv.AppendInt(b, r.NowNs, 10)
	return append(b, '}')
}

// handshakeReason says in one line why a handshake failed, without echoing what a
// stranger sent.
func handshakeReason(err error) string {
	var record tls.RecordHeaderError
	var alert tls.AlertError
	switch {
	case errors.Is(err, certs.ErrNoCertificate), errors.Is(err, certs.ErrExpired), errors.Is(err, certs.ErrUntrusted),
		errors.Is(err, certs.ErrRevoked), errors.Is(err, certs.ErrProfile):
		return err.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "the handshake took too long"
	case errors.As(err, &record):
		return "not TLS"
	case errors.As(err, &alert):
		return "the client ended the handshake: " + alert.Error()
	case err.Error() == "tls: client didn't provide a certificate":
		return certs.ErrNoCertificate.Error()
	}
	return "the handshake did not complete"
}

func plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.FormatInt(n, 10) + " " + many
}

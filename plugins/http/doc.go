// Package http inspects HTTP/1.1 and HTTP/1.0: device web interfaces, FHIR and vendors' REST.
//
// An operation is one request; the responses to it belong to it. Read inspect.go for the
// client's direction, head.go for where a head ends, request.go, field.go and target.go for
// what is read from it, facts.go for what policy is told, class.go and fhir.go for what the
// request does, body.go for where a body ends, reply.go for the device's direction,
// exchange.go for which response answers what, refusal.go for the negative answer.
//
// A request is decided on its head, which is held whole; its body follows as it arrives and
// is not read. Nothing is rewritten, no field is added or taken away: what two parsers could
// read differently is refused, so that the device cannot understand another request than
// the one that was decided. Responses are held, too: a client that switches protocols may
// speak only after the device agreed, and a response that could be read as two never
// reaches it.
//
// # Attributes
//
// Always method, version ("1.1"), and path: decoded once, dot segments refused, without
// the query; raw_path beside it if it was written differently. If there are such: host
// (lower case, port included), query_keys (sorted, without values), content_length,
// transfer ("chunked"), content_type (without parameters), content_encoding,
// authorization_scheme, cookie_names (sorted), user_agent (up to 256 bytes of ASCII),
// upgrade, method_override (a header field that asks the device to take the method for
// another).
//
// Below the base of the setting fhir: fhir_interaction (read, vread, history, search, create,
// update, patch, delete, operation, batch, capabilities), fhir_resource, fhir_id,
// fhir_compartment ("Patient/1"), fhir_operation ("$everything"), fhir_search_params (the
// names in the query).
//
// # Refusals
//
// 403 for what the policy refuses, 503 with Retry-After for what nobody could decide, 400 or
// what fits better for what is malformed, 502 for a response that cannot be understood: as
// problem+json (RFC 9457), as an OperationOutcome below a FHIR base, as a page for who
// prefers HTML; the decision code is in each. A refused request's body is dropped and the
// connection goes on, unless the request was malformed, said that it is the last, waited for
// 100-continue, asked to leave HTTP, or nobody could decide.
//
// # What it does not do
//
// It does not read bodies: neither the entries of a FHIR batch, which is classed as the
// most it could contain, nor the parameters of a search by POST, nor what a compressed body
// expands to. It does not verify tokens or cookies. A device that takes what its own
// request head declares to be the body for another request is beyond help; that it
// answered twice ends the session. It takes no field away, so a device that believes
// X-Remote-User and the like needs the setting refuse_fields.
package http

package http

import (
	"fmt"
	"html"
	"strings"

	"cordon/policy"
)

const (
	doubt   = policy.CauseDoubt
	unknown = policy.ClassUnknown
)

// format is how a refusal is written.
type format uint8

const (
	problem format = iota // RFC 9457
	outcome               // FHIR's OperationOutcome
	page                  // for a browser
)

// prefer reads Accept (RFC 9110 section 12.5.1). The first of the best counts; whoever names
// neither HTML nor FHIR gets a problem.
func (format) prefer(accept string) format {
	best, choice := -1, problem
	eachItem(accept, func(item string) bool {
		kind, parameters, _ := strings.Cut(item, ";")
		kind = strings.ToLower(trimSpace(kind))
		if q := quality(parameters); q > best {
			best = q
			switch {
			case kind == "text/html" || kind == "application/xhtml+xml":
				choice = page
			case strings.Contains(kind, "fhir"):
				choice = outcome
			default:
				choice = problem
			}
		}
		return true
	})
	return choice
}

// forFHIR is what a client gets that asked for a FHIR resource.
func (f format) forFHIR() format {
	if f == problem {
		return outcome
	}
	return f
}

// quality is a media range's weight in thousandths.
func quality(parameters string) int {
	_, q, ok := strings.Cut(strings.ReplaceAll(parameters, " ", ""), "q=")
	if !ok {
		return 1000
	}
	n := 0
	for i, scale := 0, 1000; i < len(q) && i < len("0.999"); i++ {
		if q[i] >= '0' && q[i] <= '9' {
			n += int(q[i]-'0') * scale
			scale /= 10
		}
	}
	return n
}

// retryAfter is when a client may try again what nobody could decide, in seconds.
const retryAfter = 5

// answer is the response to a refused request. It has no Date, as the inspector has no clock
// (RFC 9110 section 6.6.1), and may not be cached: the next request may be permitted.
func (x *exchange) answer() []byte {
	status := 403
	switch x.refused.Cause {
	case doubt:
		status = 503
	case policy.CauseProtocol:
		if status = 400; x.wrong != nil {
			status = x.wrong.status
		}
	}
	title := statusText(status)
	text := x.refused.Reason + ". Decision code: " + x.refused.Code
	var kind, content string
	switch x.accepts {
	case page:
		kind = "text/html; charset=utf-8"
		content = fmt.Sprintf("<!DOCTYPE html>\n<html lang=\"en\">\n<title>%d %s</title>\n<h1>%[2]s</h1>\n<p>The gateway refused this request: %[3]s.</p>\n<p>Decision code: <strong>%[4]s</strong></p>\n</html>\n",
			status, title, html.EscapeString(x.refused.Reason), html.EscapeString(x.refused.Code))
	case outcome:
		kind = "application/fhir+json"
		content = fmt.Sprintf(`{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":%q,"diagnostics":%s}]}`+"\n",
			issueType(status), quote(text))
	default:
		kind = "application/problem+json"
		content = fmt.Sprintf(`{"type":"about:blank","title":%q,"status":%d,"detail":%s,"instance":%s}`+"\n",
			title, status, quote(text), quote(x.refused.Code))
	}
	b := fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n",
		status, title, kind, len(content))
	if status == 503 {
		b = fmt.Appendf(b, "Retry-After: %d\r\n", retryAfter)
	}
	if x.closes {
		b = append(b, "Connection: close\r\n"...)
	}
	b = append(b, "\r\n"...)
	if x.head {
		return b
	}
	return append(b, content...)
}

func quote(s string) []byte { return policy.AppendString(nil, s) }

// statusText are the reason phrases of RFC 9110 section 15.
func statusText(status int) string {
	switch status {
	case 403:
		return "Forbidden"
	case 413:
		return "Content Too Large"
	case 414:
		return "URI Too Long"
	case 415:
		return "Unsupported Media Type"
	case 417:
		return "Expectation Failed"
	case 431:
		return "Request Header Fields Too Large"
	case 501:
		return "Not Implemented"
	case 502:
		return "Bad Gateway"
	case 503:
		return "Service Unavailable"
	}
	return "Bad Request"
}

// issueType is the code of an OperationOutcome's issue (FHIR R4, value set issue-type).
func issueType(status int) string {
	switch status {
	case 403:
		return "forbidden"
	case 413, 414, 431:
		return "too-long"
	case 415, 501:
		return "not-supported"
	case 502, 503:
		return "transient"
	}
	return "invalid"
}

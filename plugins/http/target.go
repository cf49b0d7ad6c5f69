package http

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// target is what a request is for.
type target struct {
	authority string // in the absolute form, and of CONNECT
	raw       string // the path as it was written
	path      string // decoded once
	query     string
}

// splitTarget reads the four forms of RFC 9112 section 3.2.
func splitTarget(method, s string) (t target, wrong *fault) {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '#' {
			return t, badTarget
		}
	}
	switch {
	case method == "CONNECT":
		if t.authority = s; !isAuthority(s) || !strings.Contains(s, ":") {
			return t, badTarget
		}
		return t, nil
	case s == "*":
		if t.raw = s; method != "OPTIONS" {
			return t, badTarget
		}
		return t, nil
	case s == "":
		return t, badTarget
	case s[0] != '/':
		scheme, rest, ok := strings.Cut(s, "://")
		if !ok || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
			return t, badTarget
		}
		end := strings.IndexAny(rest, "/?")
		if end < 0 || rest[end] == '?' { // an empty path, which some take for "/" and some do not
			return t, badTarget
		}
		if t.authority, s = rest[:end], rest[end:]; !isAuthority(t.authority) {
			return t, badTarget
		}
	}
	t.raw, t.query, _ = strings.Cut(s, "?")
	return t, nil
}

// isAuthority reports whether s is a host with or without a port, and nothing else: no user,
// no white space.
func isAuthority(s string) bool {
	if len(s) > maxHost {
		return false
	}
	host, port := s, ""
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 || strings.Trim(s[1:end], "0123456789abcdefABCDEF:.") != "" {
			return false
		}
		host, port = s[:end+1], s[end+1:]
	} else if i := strings.IndexByte(s, ':'); i >= 0 {
		host, port = s[:i], s[i:]
	}
	for i := range len(host) {
		c := host[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~[]:", c) >= 0) {
			return false
		}
	}
	if port != "" {
		if _, ok := number(port[1:]); port[0] != ':' || !ok || len(port) > 6 {
			return false
		}
	}
	return host != ""
}

const maxHost = 255 + len(":65535")

// decodePath makes path of raw, and refuses what servers are known to take for different
// resources: separators and dots behind a percent sign, a second coding, backslashes, bytes
// that are no UTF-8. Among what is left, decoding changes nothing but the spelling.
func (t *target) decodePath(set *settings) *fault {
	if t.raw == "*" {
		t.path = t.raw
		return nil
	}
	path := t.raw
	if strings.IndexByte(path, '%') >= 0 {
		decoded, ok := unescape(path)
		if !ok || !utf8.ValidString(decoded) {
			return badPath
		}
		path = decoded
	}
	if strings.IndexByte(path, '\\') >= 0 {
		return badPath
	}
	if strings.IndexByte(path, ';') >= 0 && !set.pathParameters {
		return parameters
	}
	t.path = path
	if !plainPath(path) {
		segments := strings.Split(path[1:], "/")
		kept := segments[:0]
		for i, segment := range segments {
			last := i == len(segments)-1
			if set.pathParameters {
				segment, _, _ = strings.Cut(segment, ";")
			}
			switch {
			case segment == "." || segment == "..":
				return dotSegment
			case segment == "" && i == 0 && !last: // what follows would be a host to some
				return emptySegment
			case segment == "" && !last && !set.emptySegments:
				return emptySegment
			case segment == "" && !last:
				continue
			}
			kept = append(kept, segment)
		}
		t.path = "/" + strings.Join(kept, "/")
	}
	if set.ignoreCase {
		t.path = strings.ToLower(t.path)
	}
	return nil
}

// plainPath reports whether a path has no segment that needs a look.
func plainPath(path string) bool {
	return !strings.Contains(path, "//") && !strings.Contains(path, "/.") && strings.IndexByte(path, ';') < 0
}

// unescape decodes percent signs, once. What means something to a parser of paths must not
// come out of it.
func unescape(s string) (string, bool) {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			if i+2 >= len(s) {
				return "", false
			}
			high, low := hexDigit(s[i+1]), hexDigit(s[i+2])
			if high < 0 || low < 0 {
				return "", false
			}
			c = byte(high<<4 | low)
			if c < ' ' || c == 0x7f || strings.IndexByte(`/\%?#`, c) >= 0 {
				return "", false
			}
			i += 2
		}
		b = append(b, c)
	}
	return string(b), true
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// Bounds of the names that become facts.
const (
	maxNames = 64
	maxName  = 128
)

// queryKeys returns the names in a query, sorted, each once.
func (t *target) queryKeys() ([]string, *fault) {
	if t.query == "" {
		return nil, nil
	}
	var keys []string
	for rest := t.query; rest != ""; {
		pair, more, _ := strings.Cut(rest, "&")
		rest = more
		if pair == "" {
			continue
		}
		key, _, _ := strings.Cut(pair, "=")
		if strings.IndexByte(key, ';') >= 0 {
			return nil, badQuery // once a separator, too
		}
		if strings.ContainsAny(key, "%+") {
			var ok bool
			if key, ok = unescape(strings.ReplaceAll(key, "+", " ")); !ok || !utf8.ValidString(key) {
				return nil, badQuery
			}
		}
		if keys = append(keys, key); len(keys) > maxNames || len(key) > maxName {
			return nil, badQuery
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys), nil
}

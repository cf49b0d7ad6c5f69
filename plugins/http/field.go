package http

import "strings"

// tchar says which bytes a token is made of (RFC 9110 section 5.6.2).
var tchar = func() (is [256]bool) {
	for _, c := range "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" {
		is[c] = true
	}
	return is
}()

func isToken(s string) bool {
	for i := range len(s) {
		if !tchar[s[i]] {
			return false
		}
	}
	return s != ""
}

// splitField splits a field line. The name is followed by its colon at once, and the value
// holds no control character but a tab (RFC 9110 section 5.5, RFC 9112 section 5.1).
func splitField(line string) (name, value string, wrong *fault) {
	if line[0] == ' ' || line[0] == '\t' {
		return "", "", folded
	}
	colon := strings.IndexByte(line, ':')
	if colon < 0 || !isToken(line[:colon]) {
		return "", "", badName
	}
	value = trimSpace(line[colon+1:])
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return "", "", badValue
		}
	}
	return line[:colon], value, nil
}

// trimSpace takes optional white space off (RFC 9110 section 5.6.3).
func trimSpace(s string) string { return strings.Trim(s, " \t") }

// maxKnown is the length of the longest field name that means anything here.
const maxKnown = len("x-http-method-override")

// fieldName is a field's name in lower case, as far as it can be one that is known: "" if not.
// The array keeps it off the heap.
func fieldName(name string, lower *[maxKnown]byte) []byte {
	if len(name) > maxKnown {
		return nil
	}
	for i := range len(name) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	return lower[:len(name)]
}

// framing reports whether a field says where a message ends or whom it is for, also to those who
// take "_" for "-" as CGI does (RFC 3875 section 4.1.18).
func framing(name string) bool {
	for _, f := range [...]string{"content-length", "transfer-encoding", "host", "content-encoding", "connection", "upgrade", "trailer", "expect"} {
		if sameName(name, f) {
			return true
		}
	}
	return false
}

func sameName(name, lower string) bool {
	if len(name) != len(lower) {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		} else if c == '_' {
			c = '-'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// eachItem calls f with each element of a comma-separated list, until f returns false.
func eachItem(list string, f func(item string) bool) {
	for list != "" {
		item, rest, _ := strings.Cut(list, ",")
		if item = trimSpace(item); item != "" && !f(item) {
			return
		}
		list = rest
	}
}

// number reads what is nothing but a number of up to 18 digits. A leading zero is octal to
// some.
func number(s string) (int64, bool) {
	if s == "" || len(s) > 18 || len(s) > 1 && s[0] == '0' {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, true
}

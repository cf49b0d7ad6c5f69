package http

import (
	"strings"
	"testing"
)

// What a path is told as, or why it is not.
func TestPath(t *testing.T) {
	loose := &settings{pathParameters: true, emptySegments: true}
	windows := &settings{ignoreCase: true}
	for _, test := range []struct {
		raw   string
		set   *settings
		want  string
		wrong *fault
	}{
		{"/", nil, "/", nil},
		{"/a/b/", nil, "/a/b/", nil},
		{"/a%20b/%7Eme", nil, "/a b/~me", nil},
		{"/%41dmin", nil, "/Admin", nil},
		{"/%C3%A4", nil, "/ä", nil},
		{"/.hidden/...", nil, "/.hidden/...", nil},
		{"/Admin", windows, "/admin", nil},
		{"/a/../b", nil, "", dotSegment},
		{"/..", nil, "", dotSegment},
		{"/./a", nil, "", dotSegment},
		{"/%2e%2e/a", nil, "", dotSegment},
		{"/a/.%2E/b", nil, "", dotSegment},
		{"/a%2fb", nil, "", badPath},
		{"/a%2Fb", loose, "", badPath},
		{"/a%5cb", nil, "", badPath},
		{`/a\b`, nil, "", badPath},
		{"/a%00", nil, "", badPath},
		{"/a%0d%0aX", nil, "", badPath},
		{"/a%7f", nil, "", badPath},
		{"/%252e%252e/", nil, "", badPath},
		{"/%25", nil, "", badPath},
		{"/a%3fb", nil, "", badPath},
		{"/a%23b", nil, "", badPath},
		{"/%", nil, "", badPath},
		{"/%4", nil, "", badPath},
		{"/%g0", nil, "", badPath},
		{"/%u002e", nil, "", badPath},
		{"/%c0%af", nil, "", badPath},
		{"/%e0%80%af", nil, "", badPath},
		{"/%c0%ae%c0%ae/", nil, "", badPath},
		{"/%ed%a0%80", nil, "", badPath},
		{"/%ff", nil, "", badPath},
		{"/a;b", nil, "", parameters},
		{"/a%3bb", nil, "", parameters},
		{"/..;/a", nil, "", parameters},
		{"/..;/a", loose, "", dotSegment},
		{"/.;x/a", loose, "", dotSegment},
		{"/%2e.%3b/a", loose, "", dotSegment},
		{"/a;jsessionid=1/b;c", loose, "/a/b", nil},
		{"//a", nil, "", emptySegment},
		{"//a", loose, "", emptySegment},
		{"/;x/a", loose, "", emptySegment},
		{"/a//b", nil, "", emptySegment},
		{"/a//b/", loose, "/a/b/", nil},
	} {
		set := test.set
		if set == nil {
			set = &settings{}
		}
		got := target{raw: test.raw}
		if wrong := got.decodePath(set); wrong != test.wrong || wrong == nil && got.path != test.want {
			t.Errorf("%s: %q, %v, want %q, %v", test.raw, got.path, wrong, test.want, test.wrong)
		}
	}
}

func TestTarget(t *testing.T) {
	for _, test := range []struct {
		method, target         string
		authority, path, query string
	}{
		{"GET", "/a?b=c&d", "", "/a", "b=c&d"},
		{"GET", "/a?b?c", "", "/a", "b?c"},
		{"GET", "http://Pump-4:80/a?b", "Pump-4:80", "/a", "b"},
		{"GET", "HTTPS://[fe80::1]:443/", "[fe80::1]:443", "/", ""},
		{"OPTIONS", "*", "", "*", ""},
		{"CONNECT", "pump-4:22", "pump-4:22", "", ""},
	} {
		got, wrong := splitTarget(test.method, test.target)
		if wrong != nil || got.authority != test.authority || got.raw != test.path || got.query != test.query {
			t.Errorf("%s %s: %+v %v", test.method, test.target, got, wrong)
		}
	}
}

func TestQueryKeys(t *testing.T) {
	for query, want := range map[string]string{
		"":                      "",
		"a":                     "a",
		"b=1&a=2&b=3&&":         "a b",
		"na%6De=x&first+name=y": "first name|name",
		"=x":                    "",
		"subject%3APatient=1":   "subject:Patient",
	} {
		target := target{query: query}
		got, wrong := target.queryKeys()
		if s := strings.Join(got, " "); wrong != nil || s != want && strings.Join(got, "|") != want {
			t.Errorf("%s: %q %v, want %q", query, got, wrong, want)
		}
	}
}

func TestAuthority(t *testing.T) {
	for s, want := range map[string]bool{
		"pump-4": true, "10.0.0.1:8080": true, "[::1]": true, "[::1]:80": true, "a_b.example": true,
		"": false, ":80": false, "a:": false, "a:b": false, "a:800000": false, "a b": false, "a/b": false, "a@b": false, "[::1": false, "[a/b]": false, "::1": false,
		"a,b": false, strings.Repeat("a", 300): false,
	} {
		if got := isAuthority(s); got != want {
			t.Errorf("%q: %t", s, got)
		}
	}
}

// A name is another one's only if it is as long.
func TestSameName(t *testing.T) {
	for _, name := range []string{"Content_Length", "content-length", "CONTENT-LENGTH"} {
		if !sameName(name, "content-length") {
			t.Errorf("%s is not content-length", name)
		}
	}
	for _, name := range []string{"", "content-lengt", "content-lengthy", "content length"} {
		if sameName(name, "content-length") {
			t.Errorf("%s is content-length", name)
		}
	}
}

package config

import "testing"

func TestParseListen(t *testing.T) {
	for text, want := range map[string]string{
		"127.0.0.1:12575": "127.0.0.1:12575", ":12575": ":12575", "[::1]:12575": "[::1]:12575", "0.0.0.0:1": "0.0.0.0:1", "[::]:65535": ":65535",
		"": "", ":": "", ":0": "", ":01": "", ":65536": "", ":-1": "", ":+1": "", ": 1": "", "12575": "", "localhost:1": "", "::1:12575": "", "[127.0.0.1]:1": "",
		"127.0.0.1:http": "", "[fe80::1%eth0]:1": "", "[::ffff:10.0.0.1]:1": "", "224.0.0.1:1": "", "[ff02::1]:1": "", "255.255.255.255:1": "", "010.0.0.1:1": "",
	} {
		l, err := ParseListen(text)
		switch {
		case want == "" && err == nil:
			t.Errorf("%q: got %s, want an error", text, l)
		case want != "" && (err != nil || l.String() != want):
			t.Errorf("%q: got %s, %v, want %s", text, l, err, want)
		}
	}
}

func TestOverlaps(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{":1", ":1", true}, {":1", "127.0.0.1:1", true}, {":1", "[::1]:1", true}, {"0.0.0.0:1", "10.0.0.1:1", true},
		{"[::]:1", "10.0.0.1:1", true}, {"10.0.0.1:1", "10.0.0.1:1", true}, {"10.0.0.1:1", "10.0.0.2:1", false},
		{"0.0.0.0:1", "[::1]:1", false}, {"127.0.0.1:1", "[::1]:1", false},
	} {
		a, errA := ParseListen(tt.a)
		b, errB := ParseListen(tt.b)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if a.overlaps(b) != tt.want || b.overlaps(a) != tt.want {
			t.Errorf("%s and %s: want %v", tt.a, tt.b, tt.want)
		}
	}
}

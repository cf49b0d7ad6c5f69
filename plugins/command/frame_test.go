package command

import (
	"strings"
	"testing"

	"cordon/plugins/sdk/conformance"
	"cordon/policy"
)

// TestFCS16 has the check value of CRC-16/X-25, which the frame check sequence of RFC 1662 is.
func TestFCS16(t *testing.T) {
	if got := fcs16([]byte("123456789")); got != 0x906e {
		t.Errorf("%#04x", got)
	}
}

// TestCut has frames of 16 bytes at most.
func TestCut(t *testing.T) {
	for _, test := range []struct {
		frame, sent string
		size        int
		wrong       string
	}{
		{`{"end":"<CR><LF>"}`, "", 0, ""},
		{`{"end":"<CR><LF>"}`, "\r\n\r\n", 2, ""},
		{`{"end":"<CR><LF>"}`, "a\r", 0, ""},
		{`{"end":"<CR><LF>"}`, "a\rb\n\r\nc", 6, ""},
		{`{"end":"<CR><LF>"}`, "aaaaaaaaaaaaaa\r\n", 16, ""},
		{`{"end":"<CR><LF>"}`, "aaaaaaaaaaaaaaa", 0, ""},
		{`{"end":"<CR><LF>"}`, "aaaaaaaaaaaaaaa\r", 0, tooLong},
		{`{"end":"<CR><LF>"}`, "aaaaaaaaaaaaaaa\r\n", 0, tooLong},
		{`{"start":["AB","C"],"end":"<CR>"}`, "A", 0, ""},
		{`{"start":["AB","C"],"end":"<CR>"}`, "C\r", 2, ""},
		{`{"start":["AB","C"],"end":"<CR>"}`, "AC", 0, "bytes outside of a frame"},
		{`{"start":["AB","C"],"end":"<CR>"}`, "\rC", 0, "bytes outside of a frame"},
		{`{"start":"~","end":"~","escape":"}"}`, "~", 0, ""},
		{`{"start":"~","end":"~","escape":"}"}`, "~~", 2, ""},
		{`{"length":{"at":1,"size":1}}`, "a", 0, ""},
		{`{"length":{"at":1,"size":1}}`, "a\x03", 0, ""},
		{`{"length":{"at":1,"size":1}}`, "a\x03bc", 3, ""},
		{`{"length":{"at":1,"size":1}}`, "a\x02", 2, ""},
		{`{"length":{"at":1,"size":1}}`, "a\x01", 0, insideHead},
		{`{"length":{"at":1,"size":1}}`, "a\x11", 0, tooLong},
		{`{"length":{"at":1,"size":1,"adds":-1}}`, "a\x03", 2, ""},
		{`{"length":{"at":1,"size":1,"adds":-1}}`, "a\x00", 0, insideHead},
		{`{"length":{"at":1,"size":1},"checksum":{"kind":"fcs16"}}`, "a\x03", 0, insideHead},
		{`{"length":{"at":0,"size":2}}`, "\x00\x04ab", 4, ""},
		{`{"length":{"at":0,"size":2,"order":"little"}}`, "\x04\x00ab", 4, ""},
		{`{"length":{"at":0,"size":4}}`, "\xff\xff\xff\xff", 0, tooLong},
		{`{"length":{"at":0,"size":4,"adds":255}}`, "\xff\xff\xff\xff", 0, tooLong},
	} {
		var f framing
		if err := f.read([]byte(test.frame)); err != nil {
			t.Fatal(err)
		}
		for seen := range max(1, len(test.sent)) { // whatever was there before
			if n, _ := f.cut([]byte(test.sent[:seen]), 0, 16); n > 0 {
				break
			}
			if n, wrong := f.cut([]byte(test.sent), seen, 16); n != test.size || wrong != test.wrong {
				t.Errorf("%s: %q, of which %d bytes were seen: %d, %q", test.frame, test.sent, seen, n, wrong)
			}
		}
	}
}

// Settings of binary frames, like those of the serial lines of monitors.
const (
	delimited = `{"frame":{"start":"~","end":"~","escape":"}","checksum":{"kind":"sum8","skip":1}},
		"commands":[{"name":"physiological","class":"read","prefix":"~<0x01><NUL>"},{"name":"configure","class":"admin","prefix":"~<STX>",
			"attributes":[{"name":"text","at":2,"length":2}]}],
		"refusal":{"answer":"~<0x7D><CODE>"}}`
	associated = `{"frame":{"start":"<0xC0>","end":"<0xC1>","escape":"<0x7D>","checksum":{"kind":"fcs16","skip":1}},
		"commands":[{"name":"poll","class":"read","prefix":"<0xC0><0x11>"}],"refusal":{"answer":"<0xC0><0xEE>"}}`
	counted = `{"frame":{"start":"<STX>","length":{"at":1,"size":2,"order":"little","adds":3},"checksum":{"kind":"sum8"}},
		"commands":[{"name":"get","class":"read","prefix":"<STX><0x02><NUL>g"},{"name":"put","class":"write","prefix":"<STX><0x03><NUL>p",
			"attributes":[{"name":"key","at":4,"length":1}]}],
		"refuse_bytes":"%","refusal":{"answer":"<STX><NUL><NUL>n<CODE>"}}`
)

func TestDelimited(t *testing.T) {
	get := "~\x01\x00\x01~"
	full := "~\x01\x00}]}^\xfc~" // 7D and 7E, escaped; the sum is 0xFC
	refusal := "~}]7QF-21\xdb~"
	conformance.Run(t, Protocol(), delimited,
		conformance.Named("bytes that need an escape").
			Forward(full).Reverse(full).Forward(get).Reverse(get).
			WantOperation("command:physiological", policy.ClassRead, "size", 9, "checksum", "ok").
			WantOperation("command:physiological", policy.ClassRead, "size", 5).
			WantForward(full+get).WantReverse(full+get),
		conformance.Named("an escape in a refusal").
			Forward("~\x02AB\x85~").Refused(1).WantOperation("command:configure", policy.ClassAdmin, "text", "AB").
			WantRefusal(1, refusal).WantForward("").WantReverse(refusal),
		conformance.Named("a text that is none").
			Forward("~\x02A\x00\x43~").WantInvalid("command:configure", policy.ClassAdmin, "text", nil).WantRefusal(1, refusal),
		conformance.Named("an escape of a byte that needs none").
			Forward("~\x01\x00}A\x62~").WantInvalid("command:unknown", policy.ClassUnknown, "checksum", nil).WantRefusal(1, refusal).WantForward(""),
		conformance.Named("an escape at the end").
			Forward("~\x01\x00}~").WantInvalid("command:unknown", policy.ClassUnknown).WantRefusal(1, refusal).WantForward(""),
		conformance.Named("an empty frame").
			Forward("~~").WantInvalid("command:unknown", policy.ClassUnknown, "checksum", "wrong").WantRefusal(1, refusal).WantForward(""),
		conformance.Named("a frame without its first delimiter").
			Forward("~\x01\x00\x01~\x01\x00\x01~").WantOperation("command:physiological", policy.ClassRead).
			WantInvalid("command:malformed", policy.ClassUnknown).WantEnd().WantForward(get),
		conformance.Named("a wrong checksum of the device").
			Forward(get).Reverse("~\x01\x00\x02~").WantOperation("command:physiological", policy.ClassRead).WantEnd().WantReverse(""),
	)
}

func TestAssociated(t *testing.T) {
	set, err := parseSettings([]byte(associated))
	if err != nil {
		t.Fatal(err)
	}
	poll := string(set.frame.wrap([]byte("\xc0\x11\xc0\xc1\x7d\x00")))
	if !strings.HasPrefix(poll, "\xc0\x11}\xe0}\xe1}\x5d\x00") || !strings.HasSuffix(poll, "\xc1") {
		t.Errorf("a frame is %x", poll)
	}
	refusal := string(set.reply.wrap([]byte("\xc0\xee")))
	raw := "\xc0\x11\xc0\x01"
	raw = string(set.frame.checksum.of([]byte(raw), []byte(raw))) + "\xc1"
	conformance.Run(t, Protocol(), associated,
		conformance.Named("poll").Forward(poll).Reverse(poll).
			WantOperation("command:poll", policy.ClassRead, "checksum", "ok").WantForward(poll).WantReverse(poll),
		conformance.Named("one bit is wrong").Forward(strings.Replace(poll, "\x00", "\x01", 1)).
			WantInvalid("command:unknown", policy.ClassUnknown, "checksum", "wrong").WantRefusal(1, refusal).WantForward(""),
		conformance.Named("a start that is not escaped").Forward(raw).
			WantInvalid("command:unknown", policy.ClassUnknown, "checksum", nil).WantRefusal(1, refusal).WantForward(""),
	)
}

func TestCounted(t *testing.T) {
	get, put := "\x02\x02\x00g\x6b", "\x02\x03\x00pk\xe0"
	refusal := "\x02\x08\x00n7QF-21"
	refusal += string([]byte{sum8([]byte(refusal))})
	conformance.Run(t, Protocol(), counted,
		conformance.Named("read and refused").
			Forward(get).Reverse(get).Forward(put).Refused(2).
			WantOperation("command:get", policy.ClassRead, "size", 5, "checksum", "ok").
			WantOperation("command:put", policy.ClassWrite, "key", "k").WantRefusal(2, refusal).
			WantForward(get).WantReverse(get+refusal),
		conformance.Named("a length beyond max_frame").Forward("\x02\xff\xffg").
			WantInvalid("command:malformed", policy.ClassUnknown).WantRefusal(1, refusal).WantEnd().WantForward(""),
		conformance.Named("a length of nothing").Forward("\x02\x00\x00").
			WantInvalid("command:malformed", policy.ClassUnknown).WantRefusal(1, refusal).WantEnd(),
		conformance.Named("not all of it").Forward(get[:4]).
			WantInvalid("command:malformed", policy.ClassUnknown).WantRefusal(1, refusal).WantEnd(),
		conformance.Named("a byte that no command has").Forward("\x02\x03\x00p%\x9a").
			WantInvalid("command:unknown", policy.ClassUnknown).WantRefusal(1, refusal).WantForward(""),
	)
}

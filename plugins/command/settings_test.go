package command

import (
	"fmt"
	"strings"
	"testing"
)

func TestNotation(t *testing.T) {
	for text, want := range map[string]string{
		"":                     "",
		"VOL? 2":               "VOL? 2",
		`a\x1b`:                `a\x1b`,
		"<ESC>$<CR><LF>":       "\x1b$\r\n",
		"<NUL><SP><US><DEL>":   "\x00 \x1f\x7f",
		"<FF><0xFF><0x0c>":     "\x0c\xff\x0c",
		"<0x3C>ok>":            "<ok>",
		"<SOH><STX><ETX><DC1>": "\x01\x02\x03\x11",
	} {
		if got, err := parseBytes(text); err != nil || string(got) != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"\r":      "byte 1 is not printable ASCII",
		"25 °C":   "byte 4 is not printable ASCII",
		"a<CR":    "no > follows the <",
		"<":       "no > follows the <",
		"<>":      "no byte is called <>",
		"<cr>":    "no byte is called <cr>",
		"<0x100>": "no byte is called <0x100>",
		"<0xd>":   "no byte is called <0xd>",
		"<0x+1>":  "no byte is called <0x+1>",
		"<1B>":    "no byte is called <1B>",
		"<CODE>":  "no byte is called <CODE>",
	} {
		if got, err := parseBytes(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, %v, want %s", text, got, err, want)
		}
	}
}

const query = `{"name":"q","class":"read","exact":"Q"}`

// lines are settings with CR at the end of frames and these commands, and more.
func lines(commands, more string) string {
	return fmt.Sprintf(`{"frame":{"end":"<CR>"},"commands":[%s]%s}`, commands, more)
}

func TestSettings(t *testing.T) {
	framed := func(frame string) string {
		return fmt.Sprintf(`{"frame":%s,"commands":[{"name":"q","class":"read","prefix":"~Q"}]}`, frame)
	}
	for _, good := range []string{
		lines(query, ``),
		lines(query, `,"reply_frame":{"end":"> "},"max_frame":"64KiB","allow_bytes":"<HT>","refuse_bytes":";","ignore_case":true,"trim":true,"outstanding":16,"refusal":"silent"`),
		lines(query, `,"refusal":"end","unsolicited":["ALARM ","<BEL>"]`),
		lines(query, `,"refusal":{"answer":"ERR <CODE>"}`),
		lines(query, `,"refusal":{"answer":"<NAK>"}`),
		lines(`{"name":"keep-alive","class":"session","exact":"","replies":"none"},`+query, ``),
		lines(`{"name":"a","class":"query","exact":"Q1"},{"name":"a","class":"admin","prefix":"Q"}`, ``),
		lines(`{"name":"a","class":"query","prefix":"Q","replies":"many","reply":["E","D"],"last":"END"}`, ``),
		lines(`{"name":"a","class":"query","prefix":"Q","attributes":[{"name":"x","at":0,"length":1},{"name":"y","field":2,"separator":",","number":true,"decimals":6,"optional":true}]}`, ``),
		framed(`{"start":"~","end":"~","escape":"}","checksum":{"kind":"sum8","skip":1}}`),
		framed(`{"start":["~Q","~R"],"end":"<CR><LF>","checksum":{"kind":"sum8_hex"}}`),
		framed(`{"start":"~","length":{"at":2,"size":2,"order":"little","adds":4},"checksum":{"kind":"fcs16","skip":16}}`),
	} {
		if _, err := parseSettings([]byte(good)); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, test := range []struct{ bad, want string }{
		{`[]`, "read settings"},
		{`{}`, "frame is not set"},
		{`{"frame":{"end":"<CR>"}}`, "commands is not set"},
		{lines(query, `,"frames":1`), `setting "frames": there is no such setting`},
		{lines(query, `,"max_frame":15`), `setting "max_frame": 15 is not between`},
		{lines(query, `,"max_frame":"65KiB"`), `setting "max_frame"`},
		{lines(query, `,"outstanding":17`), `setting "outstanding": 17 is not between 1 and 16`},
		{lines(query, `,"unsolicited":[]`), `setting "unsolicited": not 1 to 32 texts`},
		{lines(query, `,"unsolicited":""`), `setting "unsolicited": "" is 0 bytes`},
		{lines(query, `,"unsolicited":["A","AB"]`), `setting "unsolicited": "AB": another one begins like it`},
		{lines(query, `,"unsolicited":["AB","A"]`), `another one begins like it`},
		{lines(query, `,"allow_bytes":"<CR>"`), `setting "allow_bytes": 0x0d starts or ends a frame`},
		{lines(query, `,"allow_bytes":"<HT>","refuse_bytes":"<HT>"`), `setting "refuse_bytes": 0x09 is allowed as well`},
		{lines(query, `,"refuse_bytes":"Q"`), `setting "commands": 1, "q": it has a byte that no command may have`},
		{lines(query, `,"refusal":"answer"`), `setting "refusal": "answer" is not one of`},
		{lines(query, `,"refusal":{"answer":""}`), `an answer of 0 bytes`},
		{lines(query, `,"refusal":{"answer":"<CODE><CODE>"}`), `no byte is called <CODE>`},
		{lines(query, `,"refusal":{"answer":"A<CR>B"}`), `its answer is not one frame of the device: it has the end of a frame in it`},
		{lines(query, `,"refusal":{"answer":"NAK"},"reply_frame":{"start":"<SOH>","end":"<CR>"}`), `its answer is not one frame of the device: bytes outside of a frame`},
		{lines(query, `,"refusal":{"answer":"NAK <CODE>"},"reply_frame":{"end":"X"}`), `it has the end of a frame in it`},
		{lines(query, `,"refusal":{"answer":"NAK"},"reply_frame":{"length":{"at":4,"size":2}}`), `its answer is not one frame`},
		{lines(query, `,"refusal":{"text":"no"}`), `there is no such setting`},

		{lines(`{"name":"q","class":"read"}`, ``), `setting "commands": 1, "q": it has either exact or prefix`},
		{lines(`{"name":"q","class":"read","exact":"Q","prefix":"Q"}`, ``), `it has either exact or prefix`},
		{lines(`{"name":"q","class":"read","prefix":""}`, ``), `setting "prefix": "" is 0 bytes`},
		{lines(`{"name":"q","class":"unknown","exact":"Q"}`, ``), `setting "class": "unknown" is not one of`},
		{lines(`{"name":"q","exact":"Q"}`, ``), `it has no name or no class`},
		{lines(`{"name":"a b","class":"read","exact":"Q"}`, ``), `is not a name`},
		{lines(`{"name":"session","class":"read","exact":"Q"}`, ``), `a name of the plugin's own`},
		{lines(`{"name":"q","class":"read","exact":24}`, ``), `24 is not text: put it in quotes`},
		{lines(`{"name":"q","class":"read","exact":"Q<LF>"}`, ``), `it has a byte that no command may have`},
		{lines(query+`,`+query, ``), `2, "q": it is never reached: "q" fits before it`},
		{lines(`{"name":"a","class":"read","prefix":"Q"},`+query, ``), `2, "q": it is never reached: "a" fits before it`},
		{lines(`{"name":"a","class":"read","prefix":"Q"},{"name":"b","class":"read","prefix":"qR"}`, `,"ignore_case":true`), `2, "b": it is never reached`},
		{lines(`{"name":"q","class":"read","exact":"Q "}`, `,"trim":true`), `it has blanks that trim takes away`},
		{lines(`{"name":"q","class":"read","exact":"Q","replies":"many"}`, ``), `last is for commands with many replies, and they need it`},
		{lines(`{"name":"q","class":"read","exact":"Q","last":"E"}`, ``), `last is for commands with many replies`},
		{lines(`{"name":"q","class":"read","exact":"Q","replies":"many","reply":"D","last":"E"}`, ``), `its last reply is none of its replies`},
		{lines(`{"name":"q","class":"read","exact":"Q","replies":"none","reply":"E"}`, ``), `there is no reply to it`},
		{lines(`{"name":"q","class":"read","exact":"Q","reply":"ALARMS"}`, `,"unsolicited":"ALARM"`), `its reply could be what the device sends unasked`},
		{lines(`{"name":"q","class":"read","exact":"Q","refused":"answer"}`, ``), `the setting refusal has no answer`},
		{lines(`{"name":"q","class":"read","exact":"Q","attributes":[{"name":"Rate","at":1}]}`, ``), `1, "Rate": its name is not of a to z`},
		{lines(`{"name":"q","class":"read","exact":"Q","attributes":[{"name":"size","at":1}]}`, ``), `the plugin's own`},
		{lines(`{"name":"q","class":"read","exact":"Q","attributes":[{"name":"x"}]}`, ``), `it has either at or field`},
		{lines(`{"name":"q","class":"read","exact":"Q","attributes":[{"name":"x","at":1,"field":1,"separator":","}]}`, ``), `it has either at or field`},
		{lines(`{"name":"q","class":"read","exact":"Q","attributes":[{"name":"x","field":1}]}`, ``), `field and separator belong together`},
		{lines(`{"name":"q","class":"read","exact":"Q","attributes":[{"name":"x","field":1,"separator":",","length":2}]}`, ``), `length belongs to at`},
		{lines(`{"name":"q","class":"read","exact":"Q","attributes":[{"name":"x","at":1,"decimals":2}]}`, ``), `decimals belong to a number`},
		{lines(`{"name":"q","class":"read","exact":"Q","attributes":[{"name":"x","at":1},{"name":"x","at":2}]}`, ``), `2, "x": there is one of this name`},

		{framed(`{}`), `setting "frame": frames have either an end or a length`},
		{framed(`{"end":""}`), `setting "end": "" is 0 bytes`},
		{framed(`{"end":"<CR>","length":{"at":0,"size":1}}`), `frames have either an end or a length`},
		{framed(`{"length":{"at":0}}`), `size is not 1, 2 or 4 bytes`},
		{framed(`{"length":{"at":0,"size":3}}`), `size is not 1, 2 or 4 bytes`},
		{framed(`{"length":{"at":0,"size":1,"order":"middle"}}`), `setting "order"`},
		{framed(`{"start":"~Q","length":{"at":1,"size":1}}`), `the length is inside the start`},
		{framed(`{"length":{"at":0,"size":1},"escape":"}"}`), `frames with a length have no escape`},
		{framed(`{"start":"~","end":"<CR>","checksum":{"kind":"sum8"}}`), `cannot be told from it without escape`},
		{framed(`{"start":"~","end":"<CR>","checksum":{"skip":1}}`), `it has no kind`},
		{framed(`{"start":"~","end":"<CR>","checksum":{"kind":"crc32"}}`), `setting "kind": "crc32" is not one of`},
		{framed(`{"start":"~","end":"~"}`), `start and end share a byte, which takes an escape`},
		{framed(`{"end":"~","escape":"}"}`), `start and end are one byte each`},
		{framed(`{"start":["~","!"],"end":"~","escape":"}"}`), `start and end are one byte each`},
		{framed(`{"start":"~","end":"<CR><LF>","escape":"}"}`), `start and end are one byte each`},
		{framed(`{"start":"~","end":"~","escape":"~"}`), `escape is the byte that starts or ends a frame`},
		{framed(`{"start":"~","end":"^","escape":"}"}`), `would have to be escaped again`},
		{framed(`{"start":"!","end":"<CR>"}`), `1, "q": it does not begin with a start of the frame`},
		{framed(`{"start":"~","end":"<CR>"},"trim":true`), `setting "trim": it is for frames without a start`},
		{framed(`{"length":{"at":0,"size":1}},"allow_bytes":"<HT>"`), `setting "allow_bytes": it is for frames of text`},
	} {
		if _, err := parseSettings([]byte(test.bad)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s:\n%v, want\n%s", test.bad, err, test.want)
		}
	}
}

func TestParseNumber(t *testing.T) {
	for _, test := range []struct {
		text     string
		decimals int
		want     int64
	}{
		{"0", 0, 0}, {"007", 0, 7}, {"+7", 0, 7}, {"-7", 0, -7}, {"12.5", 1, 125}, {"12.5", 2, 1250}, {"12", 2, 1200},
		{"-0.01", 2, -1}, {"999999999999999", 0, 999999999999999}, {"999999999.999999", 6, 999999999999999},
	} {
		if got, ok := parseNumber([]byte(test.text), test.decimals); !ok || got != test.want {
			t.Errorf("%s with %d decimals: %d, %t", test.text, test.decimals, got, ok)
		}
	}
	for _, text := range []string{"-", "+", ".5", "5.", "1.23", "1e3", "0x10", "1 2", "--1", "1.-2", "1,5", "1.2.3", "999999999999999", "٣"} {
		if got, ok := parseNumber([]byte(text), 1); ok {
			t.Errorf("%s: %d", text, got)
		}
	}
}

func TestFact(t *testing.T) {
	rest := fact{at: 2}
	for _, test := range []struct {
		fact    fact
		content string
		want    any
		err     error
	}{
		{rest, "Q abc ", "abc", nil},
		{rest, "Q", nil, errMissing},
		{rest, "Q ", nil, errMissing},
		{rest, "Q    ", nil, errMissing},
		{fact{at: 2, optional: true}, "Q   ", nil, nil},
		{fact{at: 2, optional: true}, "", nil, nil},
		{fact{at: 2, length: 3}, "Q abcd", "abc", nil},
		{fact{at: 2, length: 3}, "Q ab", nil, errMissing},
		{fact{at: 2, number: true}, "Q 12", int64(12), nil},
		{fact{at: 2, number: true}, "Q 12 13", nil, errNumber},
		{fact{at: 2, number: true, optional: true}, "Q x", nil, errNumber},
		{fact{field: 1, separator: []byte(", ")}, "Q, a, b", "Q", nil},
		{fact{field: 3, separator: []byte(", ")}, "Q, a, b", "b", nil},
		{fact{field: 4, separator: []byte(", ")}, "Q, a, b", nil, errMissing},
		{rest, "Q " + strings.Repeat("a", 200), strings.Repeat("a", 200), nil},
		{rest, "Q " + strings.Repeat("a", 201), nil, errUnreadable},
		{rest, "Q a\xffb", nil, errUnreadable},
		{rest, "Q a\x00b", nil, errUnreadable},
	} {
		if got, err := test.fact.value([]byte(test.content)); got != test.want || err != test.err {
			t.Errorf("%+v of %q: %v, %v", test.fact, test.content, got, err)
		}
	}
}

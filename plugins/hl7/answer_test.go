package hl7

import (
	"strings"
	"testing"

	"cordon/plugins/sdk"
)

const (
	nakMSH   = `MSH|^~\&|MON|WARD|LAB|HOSP|||ACK^R01^ACK|7QF-21.1|P|2.5.1`
	nakERR   = "ERR||MSH^1^9|207^Application internal error^HL70357|E|7QF-21||not permitted|Refused by the gateway, decision code 7QF-21"
	earlyERR = "ERR|MSH^1^9^207&Application internal error&HL70357"
)

var (
	oldNak   = frame(strings.Replace(nakMSH, "2.5.1", "2.3", 1), "MSA|AR|1|Refused 7QF-21: not permitted", earlyERR)
	batchNak = frame(`BHS|^~\&`, nakMSH, "MSA|AR|1", nakERR, nakMSH, "MSA|AE|2", nakERR, "BTS|2")
)

func TestAnswer(t *testing.T) {
	of := func(msh, msa, err string) string { return frame(msh, msa, err) }
	commit := "\x0b\x06\x1c\r"
	good := map[string]string{
		"nothing":                          "",
		"a refusal":                        nak("1", "1", "AR", denied, "not permitted"),
		"of the application":               nak("1", "1", "AE", denied, "not permitted"),
		"of an accept acknowledgement":     nak("1", "1", "CR", denied, "not permitted"),
		"an old one":                       oldNak,
		"of a batch":                       batchNak,
		"behind a frame without its CR":    "\r" + oldNak,
		"behind a commit acknowledgement":  commit + oldNak,
		"with a character set":             of(nakMSH+"||||||UNICODE UTF-8", "MSA|AR|1", nakERR),
		"with delimiters of its own":       of("MSH!*~/+!a!b!c!d!!!ACK*R01!x!P!2.3", "MSA!AR!1!no", "ERR!MSH*1*9*207+x+HL70357"),
		"to a message without a type":      of(`MSH|^~\&|||||||ACK|x|P|2.1`, "MSA|AR|", earlyERR),
		"to a message with four encodings": of(`MSH|^~\&#|||||||ACK|x|P|2.7`, "MSA|AR|1", nakERR),
	}
	for name, b := range good {
		if err := Answer([]byte(b)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	bad := map[string]string{
		"an acceptance":                       nak("1", "1", "AA", denied, "not permitted"),
		"a commit acceptance":                 nak("1", "1", "CA", denied, "not permitted"),
		"another code":                        nak("1", "1", "AR2", denied, "not permitted"),
		"a lower-case code":                   nak("1", "1", "ar", denied, "not permitted"),
		"no code":                             of(nakMSH, "MSA", nakERR),
		"codes repeated":                      of(nakMSH, "MSA|AA~AR|1", nakERR),
		"an acceptance as component":          of(nakMSH, "MSA|AR^AA|1", nakERR),
		"only a commit acknowledgement":       commit,
		"a negative commit acknowledgement":   "\x0b\x15\x1c\r",
		"a commit acknowledgement behind":     oldNak + commit,
		"two commit acknowledgements":         commit + commit + oldNak,
		"two refusals":                        oldNak + oldNak,
		"an acceptance behind a refusal":      oldNak + ack("1"),
		"an acceptance inside":                strings.Replace(oldNak, "ERR|", ack("1")+"ERR|", 1),
		"a second MSA":                        frame(nakMSH, "MSA|AR|1", "MSA|AA|1"),
		"a second MSA behind":                 frame(nakMSH, "MSA|AR|1", nakERR, "MSA|AA|1"),
		"a result":                            oru("1"),
		"a result with MSA":                   frame(msh("ORU^R01", "1", "2.5"), "MSA|AR|1", nakERR),
		"a query's response":                  of(strings.Replace(nakMSH, "ACK^R01^ACK", "RSP^K22", 1), "MSA|AR|1", nakERR),
		"a type that begins like it":          of(strings.Replace(nakMSH, "ACK^R01^ACK", "ACKX", 1), "MSA|AR|1", nakERR),
		"data behind":                         frame(nakMSH, "MSA|AR|1", nakERR, "PID|1"),
		"an order behind MSA":                 frame(nakMSH, "MSA|AR|1", "ORC|NW"),
		"no ERR":                              frame(nakMSH, "MSA|AR|1"),
		"a warning":                           of(nakMSH, "MSA|AR|1", strings.Replace(nakERR, "|E|", "|W|", 1)),
		"ERR with more":                       of(nakMSH, "MSA|AR|1", nakERR+"|x"),
		"MSA with more":                       of(nakMSH, "MSA|AR|1|text|1", nakERR),
		"MSH with more":                       of(nakMSH+"|1", "MSA|AR|1", nakERR),
		"MSH cut":                             of(`MSH|^~\&`, "MSA|AR|1", nakERR),
		"MSA with another separator":          of(nakMSH, "MSA!AR!1", nakERR),
		"a delimiter twice":                   of(strings.Replace(nakMSH, `^~\&`, `^^\&`, 1), "MSA|AR|1", nakERR),
		"a letter as delimiter":               of("MSHx^~\\&xaxbxcxdxxxACKxixPx2.5", "MSAxARx1", earlyERR),
		"a letter as encoding":                of(strings.Replace(nakMSH, `^~\&`, `A~\&`, 1), "MSA|AR|1", nakERR),
		"line feeds":                          strings.ReplaceAll(oldNak, "\r", "\n"),
		"a line feed":                         strings.Replace(oldNak, "7QF-21:", "7QF-21:\n", 1),
		"a NUL":                               strings.Replace(oldNak, "7QF-21:", "7QF-21:\x00", 1),
		"a byte above ASCII":                  strings.Replace(oldNak, "7QF-21:", "7QF-21:\xe9", 1),
		"no start block":                      oldNak[1:],
		"no end block":                        oldNak[:len(oldNak)-2],
		"no last CR":                          oldNak[:len(oldNak)-1],
		"an end block inside":                 strings.Replace(oldNak, "\rMSA", "\r\x1c\rMSA", 1),
		"a start block inside":                strings.Replace(oldNak, "\rMSA", "\r\x0bMSA", 1),
		"bytes behind":                        oldNak + "x",
		"an empty frame":                      frame(""),
		"a start block":                       "\x0b",
		"a batch with an acceptance":          frame(`BHS|^~\&`, nakMSH, "MSA|AR|1", nakERR, nakMSH, "MSA|AA|2", nakERR, "BTS|2"),
		"a batch that miscounts":              frame(`BHS|^~\&`, nakMSH, "MSA|AR|1", nakERR, "BTS|2"),
		"an empty batch":                      frame(`BHS|^~\&`, "BTS|0"),
		"a batch with a header of its own":    frame(`BHS|^~\&|x`, nakMSH, "MSA|AR|1", nakERR, "BTS|1"),
		"a batch with text":                   frame(`BHS|^~\&`, nakMSH, "MSA|AR|1", nakERR, "BTS|1|x"),
		"a batch without its end":             frame(`BHS|^~\&`, nakMSH, "MSA|AR|1", nakERR),
		"a file":                              frame(`FHS|^~\&`, nakMSH, "MSA|AR|1", nakERR, "FTS|1"),
		"more than a refusal ever is (16KiB)": of(nakMSH, "MSA|AR|1|"+strings.Repeat("x", sdk.MaxRefusal), earlyERR),
	}
	for name, b := range bad {
		if Answer([]byte(b)) == nil {
			t.Errorf("%s: %q is accepted", name, b)
		}
	}
}

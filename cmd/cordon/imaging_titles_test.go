package main

import (
	"encoding/json"
	"net"
	"slices"
	"strings"
	"testing"
)

// tellTitles calls under wrong AE titles. The client is told what is wrong, as far as an
// A-ASSOCIATE-RJ can (PS3.8 table 9-21), a false name stands out in the log, and no
// byte of it reaches the device.
func tellTitles(t *testing.T, cordon string) {
	device := newRecorder(t)
	_, port, _ := net.SplitHostPort(device.address())
	s := newArchive(t, cordon, port, "--set", "called_ae=PACS")
	d := s.serve(t)
	clients := newDCMTK(t, s)
	for _, c := range []struct {
		badge   string
		options []string
		reason  string // as dcmtk calls it
		because string // in the log
		anomaly bool
	}{
		{"kim", []string{"-aet", "FOX"}, "Calling AE Title Not Recognized", `calling AE title "FOX" is not bound to user/dr.kim`, true},
		{"kim", []string{"-aet", "kim"}, "Calling AE Title Not Recognized", `calling AE title "kim" is not bound`, true},
		{"ct", []string{"-aet", "KIM"}, "Calling AE Title Not Recognized", `calling AE title "KIM" is not bound to device/ct-2`, true},
		{"kim", []string{"-aec", "PACS2"}, "Called AE Title Not Recognized", "AE title", false},
		{"nurse", nil, "No Reason", "nothing on imaging/archive is permitted for role nurse", false},
	} {
		for _, program := range []string{"echoscu", "movescu"} {
			options := append([]string{"-v"}, c.options...)
			if program == "movescu" {
				options = append(options, "-S", "-aem", "KIM", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.3.4.1")
			}
			out := clients.do(t, c.badge, program, options)
			text := out.stdout + out.stderr
			if out.code == 0 || !strings.Contains(text, "Result: Rejected Permanent, Source: Service User") || !strings.Contains(text, "Reason: "+c.reason+"\n") {
				t.Errorf("%s %s of %s exits with %d and says %s, want %s", program, c.options, c.badge, out.code, text, c.reason)
			}
			code := s.lastRefusal(t)
			s.explained(t, code, "DENY dicom:A-ASSOCIATE", c.because)
			var entry struct{ Obligations []string }
			if err := json.Unmarshal([]byte(s.must(t, "audit", "show", code, "--json", "--dir", s.gw())), &entry); err != nil {
				t.Fatal(err)
			}
			if got := slices.Contains(entry.Obligations, "anomaly:calling-ae-title"); got != c.anomaly {
				t.Errorf("%s of %s: the entry's obligations are %q, want an anomaly: %v", c.options, c.badge, entry.Obligations, c.anomaly)
			}
		}
	}
	d.stop(t)
	if got := device.received(); got != "" {
		t.Errorf("the device received %q", got)
	}
}

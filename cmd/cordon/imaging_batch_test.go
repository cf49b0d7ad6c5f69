package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// sealed is a rule a site might write: nothing passes about some patients.
const sealed = `# Patients whose records are sealed.
package cordon

sealed if input.operation.attributes.patient_id in data.sealed_patients
`

// tellBatch sends ten images over one association, of which the site's own policy refuses
// the fifth: nine arrive, and the client learns which one did not and can ask why.
func tellBatch(t *testing.T, cordon string) {
	sent := images(t)
	_, port, received := startStoreSCP(t, "PACS")
	archive := startOrthanc(t, nil)
	for _, device := range []struct {
		name, port string
		arrived    func() []string
	}{
		{"storescp", port, func() []string { return stored(t, received) }},
		{"Orthanc", archive.port, func() []string {
			var files []string
			for n := range 10 {
				if n != 4 {
					files = append(files, archive.file(t, fmt.Sprintf("1.2.3.4.10.1.%d", n)))
				}
			}
			if count := archive.count(t); count != 9 {
				t.Errorf("Orthanc holds %d images, want 9", count)
			}
			return files
		}},
	} {
		s := newArchive(t, cordon, device.port)
		s.write(t, "gw/policy/sealed.rego", sealed)
		s.edit(t, "policy/data.yaml", "\nmove_destinations: {}\n", "\nmove_destinations: {}\n\nsealed_patients: [P4]\n")
		s.edit(t, "policy/cordon.rego", "class in data.roles[role][device_class]\n", "class in data.roles[role][device_class]\n\tnot sealed\n")
		s.edit(t, "policy/cordon.rego", "} else := misfit if {", "} else := \"the patient's record is sealed\" if {\n\tsealed\n} else := misfit if {")
		s.must(t, "check", "--dir", s.gw())
		d := s.serve(t)

		var files []string
		for n := range 10 {
			files = append(files, filepath.Join(sent, fmt.Sprintf("batch-%d.dcm", n)))
		}
		out := newDCMTK(t, s).do(t, "ct", "storescu", []string{"-d", "-nh", "-R"}, files...)
		text := out.stdout + out.stderr
		for want, times := range map[string]int{
			"Association Accepted": 1, "Releasing Association": 1,
			": 0x0000: Success": 9, ": 0x0124: Refused: Not authorized": 1,
		} {
			if n := strings.Count(text, want); n != times {
				t.Errorf("%s: storescu says %q %d times, want %d:\n%s", device.name, want, n, times, text)
			}
		}
		_, fifth, _ := strings.Cut(text, "Sending file: "+files[4])
		fifth, _, _ = strings.Cut(fifth, "Sending file: ")
		if code := commented.FindStringSubmatch(fifth); code == nil {
			t.Errorf("%s: no code in what storescu says of the fifth image: %s", device.name, fifth)
		} else {
			s.explained(t, code[1], "DENY dicom:C-STORE", "device/ct-2", "the patient's record is sealed")
		}
		d.stop(t)
		arrived := device.arrived()
		if len(arrived) != 9 {
			t.Errorf("%s: %d images arrived, want 9", device.name, len(arrived))
		}
		for _, file := range arrived {
			n := strings.TrimSuffix(file, ".dcm")
			n = n[strings.LastIndexByte(n, '.')+1:]
			if n == "4" {
				t.Errorf("%s: the refused image arrived", device.name)
			}
			sameDataSet(t, file, filepath.Join(sent, "batch-"+n+".dcm"))
		}
	}
}

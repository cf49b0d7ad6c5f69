package main

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"cordon/cmd/cordon/exit"
)

// dcmtk is the command line clients of dcmtk in front of a site: some know TLS, the
// others go by way of socat.
type dcmtk struct {
	*site
	tunnels map[string]string // their ports, by badge
}

func newDCMTK(t *testing.T, s *site) *dcmtk {
	t.Helper()
	peer(t, "storescu", "dcmtk")
	return &dcmtk{s, map[string]string{}}
}

// do runs a client to its end, as the one who holds the badge. options stand before the
// peer's address, files behind it. Options given here, such as an AE title, win over those
// it adds.
func (d *dcmtk) do(t *testing.T, badge, program string, options []string, files ...string) outcome {
	t.Helper()
	_, port, _ := net.SplitHostPort(d.listen)
	args := []string{"-aet", titles[badge], "-aec", "PACS"}
	switch program {
	case "echoscu", "findscu", "storescu":
		args = append(args, "+tls", d.path(badge+".key"), d.path(badge+".pem"), "+cf", d.path("ca.pem"))
	default:
		if d.tunnels[badge] == "" {
			d.tunnels[badge] = d.tunnel(t, badge)
		}
		port = d.tunnels[badge]
	}
	args = append(append(args, options...), "127.0.0.1", port)
	return runProgram(t, d.dir, nil, program, append(args, files...)...)
}

// startStoreSCP starts dcmtk's receiver, which puts the data sets it gets in a directory,
// as they come.
func startStoreSCP(t *testing.T, title string, options ...string) (storescp *background, port, dir string) {
	t.Helper()
	port, dir = freePort(t), t.TempDir()
	storescp = start(t, dir, peer(t, "storescp", "dcmtk"), slices.Concat([]string{"-v", "+B", "-od", dir, "-aet", title}, options, []string{port})...)
	storescp.waitFor(t, "listening", func() bool { return listening(port) })
	return storescp, port, dir
}

// stored returns the files in a directory.
func stored(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, filepath.Join(dir, e.Name()))
	}
	return names
}

// tellDCMTK uses every client of dcmtk against Orthanc: what is allowed works, and what is
// not is reported by the client with a code that "cordon why" explains. Several of them
// exit with 0 then, so it is their text that counts.
func tellDCMTK(t *testing.T, cordon string) {
	sent := images(t)
	_, reading, moved := startStoreSCP(t, "KIM")
	archive := startOrthanc(t, map[string]string{"KIM": reading})
	s := newArchive(t, cordon, archive.port)
	// A CT that queries nothing but its worklist.
	s.edit(t, "policy/data.yaml", "device: [find, worklist,", "device: [worklist,")
	s.untested(t)
	d := s.serve(t)
	clients := newDCMTK(t, s)

	for syntax, propose := range map[string]string{
		"implicit": "-xi", "explicit": "-xe", "big-endian": "-xb", "deflated": "-xd", "jpeg2000": "-xw", "rle": "-xr",
	} {
		file := filepath.Join(sent, "syntax-"+syntax+".dcm")
		out := clients.do(t, "ct", "storescu", []string{"-v", propose}, file)
		if out.code != 0 || !strings.Contains(out.stdout+out.stderr, "Received Store Response (Success)") {
			t.Errorf("storescu %s of %s exits with %d and says %s%s", propose, syntax, out.code, out.stdout, out.stderr)
			continue
		}
		if syntax != "deflated" { // which Orthanc pads to its inflated length, asked directly as well
			sameDataSet(t, archive.file(t, sopInstance(t, file)), file)
		}
	}

	got := t.TempDir()
	study := []string{"-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.3.4.2"}
	for _, c := range []struct {
		badge, program string
		options        []string
		files          []string
		code           int
		says           string // a regular expression
		refused        string // the operation, if any
	}{
		{"ct", "echoscu", nil, nil, 0, `Received Echo Response \(Success\)`, ""},
		{"kim", "findscu", []string{"-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "PatientID=P1", "-k", "StudyInstanceUID"}, nil,
			0, `(?s)StudyInstanceUID.*Find Response: 6 .*UI \[1\.2\.3\.4\.\d.?\].*Final Find Response \(Success\)`, ""},
		{"fox", "findscu", []string{"-S", "-k", "QueryRetrieveLevel=IMAGE", "-k", "StudyInstanceUID=1.2.3.4.2", "-k", "SeriesInstanceUID=1.2.3.4.2.1", "-k", "SOPInstanceUID"}, nil,
			0, `(?s)Find Response: 1 .*UI \[1\.2\.3\.4\.2\.1\.1.?\].*Final Find Response \(Success\)`, ""},
		{"kim", "movescu", append(study, "-S", "-aem", "KIM"), nil, 0, `Received Final Move Response \(Success\)`, ""},
		{"kim", "getscu", append(study, "-S", "+B", "-od", got), nil, 0, `Number of Completed Suboperations : 1`, ""},

		{"fox", "storescu", []string{"-R"}, []string{filepath.Join(sent, "batch-0.dcm")}, 1, `0x0124: Refused: Not authorized`, "dicom:C-STORE"},
		{"ct", "findscu", append(study, "-S"), nil, 0, `0x0124`, "dicom:C-FIND"},
		{"ct", "movescu", append(study, "-S", "-aem", "CT2"), nil, 69, `Unknown Status: 0x124`, "dicom:C-MOVE"},
		{"kim", "movescu", append(study, "-S", "-aem", "CT2"), nil, 69, `Refused: MoveDestinationUnknown`, "dicom:C-MOVE"},
		{"ct", "getscu", append(study, "-S", "-od", got), nil, 0, `Unknown Status: 0x124`, "dicom:C-GET"},
	} {
		verbose := "-v"
		if c.refused != "" {
			verbose = "-d" // which prints the error comment
		}
		out := clients.do(t, c.badge, c.program, append([]string{verbose}, c.options...), c.files...)
		text := out.stdout + out.stderr
		if out.code != c.code || !regexp.MustCompile(c.says).MatchString(text) {
			t.Errorf("%s of %s exits with %d and says %s\nwant %d and %s", c.program, c.badge, out.code, text, c.code, c.says)
		}
		if code := commented.FindStringSubmatch(text); c.refused == "" && code != nil || c.refused != "" && code == nil {
			t.Errorf("%s of %s prints code %q in %s", c.program, c.badge, code, text)
		} else if code != nil {
			s.explained(t, code[1], "DENY "+c.refused, "device    pacs-1")
		}
	}
	explicit := filepath.Join(sent, "syntax-explicit.dcm")
	for _, dir := range []string{moved, got} {
		files := stored(t, dir)
		if len(files) != 1 {
			t.Errorf("retrieved to %s: %q, want one image", dir, files)
			continue
		}
		sameDataSet(t, files[0], explicit)
	}
	if n := archive.count(t); n != 6 {
		t.Errorf("the archive holds %d images, want 6", n)
	}
	if code := d.stop(t); code != exit.Done {
		t.Errorf("the gateway exited with %d", code)
	}
}

var instanceElement = regexp.MustCompile(`\(0008,0018\) UI \[([0-9.]+)\]`)

// sopInstance reads a file's SOP instance UID.
func sopInstance(t *testing.T, file string) string {
	t.Helper()
	out := runProgram(t, filepath.Dir(file), nil, "dcmdump", "+P", "0008,0018", file)
	found := instanceElement.FindStringSubmatch(out.stdout)
	if found == nil {
		t.Fatalf("dcmdump %s: %s%s", file, out.stdout, out.stderr)
	}
	return found[1]
}

package main

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tellMatrix runs every client of dcmtk with many of its options twice, straight at the
// device and through a gateway whose policy allows everything. It exits with the same code,
// prints the same text and leaves the same files either way, also where it fails.
func tellMatrix(t *testing.T, cordon string) {
	sent := images(t)
	_, port, received := startStoreSCP(t, "PACS", "+xa")
	_, reading, moved := startStoreSCP(t, "KIM")
	archive := startQRSCP(t, map[string]string{"KIM": reading})
	got := t.TempDir()

	file := func(name string) string { return filepath.Join(sent, name+".dcm") }
	var batch []string
	for n := range 10 {
		batch = append(batch, file(fmt.Sprintf("batch-%d", n)))
	}
	explicit := []string{file("syntax-explicit")}
	keys := func(level string, keys ...string) []string {
		args := []string{"-k", "QueryRetrieveLevel=" + level}
		for _, key := range keys {
			args = append(args, "-k", key)
		}
		return args
	}
	study := keys("STUDY", "StudyInstanceUID=1.2.3.4.10")
	series := keys("SERIES", "StudyInstanceUID=1.2.3.4.10", "SeriesInstanceUID=1.2.3.4.10.1")
	image := keys("IMAGE", "StudyInstanceUID=1.2.3.4.10", "SeriesInstanceUID=1.2.3.4.10.1", "SOPInstanceUID=1.2.3.4.10.1.3")
	type command struct {
		program string
		options []string
		files   []string
	}
	for _, device := range []struct {
		port     string
		commands []command
	}{
		{port, []command{
			{"echoscu", nil, nil},
			{"echoscu", []string{"--repeat", "5"}, nil},
			{"echoscu", []string{"-pts", "30"}, nil},
			{"echoscu", []string{"-ppc", "128"}, nil},
			{"echoscu", []string{"-pdu", "4096"}, nil},
			{"echoscu", []string{"-pdu", "131072"}, nil},
			{"echoscu", []string{"--abort"}, nil},
			{"storescu", []string{"-xi"}, []string{file("syntax-implicit")}},
			{"storescu", []string{"-xi"}, explicit}, // converts
			{"storescu", []string{"-xe"}, explicit},
			{"storescu", []string{"-xb"}, []string{file("syntax-big-endian")}},
			{"storescu", []string{"-xd"}, []string{file("syntax-deflated")}},
			{"storescu", []string{"-xd", "-R"}, explicit},
			{"storescu", []string{"-xw"}, []string{file("syntax-jpeg2000")}},
			{"storescu", []string{"-xr", "-R"}, []string{file("syntax-rle")}},
			{"storescu", []string{"-xs"}, explicit},
			{"storescu", []string{"-xv"}, []string{file("syntax-rle")}}, // proposes another
			{"storescu", []string{"-R", "+C"}, explicit},
			{"storescu", []string{"--repeat", "4"}, explicit},
			{"storescu", []string{"-pdu", "4096"}, explicit},
			{"storescu", []string{"-pdu", "131072"}, explicit},
			{"storescu", []string{"--max-send-pdu", "4096"}, explicit},
			{"storescu", []string{"-R", "-nh"}, batch},
			{"storescu", []string{"--abort"}, batch[:2]},
			{"storescu", []string{"-usr", "dr.kim"}, explicit},
			{"storescu", []string{"-usr", "dr.kim", "-pwd", "secret"}, explicit},
			{"storescu", []string{"-usr", "dr.kim", "-rsp"}, explicit},
			{"storescu", []string{"+r", "+sd"}, []string{sent}},
			{"findscu", append(study, "-S"), nil}, // storescp knows no query
		}},
		{archive, []command{
			{"storescu", []string{"-R"}, batch},
			{"echoscu", nil, nil},
			{"findscu", append(keys("STUDY", "StudyInstanceUID", "PatientID=P*"), "-S"), nil},
			{"findscu", append(keys("PATIENT", "PatientID"), "-P"), nil},
			{"findscu", append(series, "-S", "-k", "Modality"), nil},
			{"findscu", append(keys("IMAGE", "StudyInstanceUID=1.2.3.4.10", "SeriesInstanceUID=1.2.3.4.10.1", "SOPInstanceUID"), "-S", "-pdu", "4096"), nil},
			{"findscu", append(keys("IMAGE", "SOPInstanceUID"), "-S"), nil}, // keys above it are missing
			{"findscu", append(keys("NONSENSE"), "-S"), nil},
			{"findscu", []string{"-W", "-k", "Modality=CT"}, nil},
			{"findscu", append(study, "-S", "--repeat", "3"), nil},
			{"movescu", append(study, "-S", "-aem", "KIM"), nil},
			{"movescu", append(image, "-S", "-aem", "KIM", "-pdu", "131072"), nil},
			{"movescu", append(study, "-S", "-aem", "NOBODY"), nil},
			{"movescu", append(keys("PATIENT", "PatientID=P3"), "-P", "-aem", "KIM"), nil},
			{"getscu", append(study, "-S", "-od", got), nil},
			{"getscu", append(image, "-S", "+B", "-od", got, "-pdu", "4096"), nil},
			{"getscu", append(keys("PATIENT", "PatientID=P3"), "-P", "-od", got), nil},
			{"getscu", append(keys("STUDY", "StudyInstanceUID=1.2.3.4.99"), "-S", "-od", got), nil},
		}},
	} {
		s := newArchive(t, cordon, device.port)
		s.allowAll(t)
		d := s.serve(t)
		through := s.tunnel(t, "kim")
		for _, c := range device.commands {
			peer(t, c.program, "dcmtk")
			run := func(port string) string {
				args := slices.Concat([]string{"-v", "-aet", "KIM", "-aec", "PACS"}, c.options, []string{"127.0.0.1", port}, c.files)
				out := runProgram(t, s.dir, nil, c.program, args...)
				text := strings.ReplaceAll(out.stdout+out.stderr, port, "PORT")
				return fmt.Sprintf("exits with %d and says %s\nfiles: %s", out.code, text, takeFiles(t, received, moved, got))
			}
			if direct, through := run(device.port), run(through); direct != through {
				t.Errorf("%s %s:\ndirect, it %s\nthrough the gateway, it %s", c.program, strings.Join(c.options, " "), direct, through)
			}
		}
		d.stop(t)
	}
}

// allowAll replaces the site's policy by one that permits everything.
func (s *site) allowAll(t *testing.T) {
	t.Helper()
	if err := os.Mkdir(s.path("gw/everything"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.write(t, "gw/everything/cordon.rego", "package cordon\n\nallow := true\n")
	s.configure(t, "  dir: policy ", "  dir: everything ")
}

// startQRSCP starts dcmtk's archive, with AE title PACS.
func startQRSCP(t *testing.T, destinations map[string]string) (port string) {
	t.Helper()
	dir := t.TempDir()
	var hosts strings.Builder
	for title, port := range destinations {
		fmt.Fprintf(&hosts, "%s = (%s, 127.0.0.1, %s)\n", strings.ToLower(title), title, port)
	}
	_, port, _ = net.SplitHostPort(freeAddress(t))
	config := fmt.Sprintf(`NetworkTCPPort = %s
MaxPDUSize = 16384
MaxAssociations = 16
HostTable BEGIN
%sHostTable END
VendorTable BEGIN
VendorTable END
AETable BEGIN
PACS %s RW (100, 64mb) ANY
AETable END
`, port, hosts.String(), dir)
	file := filepath.Join(dir, "dcmqrscp.cfg")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	archive := start(t, dir, peer(t, "dcmqrscp", "dcmtk"), "-v", "-c", file)
	archive.waitFor(t, "listening", func() bool { return listening(port) })
	return port
}

// takeFiles describes the files in some directories and removes them.
func takeFiles(t *testing.T, dirs ...string) string {
	t.Helper()
	found := map[string]string{}
	for _, dir := range dirs {
		for _, name := range stored(t, dir) {
			b, err := os.ReadFile(name)
			if err == nil {
				err = os.Remove(name)
			}
			if err != nil {
				t.Fatal(err)
			}
			found[name] = fmt.Sprintf("%s: %x", filepath.Base(name), sha256.Sum256(b))
		}
	}
	return strings.Join(slices.Sorted(maps.Values(found)), "\n")
}

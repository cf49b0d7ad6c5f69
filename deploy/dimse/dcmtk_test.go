package dimse

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// tool returns the path of a program of dcmtk. Without it the test is skipped, or fails if
// CORDON_PEERS is "required".
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CORDON_PEERS") == "required" {
			t.Fatal("a peer is missing: " + name)
		}
		t.Skipf("SKIPPED: a peer is missing: %s: apt-get install dcmtk", name)
	}
	return path
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), tool(t, name), args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return string(out)
}

// part10 is an object as a file (PS3.10 7).
func part10(o Object) []byte {
	meta := DataSet{
		{0x00020001, "OB", "\x00\x01"},
		{0x00020002, "UI", o.SOPClass},
		{0x00020003, "UI", o.SOPInstance},
		{0x00020010, "UI", ExplicitVRLittleEndian},
		{0x00020012, "UI", implementation},
	}.encode(ExplicitVRLittleEndian)
	length := DataSet{{0x00020000, "UL", string([]byte{byte(len(meta)), byte(len(meta) >> 8), 0, 0})}}.encode(ExplicitVRLittleEndian)
	b := append(append(append(make([]byte, 128), "DICM"...), length...), meta...)
	b = append(b, o.head().encode(ExplicitVRLittleEndian)...)
	b = appendHead(b, 0x7FE00010, "OW", uint32(o.Pixels), ExplicitVRLittleEndian)
	return append(b, make([]byte, o.Pixels)...)
}

// TestClientsOfDCMTK lets dcmtk's clients use the device.
func TestClientsOfDCMTK(t *testing.T) {
	tool(t, "echoscu")
	image := CTImage("1.2.3", "100123", 300_000)
	arrived := make(chan Stored, 1)
	said := make(chan error, 1)
	host, port, _ := net.SplitHostPort(serve(t, &SCP{AETitle: "PACS-1", Objects: []Object{image}, Stored: func(s Stored) { arrived <- s }}, said))
	file := filepath.Join(t.TempDir(), "image.dcm")
	if err := os.WriteFile(file, part10(image), 0o644); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, c := range []struct {
		name string
		args []string
		says string
	}{
		{"echoscu", nil, "Received Echo Response (Success)"},
		{"storescu", []string{"-xe"}, "Received Store Response (Success)"},
		{"storescu", []string{"-xi"}, "Received Store Response (Success)"},
		{"findscu", []string{"-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "PatientID=100123"}, "[100123"},
		{"movescu", []string{"-S", "-aem", "KIM-WS", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1"}, "Received Final Move Response (Success)"},
		{"getscu", []string{"-S", "-od", dir, "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1"}, "Received C-GET Response (Success)"},
	} {
		args := append([]string{"-v", "-aet", "CT-2", "-aec", "PACS-1"}, append(c.args, host, port)...)
		if c.name == "storescu" {
			args = append(args, file)
		}
		if out := run(t, c.name, args...); !strings.Contains(out, c.says) {
			t.Errorf("%s %s does not say %q:\n%s", c.name, args, c.says, out)
		}
		if err := <-said; err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if c.name == "storescu" {
			if s, want := <-arrived, digest(image, map[string]string{"-xe": ExplicitVRLittleEndian, "-xi": ImplicitVRLittleEndian}[c.args[0]]); s != want {
				t.Errorf("storescu %s: %v arrived, want %v", c.args[0], s, want)
			}
		}
	}
	if files, err := filepath.Glob(dir + "/*"); err != nil || len(files) != 1 {
		t.Errorf("getscu left %q", files)
	}
	out, err := exec.CommandContext(t.Context(), tool(t, "echoscu"), "-v", "-aec", "PACS-2", host, port).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "Called AE Title Not Recognized") {
		t.Errorf("echoscu of another name: %v\n%s", err, out)
	}
	if err := <-said; err == nil {
		t.Error("a rejection is no error of Serve's")
	}
}

// TestStoreSCP stores with dcmtk's storescp.
func TestStoreSCP(t *testing.T) {
	for _, syntax := range []string{ExplicitVRLittleEndian, ImplicitVRLittleEndian} {
		address, dir := storescp(t)
		a, err := Associate(dial(t, address), Request{
			CalledAE: "STORESCP", CallingAE: "CT-2", SOPClasses: []string{Verification, CTImageStorage}, TransferSyntaxes: []string{syntax}, MaxPDU: maxPDU})
		if err != nil {
			t.Fatal(err)
		}
		if answer, err := a.Echo(); err != nil || answer.Status != Success {
			t.Errorf("C-ECHO: %v, %v", answer, err)
		}
		for i, size := range []int64{0, 2, 300_000} {
			o := CTImage(fmt.Sprintf("1.2.3.%d", i), "100123", size)
			if answer, err := a.Store(o); err != nil || answer.Status != Success {
				t.Errorf("C-STORE of %d bytes: %v, %v", size, answer, err)
			}
		}
		if err := a.Release(); err != nil {
			t.Error(err)
		}
		out := run(t, "dcmdump", filepath.Join(dir, "CT.1.2.3.2"))
		for _, want := range []string{"[100123]", "[1.2.3.2]", "# 300000, 1 PixelData"} {
			if !strings.Contains(out, want) {
				t.Errorf("the object stored does not say %q:\n%s", want, out)
			}
		}
	}
}

// freePort is a port for a program that cannot be given a listener. It lies below those that the
// kernel gives to whoever asks for any, so that nobody gets it meanwhile.
func freePort(t *testing.T) string {
	t.Helper()
	for n := 20_000 + os.Getpid()%10_000; n < 32_768; n++ {
		port := strconv.Itoa(n)
		if l, err := net.Listen("tcp", ":"+port); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}

// storescp starts one and returns where it listens and stores.
func storescp(t *testing.T) (address, dir string) {
	t.Helper()
	path := tool(t, "storescp")
	port := freePort(t)
	dir = t.TempDir()
	cmd := exec.Command(path, "-od", dir, port)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	address = net.JoinHostPort("127.0.0.1", port)
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
			return address, dir
		}
		if time.Now().After(end) {
			t.Fatalf("storescp does not listen: %v", err)
		}
	}
}

package main

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cordon/cmd/cordon/exit"
)

// heard is a line of deploy/peers/dicom_client.js: a response, an image or a report.
type heard struct {
	Operation string
	Status    int
	Comment   string
	Matches   int
	Rejected  []int
}

const (
	notAuthorized   = 0x0124
	moveDestination = 0xA801
)

// tellNodeDICOM has dcmjs-dimse on both sides: it brings its own TLS and tells its caller
// status and error comment. It also speaks the services that dcmtk has no client for.
func tellNodeDICOM(t *testing.T, cordon string) {
	node := peer(t, "node", "nodejs")
	modules := "NODE_PATH=" + nodeModules(t, "dcmjs-dimse")
	image := filepath.Join(images(t), "syntax-explicit.dcm")
	device := start(t, t.TempDir(), "env", modules, node, script(t, "dicom_device.js"), image)
	var hello struct{ Port json.Number }
	device.waitFor(t, "listening", func() bool {
		line, _, ended := strings.Cut(device.said(), "\n")
		return ended && json.Unmarshal([]byte(line), &hello) == nil
	})
	s := newArchive(t, cordon, hello.Port.String())
	d := s.serve(t)
	_, port, _ := net.SplitHostPort(s.listen)

	for _, c := range []struct {
		badge      string
		operations []string
		hears      []heard
		asked      []string // of the device, besides the association
	}{
		{"kim", []string{"echo", "find=P1", "store=" + image, "move=1.2.3.4.2,KIM"},
			[]heard{{Operation: "echo"}, {Operation: "find", Matches: 1}, {Operation: "store"}, {Operation: "move"}},
			[]string{"echo", "find", "store", "move"}},
		{"fox", []string{"get=1.2.3.4.2", "echo"},
			[]heard{{Operation: "image"}, {Operation: "get"}, {Operation: "echo"}},
			[]string{"get", "echo"}},
		{"ct", []string{"worklist", "create", "set", "commit"},
			[]heard{{Operation: "worklist", Matches: 1}, {Operation: "create"}, {Operation: "set"}, {Operation: "commit"}, {Operation: "report"}},
			[]string{"find", "create", "set", "commit", "reported"}},

		// What is refused leaves the association to what follows.
		{"fox", []string{"store=" + image, "create", "set", "commit", "worklist", "move=1.2.3.4.2,KIM", "echo"},
			[]heard{
				{Operation: "store", Status: notAuthorized}, {Operation: "create", Status: notAuthorized}, {Operation: "set", Status: notAuthorized},
				{Operation: "commit", Status: notAuthorized}, {Operation: "worklist", Status: notAuthorized}, {Operation: "move", Status: moveDestination}, {Operation: "echo"},
			},
			[]string{"echo"}},
		{"ct", []string{"get=1.2.3.4.2", "find=P1"},
			[]heard{{Operation: "get", Status: notAuthorized}, {Operation: "find", Matches: 1}},
			[]string{"find"}},
		{"nurse", []string{"echo"}, []heard{{Rejected: []int{1, 1, 1}}}, nil},
	} {
		before := len(device.said())
		args := append([]string{modules, node, script(t, "dicom_client.js"), port, s.path(c.badge + ".pem"), s.path(c.badge + ".key"), s.path("ca.pem"), titles[c.badge]}, c.operations...)
		out := runProgram(t, s.dir, nil, "env", args...)
		if out.code != 0 {
			t.Errorf("%s: exit code %d: %s%s", c.badge, out.code, out.stdout, out.stderr)
		}
		lines := json.NewDecoder(strings.NewReader(out.stdout))
		for _, want := range c.hears {
			var got heard
			if err := lines.Decode(&got); err != nil {
				t.Errorf("%s: after %v, want %+v, in %s", c.badge, err, want, out.stdout)
				break
			}
			if code := decisionCode.FindString(got.Comment); got.Status != 0 {
				s.explained(t, code, "DENY dicom:", c.badge)
			}
			got.Comment = ""
			if got.Operation != want.Operation || got.Status != want.Status || got.Matches != want.Matches || !slices.Equal(got.Rejected, want.Rejected) {
				t.Errorf("%s hears %+v, want %+v", c.badge, got, want)
			}
		}
		if lines.More() {
			t.Errorf("%s hears more than expected: %s", c.badge, out.stdout)
		}
		var asked []string
		for line := range strings.Lines(device.said()[before:]) {
			var request struct{ Request string }
			if json.Unmarshal([]byte(line), &request) == nil && request.Request != "associate" {
				asked = append(asked, request.Request)
			}
		}
		if !slices.Equal(asked, c.asked) {
			t.Errorf("%s asks for %q, and of that the device hears %q, want %q", c.badge, c.operations, asked, c.asked)
		}
	}
	if code := d.stop(t); code != exit.Done {
		t.Errorf("the gateway exited with %d", code)
	}
}

// script returns the path of one of deploy/peers.
func script(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../../deploy/peers", name))
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

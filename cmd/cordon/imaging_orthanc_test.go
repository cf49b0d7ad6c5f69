package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// orthanc is an Orthanc server in the role of an archive without any protection of its
// own.
type orthanc struct {
	*background
	port string // DICOM
	http string // the URL of its REST interface
	dir  string
}

// startOrthanc starts one with AE title PACS. It sends images to the AE titles of
// destinations, which are loopback ports.
func startOrthanc(t *testing.T, destinations map[string]string) *orthanc {
	t.Helper()
	program, err := exec.LookPath("Orthanc")
	if err != nil {
		program = "/usr/sbin/Orthanc" // not in every user's PATH
		if _, err := os.Stat(program); err != nil {
			noPeer(t, "Orthanc: apt-get install orthanc")
		}
	}
	rest := freeAddress(t)
	o := &orthanc{port: freePort(t), http: "http://" + rest, dir: t.TempDir()}
	modalities := map[string]any{}
	for title, port := range destinations {
		modalities[strings.ToLower(title)] = []any{title, "127.0.0.1", json.Number(port)}
	}
	config, err := json.Marshal(map[string]any{
		"Name": "archive", "StorageDirectory": o.dir, "IndexDirectory": o.dir, "Plugins": []string{},
		"HttpPort": json.Number(rest[strings.LastIndexByte(rest, ':')+1:]), "RemoteAccessAllowed": false, "AuthenticationEnabled": false,
		"DicomAet": "PACS", "DicomPort": json.Number(o.port), "DicomCheckCalledAet": false, "DicomModalities": modalities,
		"DicomAlwaysAllowEcho": true, "DicomAlwaysAllowStore": true, "DicomAlwaysAllowFind": true, "DicomAlwaysAllowMove": true, "DicomAlwaysAllowGet": true,
		"UnknownSopClassAccepted": true, "OverwriteInstances": true, "SynchronousCMove": true, "DicomScpTimeout": 30,
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(o.dir, "orthanc.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	o.background = start(t, o.dir, program, file)
	o.waitFor(t, "listening", func() bool {
		answer, err := http.Get(o.http + "/system")
		if err == nil {
			answer.Body.Close()
		}
		return err == nil && listening(o.port)
	})
	return o
}

// file fetches a stored object and returns the name of the file it is put in.
func (o *orthanc) file(t *testing.T, sopInstance string) string {
	t.Helper()
	var found []struct{ ID string }
	if err := json.Unmarshal(o.ask(t, "POST", "/tools/lookup", sopInstance), &found); err != nil || len(found) != 1 {
		t.Fatalf("the archive holds %d objects of SOP instance UID %s (%v), want 1", len(found), sopInstance, err)
	}
	name := filepath.Join(o.dir, sopInstance+".dcm")
	if err := os.WriteFile(name, o.ask(t, "GET", "/instances/"+found[0].ID+"/file", ""), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// count returns how many objects the archive holds.
func (o *orthanc) count(t *testing.T) int {
	t.Helper()
	var all []string
	if err := json.Unmarshal(o.ask(t, "GET", "/instances", ""), &all); err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func (o *orthanc) ask(t *testing.T, method, path, body string) []byte {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, o.http+path, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, b)
	}
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return b
}

package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"cordon/cmd/cordon/exit"
)

const unchangedSegment = `segments:
  ward:
    interface: { kind: nic, name: seg0 }
    addresses: [10.9.0.1]
devices:
  ct-1:
    address: 10.9.0.7
    segment: ward
    mac: 02:00:00:00:09:07
    class: imaging/ct
    call_out:
      workstation: { proto: dicom, catch: 10.9.0.9:104, to: 10.1.0.2:2762, server_name: peer.hospital.example }
    services:
      dicom: { proto: dicom, port: 104, listen: 10.1.0.1:11112 }
  mon-8:
    address: 10.9.0.8
    segment: ward
    mac: 02:00:00:00:09:08
    class: monitor/bedside
    source: client
    call_out:
      results: { proto: hl7, catch: 10.9.0.9:2575, to: 10.1.0.2:2576, server_name: peer.hospital.example }
    services:
      hl7: { proto: hl7, port: 2575, listen: 10.1.0.1:12575 }
  rack-a:
    address: 10.9.0.10
    segment: ward
    mac: 02:00:00:00:09:0a
    class: pump/infusion
    services:
      modbus: { proto: modbus, port: 502, listen: 10.1.0.1:10502 }
`

// tellUnchanged puts programs into a segment that know nothing of it, of the gateway or of TLS:
// Orthanc, which receives, is told to move and pushes; an HL7 listener and mllp_send; a Modbus
// server. Each keeps its address and its peers'.
func tellUnchanged(t *testing.T, cordon string) {
	for name, from := range map[string]string{"movescu": "dcmtk", "mllp_send": "python3-hl7", "mbpoll": "mbpoll", "socat": "socat", "openssl": "openssl", "curl": "curl"} {
		peer(t, name, from)
	}
	python := pythonWith(t, "pymodbus.server, serial_asyncio", "python3-pymodbus python3-serial-asyncio")
	file := filepath.Join(images(t), "syntax-explicit.dcm")
	w := newWard(t, cordon)
	w.ip(t, "link del seg0", "netns del device", "-n client link set lo up")
	ct, mon, rack := machine{"ct", "10.9.0.7", net.HardwareAddr{2, 0, 0, 0, 9, 7}}, machine{"mon", "10.9.0.8", net.HardwareAddr{2, 0, 0, 0, 9, 8}}, machine{"rack", "10.9.0.10", net.HardwareAddr{2, 0, 0, 0, 9, 10}}
	w.wire(t, "seg0", "10.9.0.1", ct, mon, rack)

	own := w.path("peer")
	if out := runProgram(t, w.dir, nil, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
		"-subj", "/CN=peer", "-addext", "subjectAltName=DNS:peer.hospital.example", "-keyout", own+".key", "-out", own+".pem"); out.code != 0 {
		t.Fatal(out.stderr)
	}
	w.edit(t, "cordon.yaml", "    # trust_file: hospital.pem # believe these roots too\n", "    trust_file: "+own+".pem\n")
	w.edit(t, "cordon.yaml", "devices: {}\n", unchangedSegment)
	w.edit(t, "policy/data.yaml", "\nae_titles: {}\n", "\nae_titles:\n  user/dr.kim: [KIM]\n  device/ct-1: [PACS]\n")
	w.edit(t, "policy/data.yaml", "  device: [find, worklist, store, moved, commit, mpps, print]", "  device: [moved]")
	w.untested(t)
	w.issue(t, "kim", "--user", "dr.kim", "--role", "radiologist")
	w.issue(t, "biomed", "--user", "tech.ray", "--role", "biomed")
	w.issueStaff(t)
	d := w.serve(t)
	w.isolated(t, "ward")

	// At a client's end, what knows no TLS speaks by way of socat.
	through := func(badge, port, to string) {
		t.Helper()
		name, args := w.in("client", "socat", "TCP-LISTEN:"+port+",bind=127.0.0.1,fork,reuseaddr",
			"OPENSSL:"+to+",verify=1,openssl-min-proto-version=TLS1.3,pf=ip4,commonname=localhost,cert="+w.path(badge+".pem")+",key="+w.path(badge+".key")+",cafile="+w.path("ca.pem"))
		start(t, w.dir, name, args...)
		w.listens(t, "client", port)
	}
	// No subtests: they would run on other threads, and so elsewhere.
	w.tellInnerOrthanc(t, through, own, file)
	w.tellInnerHL7(t, through, own)
	w.tellInnerModbus(t, through, python)
	if code := d.stop(t); code != exit.Done {
		t.Errorf("the gateway exited with %d", code)
	}
}

// tellInnerModbus: an infusion rack is read, and not written to.
func (w *ward) tellInnerModbus(t *testing.T, through socatTo, python string) {
	record := w.path("record")
	name, args := w.in("rack", python, peerScript(t, "modbus_device.py"), "502", record, "10.9.0.10")
	start(t, w.dir, name, args...)
	w.listens(t, "rack", "502")
	through("biomed", "1502", "10.1.0.1:10502")
	poll := func(args ...string) string {
		out := w.runIn(t, "client", "mbpoll", append([]string{"-m", "tcp", "-p", "1502", "-a", "1", "-1", "-o", "10", "-t", "4", "-r", "12"}, args...)...)
		return out.stdout + out.stderr
	}
	if got := poll("-c", "2", "127.0.0.1"); !strings.Contains(got, "[12]: \t11\n[13]: \t12\n") {
		t.Errorf("read, mbpoll says %s", got)
	}
	if got := poll("127.0.0.1", "200"); !strings.Contains(got, "failed: Illegal function") {
		t.Errorf("set, mbpoll says %s", got)
	}
	if got, _ := os.ReadFile(record); string(got) != mbap(1, "\x03\x00\x0b\x00\x02") {
		t.Errorf("the device received %x", got)
	}
}

// listens waits until a port is listened on in a namespace.
func (w *ward) listens(t *testing.T, namespace, port string) {
	t.Helper()
	var number int
	fmt.Sscan(port, &number)
	if !eventually(func() bool {
		return regexp.MustCompile(fmt.Sprintf(`:%04X \S+ %s `, number, listen)).MatchString(w.runIn(t, namespace, "cat", "/proc/net/tcp", "/proc/net/tcp6").stdout)
	}) {
		t.Fatalf("in namespace %s nothing listens on port %s", namespace, port)
	}
}

type socatTo func(badge, port, to string)

// tellInnerOrthanc: an image is stored in Orthanc, and moved to who asks; Orthanc's own push is
// another matter.
func (w *ward) tellInnerOrthanc(t *testing.T, through socatTo, own, file string) {
	orthanc, err := exec.LookPath("Orthanc")
	if err != nil {
		orthanc = "/usr/sbin/Orthanc"
		if _, err := os.Stat(orthanc); err != nil {
			noPeer(t, "Orthanc: apt-get install orthanc")
		}
	}
	dir := t.TempDir()
	config := w.write(t, "orthanc.json", fmt.Sprintf(`{"Name": "ct", "StorageDirectory": %q, "IndexDirectory": %q, "Plugins": [], "HttpPort": 8042,
		"RemoteAccessAllowed": false, "AuthenticationEnabled": false, "DicomAet": "PACS", "DicomPort": 104, "DicomCheckCalledAet": false,
		"DicomModalities": {"kim": ["KIM", "10.9.0.9", 104]}, "DicomAlwaysAllowEcho": true, "DicomAlwaysAllowStore": true,
		"DicomAlwaysAllowFind": true, "DicomAlwaysAllowMove": true, "UnknownSopClassAccepted": true, "OverwriteInstances": true, "SynchronousCMove": true}`, dir, dir))
	name, args := w.in("ct", orthanc, "--verbose", config)
	server := start(t, dir, name, args...)
	w.listens(t, "ct", "104")
	w.listens(t, "ct", "8042")
	got := t.TempDir()
	name, args = w.in("client", peer(t, "storescp", "dcmtk"), "-d", "-dhl", "+B", "-od", got, "-aet", "KIM", "+tls", own+".key", own+".pem", "+cf", w.path("ca.pem"), "2762")
	workstation := start(t, got, name, args...)
	w.listens(t, "client", "2762")

	if out := w.runIn(t, "client", "storescu", "-v", "-xe", "-aet", "KIM", "-aec", "PACS", "+tls", w.path("kim.key"), w.path("kim.pem"), "+cf", w.path("ca.pem"), "10.1.0.1", "11112", file); out.code != 0 {
		t.Fatalf("storescu exits with %d and says %s%s", out.code, out.stdout, out.stderr)
	}
	rest := func(path string, more ...string) string {
		return w.runIn(t, "ct", "curl", append([]string{"-s", "http://127.0.0.1:8042" + path}, more...)...).stdout
	}
	instance := regexp.MustCompile(`[0-9a-f-]{44}`).FindString(rest("/instances"))
	if instance == "" {
		t.Fatalf("Orthanc holds %s", rest("/instances"))
	}
	study := regexp.MustCompile(`"StudyInstanceUID" : "([0-9.]+)"`).FindStringSubmatch(rest("/instances/" + instance + "/simplified-tags"))
	if study == nil {
		t.Fatalf("Orthanc says %s", rest("/instances/"+instance+"/simplified-tags"))
	}

	// What it pushes by itself is not listed, and what nobody asked for neither.
	if answer := rest("/modalities/kim/store", "-d", instance); len(stored(t, got)) > 0 || !strings.Contains(answer, "Error") {
		t.Errorf("Orthanc's own push is answered with %s, and the workstation holds %q", answer, stored(t, got))
	}
	w.explained(t, w.lastRefusal(t), "DENY dicom:C-STORE", "device/ct-1")
	if answer := rest("/modalities/kim/store", "-d", fmt.Sprintf(`{"Resources": [%q], "MoveOriginatorAet": "KIM", "MoveOriginatorID": 77}`, instance)); len(stored(t, got)) > 0 {
		t.Errorf("a move nobody was allowed is answered with %s, and the workstation holds %q", answer, stored(t, got))
	}
	w.explained(t, w.lastRefusal(t), "DENY dicom:C-STORE", "KIM", "nobody was allowed")

	through("kim", "1104", "10.1.0.1:11112")
	if out := w.runIn(t, "client", "movescu", "-v", "-S", "-aet", "KIM", "-aec", "PACS", "-aem", "KIM", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID="+study[1], "127.0.0.1", "1104"); out.code != 0 {
		t.Fatalf("movescu exits with %d and says %s%s", out.code, out.stdout, out.stderr)
	}
	if files := stored(t, got); len(files) != 1 {
		t.Errorf("the workstation holds %q, want one image", files)
	} else {
		sameDataSet(t, files[0], file)
	}
	if said := workstation.said(); !strings.Contains(said, "Calling Application Name:    PACS") {
		t.Error("the workstation was not called under Orthanc's title")
	}
	if strings.Contains(server.said(), "10.1.0.") {
		t.Error("Orthanc has seen an address of the clients' network")
	}
	log := w.must(t, "audit", "tail", "-n", "50", "--json", "--dir", w.gw())
	move := regexp.MustCompile(`"code":"([^"]+)".*"name":"dicom:C-MOVE"`).FindStringSubmatch(log)
	if move == nil || !regexp.MustCompile(`"name":"dicom:C-STORE".*"origin":"allowed","origin_code":"`+move[1]+`","origin_subject":"user/dr\.kim"`).MatchString(log) {
		t.Errorf("the log does not join the move (%q) and its store:\n%s", move, log)
	}
}

// tellInnerHL7: a monitor receives messages and sends its own.
func (w *ward) tellInnerHL7(t *testing.T, through socatTo, own string) {
	monitor := record(t, w.listenIn(t, "mon", "10.9.0.8:2575"))
	certificate, err := tls.LoadX509KeyPair(own+".pem", own+".key")
	if err != nil {
		t.Fatal(err)
	}
	lis := record(t, tls.NewListener(w.listenIn(t, "client", "10.1.0.2:2576"), &tls.Config{Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAnyClientCert}))
	through("engine", "1575", "10.1.0.1:12575")
	send := func(namespace, address, port, text string) string {
		t.Helper()
		out := w.runIn(t, namespace, "mllp_send", "--loose", "--file", w.write(t, "message.hl7", text), "-p", port, address)
		return out.stdout + out.stderr
	}
	result, query := message("ORU^R01", "R1", "2.5.1"), message("QBP^Q22", "Q1", "2.5.1")
	if got := send("client", "127.0.0.1", "1575", result); !strings.Contains(got, "MSA|AA|R1") {
		t.Errorf("the monitor's answer is %q", got)
	}
	monitor.want(t, 1, framed(result))
	if all := monitor.all(); len(all) == 1 && !strings.HasPrefix(all[0].conn.RemoteAddr().String(), "10.1.0.2:") {
		t.Errorf("the monitor has seen %v, not its client", all[0].conn.RemoteAddr())
	}
	if got := send("mon", "10.9.0.9", "2575", result); !strings.Contains(got, "MSA|AA|R1") {
		t.Errorf("the laboratory's answer is %q", got)
	}
	got := send("mon", "10.9.0.9", "2575", query)
	if !strings.Contains(got, "MSA|AR|Q1") {
		t.Errorf("the answer to what the monitor may not ask is %q", got)
	}
	w.explained(t, decisionCode.FindString(got[max(0, strings.Index(got, "MSA")):]), "DENY hl7:QBP^Q22", "device/mon-8")
	lis.want(t, 2, framed(result))
	if tables := runProgram(t, "/", nil, "cat", "/proc/net/arp").stdout; strings.Contains(tables, "10.9.0.") {
		t.Errorf("the host knows of the segment's machines:\n%s", tables)
	}
}

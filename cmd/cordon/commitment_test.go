package main

import (
	"regexp"
	"strings"
	"testing"

	"cordon/cmd/cordon/exit"
)

const commitmentSegment = `segments:
  archives:
    interface: { kind: nic, name: seg0 }
    addresses: [10.9.0.1]
devices:
  pacs-1:
    address: 10.9.0.7
    segment: archives
    mac: 02:00:00:00:09:07
    class: imaging/archive
    call_out:
      reports: { proto: dicom, catch: 10.9.0.9:104, to: 10.1.0.2:2762, server_name: peer.hospital.example }
    services:
      dicom: { proto: dicom, port: 104, listen: 10.1.0.1:11112 }
`

// tellCommitment has a CT ask an archive to confirm that its images are safe, which the archive
// does later, in an association that it opens: the CT may delete them then. It hears of what it
// was allowed to ask for, and of nothing else.
func tellCommitment(t *testing.T, cordon string) {
	node, openssl, socat := peer(t, "node", "nodejs"), peer(t, "openssl", "openssl"), peer(t, "socat", "socat")
	modules := "NODE_PATH=" + nodeModules(t, "dcmjs-dimse")
	w := newWard(t, cordon)
	w.ip(t, "-n client link set lo up")
	own := w.path("peer")
	if out := runProgram(t, w.dir, nil, openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
		"-subj", "/CN=peer", "-addext", "subjectAltName=DNS:peer.hospital.example", "-keyout", own+".key", "-out", own+".pem"); out.code != 0 {
		t.Fatal(out.stderr)
	}
	w.edit(t, "cordon.yaml", "    # trust_file: hospital.pem # believe these roots too\n", "    trust_file: "+own+".pem\n")
	w.edit(t, "cordon.yaml", "devices: {}\n", commitmentSegment)
	w.edit(t, "policy/data.yaml", "\nae_titles: {}\n", "\nae_titles:\n  device/ct-2: [CT2]\n  device/pacs-1: [PACS]\n")
	w.issue(t, "ct", "--device", "ct-2", "--role", "device")

	run := func(namespace, name string, args ...string) *background {
		t.Helper()
		program, all := w.in(namespace, name, args...)
		return start(t, w.dir, program, all...)
	}
	archive := run("device", "env", modules, node, script(t, "dicom_commitment.js"), "archive", "104", "10.9.0.9", "104")
	modality := run("client", "env", modules, node, script(t, "dicom_commitment.js"), "modality", "1104")
	run("client", socat, "OPENSSL-LISTEN:2762,fork,reuseaddr,verify=1,cert="+own+".pem,key="+own+".key,cafile="+w.path("ca.pem"), "TCP:127.0.0.1:1104")
	run("client", socat, "TCP-LISTEN:11112,bind=127.0.0.1,fork,reuseaddr", "TCP:10.1.0.1:11112")
	w.listens(t, "device", "104")
	for _, port := range []string{"1104", "2762", "11112"} {
		w.listens(t, "client", port)
	}
	d := w.serve(t)
	unasked := func(when, transaction string) {
		t.Helper()
		before := modality.said()
		b := run("device", "env", modules, node, script(t, "dicom_commitment.js"), "report", "10.9.0.9", "104", "CT2", transaction)
		<-b.exited
		if said := b.said(); strings.Contains(said, `{"told":0}`) || said == "" {
			t.Errorf("%s, the archive's report is answered with %s", when, said)
		}
		if said := modality.said(); said != before {
			t.Errorf("%s, the modality is told %s", when, said[len(before):])
		}
		w.explained(t, w.lastRefusal(t), "DENY dicom:N-EVENT-REPORT", "device/pacs-1", "nobody was allowed to ask for")
	}
	unasked("before it was asked", "1.2.3.4.88")

	if out := w.runIn(t, "client", "env", modules, node, script(t, "dicom_client.js"), "11112", w.path("ct.pem"), w.path("ct.key"), w.path("ca.pem"), "CT2", "commit"); out.code != 0 || !strings.Contains(out.stdout, `"status":0`) {
		t.Fatalf("the CT exits with %d and hears %s%s", out.code, out.stdout, out.stderr)
	}
	archive.waitFor(t, "told that its report arrived", func() bool { return strings.Contains(archive.said(), `{"told":0}`) })
	if said := modality.said(); strings.Count(said, `{"report":"1.2.3.4.88"}`) != 1 {
		t.Errorf("the modality is told %s", said)
	}
	log := w.must(t, "audit", "tail", "-n", "20", "--json", "--dir", w.gw())
	asked := regexp.MustCompile(`"code":"([^"]+)".*"name":"dicom:N-ACTION"`).FindStringSubmatch(log)
	if asked == nil || !regexp.MustCompile(`"name":"dicom:N-EVENT-REPORT".*"origin":"allowed","origin_code":"`+asked[1]+`","origin_subject":"device/ct-2"`).MatchString(log) {
		t.Errorf("the log does not join the commitment (%q) and its report:\n%s", asked, log)
	}
	unasked("of another transaction", "1.2.3.4.99")
	if code := d.stop(t); code != exit.Done {
		t.Errorf("the gateway exited with %d", code)
	}
}

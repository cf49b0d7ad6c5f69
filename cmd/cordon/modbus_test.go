package main

import (
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cordon/cmd/cordon/exit"
)

// rack is a site whose device is an infusion rack, and what its device has recorded.
type rack struct {
	*site
	record string
}

// newRack makes a gateway in front of a device by pymodbus. settings are further flags of
// "device add".
func newRack(t *testing.T, cordon string, settings ...string) rack {
	t.Helper()
	python := pythonWith(t, "pymodbus.server, serial_asyncio", "python3-pymodbus python3-serial-asyncio")
	r := rack{site: emptySite(t, cordon)}
	r.record = r.path("record")
	_, port, _ := net.SplitHostPort(freeAddress(t))
	device := start(t, r.dir, python, peerScript(t, "modbus_device.py"), port, r.record)
	device.waitFor(t, "listening", func() bool { return listening(port) })
	r.addRack(t, port, settings...)
	return r
}

// addRack adds the device, the policy and who uses them.
func (s *site) addRack(t *testing.T, port string, settings ...string) {
	t.Helper()
	s.add(t, "rack-1", "pump/infusion", "modbus", port, settings...)
	s.example(t, "setpoint.rego")
	s.issue(t, "biomed", "--user", "tech.ray", "--role", "biomed")
	s.issue(t, "nurse", "--user", "nurse.ito", "--role", "nurse")
}

// pythonWith returns the distribution's Python, which has the modules of its packages.
func pythonWith(t *testing.T, modules, debianPackages string) string {
	t.Helper()
	const python = "/usr/bin/python3"
	if out := runProgram(t, t.TempDir(), nil, python, "-c", "import "+modules); out.code != 0 {
		noPeer(t, modules+": apt-get install "+debianPackages)
	}
	return python
}

func peerScript(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs("../../deploy/peers/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// wantRecord fails unless exactly these requests have reached the device.
func (r rack) wantRecord(t *testing.T, requests ...string) {
	t.Helper()
	got := func() string {
		b, _ := os.ReadFile(r.record)
		return string(b)
	}
	want := strings.Join(requests, "")
	if !eventually(func() bool { return len(got()) >= len(want) }) || got() != want {
		t.Errorf("the device received\n%x, want\n%x", got(), want)
	}
}

// mbap is a Modbus/TCP message of unit 1.
func mbap(id byte, pdu string) string {
	return string([]byte{0, id, 0, 0, 0, byte(1 + len(pdu)), 1}) + pdu
}

// tellMbpoll reads and sets registers with mbpoll, which counts them from 1.
func tellMbpoll(t *testing.T, cordon string) {
	mbpoll := peer(t, "mbpoll", "mbpoll")
	r := newRack(t, cordon)
	d := r.serve(t)
	tunnels := map[string]string{"biomed": r.tunnel(t, "biomed"), "nurse": r.tunnel(t, "nurse")}
	poll := func(badge string, args ...string) string {
		t.Helper()
		out := runProgram(t, r.dir, nil, mbpoll, append([]string{"-m", "tcp", "-p", tunnels[badge], "-a", "1", "-1", "-o", "10"}, args...)...)
		return out.stdout + out.stderr
	}
	for _, test := range []struct {
		what, badge string
		args        []string
		says        string
		arrives     string // PDU at the device
		refused     string // the operation in the log
	}{
		{"read", "biomed", []string{"-t", "4", "-r", "12", "-c", "2", "127.0.0.1"}, "[12]: \t11\n[13]: \t12\n", "\x03\x00\x0b\x00\x02", ""},
		{"read coils", "biomed", []string{"-t", "0", "-r", "1", "-c", "3", "127.0.0.1"}, "[3]: \t0\n", "\x01\x00\x00\x00\x03", ""},
		{"read inputs", "biomed", []string{"-t", "1", "-r", "1", "-c", "3", "127.0.0.1"}, "[3]: \t1\n", "\x02\x00\x00\x00\x03", ""},
		{"read input registers", "biomed", []string{"-t", "3", "-r", "5", "127.0.0.1"}, "[5]: \t7\n", "\x04\x00\x04\x00\x01", ""},
		{"set", "biomed", []string{"-t", "4", "-r", "12", "127.0.0.1", "200"}, "Written 1 references.", "\x06\x00\x0b\x00\xc8", ""},
		{"set too high", "biomed", []string{"-t", "4", "-r", "12", "127.0.0.1", "241"}, "failed: Illegal data value", "", "modbus:write_single_register"},
		{"set two", "biomed", []string{"-t", "4", "-r", "12", "127.0.0.1", "200", "200"}, "failed: Illegal function", "", "modbus:write_multiple_registers"},
		{"set another", "biomed", []string{"-t", "4", "-r", "13", "127.0.0.1", "200"}, "failed: Illegal function", "", "modbus:write_single_register"},
		{"set a coil", "biomed", []string{"-t", "0", "-r", "1", "127.0.0.1", "1"}, "failed: Illegal function", "", "modbus:write_single_coil"},
		{"the device's own exception", "biomed", []string{"-t", "4", "-r", "200", "127.0.0.1"}, "failed: Illegal data address", "\x03\x00\xc7\x00\x01", ""},
		{"read by the wrong person", "nurse", []string{"-t", "4", "-r", "12", "127.0.0.1"}, "failed: Illegal function", "", "connect"},
		{"set by the wrong person", "nurse", []string{"-t", "4", "-r", "12", "127.0.0.1", "200"}, "failed: Illegal function", "", "connect"},
	} {
		before, _ := os.ReadFile(r.record)
		if got := poll(test.badge, test.args...); !strings.Contains(got, test.says) {
			t.Errorf("%s: mbpoll says %q, want %q in it", test.what, got, test.says)
		}
		want := string(before)
		if test.arrives != "" {
			want += mbap(1, test.arrives)
		} else if log := r.must(t, "audit", "tail", "-n", "3", "--dir", r.gw()); !strings.Contains(log, test.refused) || !strings.Contains(log, " DENY ") {
			t.Errorf("%s: the log says %s", test.what, log)
		}
		r.wantRecord(t, want)
	}
	if code := d.stop(t); code != exit.Done {
		t.Errorf("the gateway exited with %d", code)
	}
}

// tellPymodbus keeps one connection of pymodbus for everything. It sends functions 22 and
// 23 to unit 0 whatever it is told, which here is said to be the device itself.
func tellPymodbus(t *testing.T, cordon string) {
	r := newRack(t, cordon, "--set", "broadcast=none")
	python := pythonWith(t, "pymodbus.client", "python3-pymodbus")
	r.serve(t)
	out := runProgram(t, r.dir, nil, python, peerScript(t, "modbus_client.py"), r.tunnel(t, "biomed"), "1",
		"read_holding_registers=10,3", "write_registers=11,[200]", "write_registers=11,[999]", "write_registers=11,[200,200]",
		"write_register=12,200", "mask_write_register=11,0,200", "readwrite_registers=0,2,12,[200]", "readwrite_registers=0,2,11,[210]",
		"write_coils=0,[True]", "read_exception_status", "read_holding_registers=11,1")
	want := []string{"[10, 11, 12]", "WriteMultipleRegisterResponse (11,1)", "Exception Response(144, 16, IllegalValue)",
		"Exception Response(144, 16, IllegalFunction)", "Exception Response(134, 6, IllegalFunction)",
		"Exception Response(150, 22, IllegalValue)", "Exception Response(151, 23, IllegalFunction)", "[0, 1]",
		"Exception Response(143, 15, IllegalFunction)", "ReadExceptionStatusResponse(7, 0)", "[210]"}
	if got := strings.Split(strings.TrimSpace(out.stdout), "\n"); !slices.Equal(got, want) {
		t.Errorf("pymodbus says\n%q, want\n%q\n%s", got, want, out.stderr)
	}
}

// tellJSModbus sends with jsmodbus over TLS of its own.
func tellJSModbus(t *testing.T, cordon string) {
	node := peer(t, "node", "nodejs")
	modules := nodeModules(t, "jsmodbus")
	r := newRack(t, cordon)
	r.serve(t)
	_, port, _ := net.SplitHostPort(r.listen)
	type answer struct {
		Values    []int
		Error     string
		Exception int
	}
	ask := func(badge string, operations ...string) (answers []answer) {
		t.Helper()
		args := append([]string{"NODE_PATH=" + modules, node, peerScript(t, "modbus_client.js"), port,
			r.path(badge + ".pem"), r.path(badge + ".key"), r.path("ca.pem"), "1"}, operations...)
		out := runProgram(t, r.dir, nil, "env", args...)
		for said := json.NewDecoder(strings.NewReader(out.stdout)); said.More(); {
			var a answer
			if err := said.Decode(&a); err != nil {
				t.Fatal(err)
			}
			answers = append(answers, a)
		}
		if out.code != 0 || len(answers) != len(operations) {
			t.Fatalf("%d answers to %d requests, exit code %d: %s%s", len(answers), len(operations), out.code, out.stdout, out.stderr)
		}
		return answers
	}
	answers := ask("biomed", "readHoldingRegisters=10,3", "writeSingleRegister=11,200", "writeSingleRegister=11,300",
		"writeMultipleRegisters=11,[1,2]", "writeSingleCoil=0,true", "readHoldingRegisters=11,1", "readHoldingRegisters=90,20")
	for i, want := range []answer{{Values: []int{10, 11, 12}}, {}, {Exception: 3}, {Exception: 1}, {Exception: 1}, {Values: []int{200}}, {Exception: 2}} {
		if got := answers[i]; !slices.Equal(got.Values, want.Values) || got.Exception != want.Exception || (got.Error != "") != (want.Exception != 0) {
			t.Errorf("answer %d is %+v, want %+v", i+1, got, want)
		}
	}
	if got := ask("nurse", "readHoldingRegisters=10,3")[0]; got.Exception != 1 {
		t.Errorf("the wrong person gets %+v", got)
	}
	r.wantRecord(t, mbap(1, "\x03\x00\x0a\x00\x03"), mbap(2, "\x06\x00\x0b\x00\xc8"), mbap(6, "\x03\x00\x0b\x00\x01"), mbap(7, "\x03\x00\x5a\x00\x14"))
}

// libmodbusExamples is where Debian puts the sources of libmodbus' own tests.
const libmodbusExamples = "/usr/share/doc/libmodbus-dev/examples"

// tellLibmodbus runs libmodbus' own tests, client and server, through the gateway: all is
// allowed, and the device, which is made to give wrong answers, is believed.
func tellLibmodbus(t *testing.T, cordon string) {
	gcc := peer(t, "gcc", "gcc")
	if _, err := os.Stat(filepath.Join(libmodbusExamples, "unit-test-client.c")); err != nil {
		noPeer(t, err.Error()+": apt-get install libmodbus-dev")
	}
	s := emptySite(t, cordon)
	programs := map[string]string{}
	for _, side := range []string{"server", "client"} {
		source, err := os.ReadFile(filepath.Join(libmodbusExamples, "unit-test-"+side+".c"))
		if err != nil {
			t.Fatal(err)
		}
		text := string(source)
		replace := func(old, new string) {
			if strings.Count(text, old) != 1 {
				t.Fatalf("unit-test-%s.c does not contain %q once", side, old)
			}
			text = strings.Replace(text, old, new, 1)
		}
		replace(`modbus_new_tcp("127.0.0.1", 1502)`, `modbus_new_tcp("127.0.0.1", atoi(argv[2]))`)
		if side == "client" {
			// Bytes 5 ms apart, of which none may be 2 ms late: that tests the machine.
			replace("modbus_set_byte_timeout(ctx, 0, 7000);", "modbus_set_byte_timeout(ctx, 0, 700000);")
		}
		programs[side] = s.path("unit-test-" + side)
		out := runProgram(t, s.dir, nil, gcc, "-I"+libmodbusExamples, "-I/usr/include/modbus", "-o", programs[side], s.write(t, side+".c", text), "-lmodbus")
		if out.code != 0 {
			t.Fatal(out.stderr)
		}
	}
	_, port, _ := net.SplitHostPort(freeAddress(t))
	s.add(t, "rack-1", "pump/infusion", "modbus", port, "--set", "loose_responses=true")
	if err := os.WriteFile(filepath.Join(s.gw(), "policy", "modbus.rego"), []byte("package cordon\n\nallow if input.service.protocol == \"modbus\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.issue(t, "biomed", "--user", "tech.ray", "--role", "biomed")
	s.serve(t)
	server := start(t, s.dir, programs["server"], "tcp", port)
	server.waitFor(t, "listening", func() bool { return listening(port) })
	out := runProgram(t, s.dir, nil, programs["client"], "tcp", s.tunnel(t, "biomed"))
	if out.code != 0 || !strings.Contains(out.stdout, "ALL TESTS PASS WITH SUCCESS.") {
		t.Errorf("libmodbus' tests exit with %d:\n%s%s", out.code, out.stdout, out.stderr)
	}
	t.Logf("libmodbus: %d checks are OK", strings.Count(out.stdout, "OK\n"))
}

// tellSilentDevice has a device that answers nothing, and a client that loses patience: the
// gateway sends nothing by itself, and nothing twice.
func tellSilentDevice(t *testing.T, cordon string) {
	s := emptySite(t, cordon)
	s.device = newRecorder(t) // it only ever answers HL7
	_, port, _ := net.SplitHostPort(s.device.address())
	s.addRack(t, port)
	d := s.serve(t)
	c := s.dial(t, "biomed")
	set := mbap(1, "\x06\x00\x0b\x00\xc8")
	say := func(request string) {
		t.Helper()
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
	}
	hear := func(want string) {
		t.Helper()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
			t.Fatalf("the answer is %x (%v), want %x", got, err, want)
		}
	}
	say(set)
	s.device.want(t, 1, set)
	for range 3 {
		say(set)
		hear(mbap(1, "\x86\x06")) // busy: the device has it already
	}
	get := mbap(2, "\x03\x00\x00\x00\x01")
	say(get)
	s.device.want(t, 1, set+get)
	c.Close()
	if code := d.stop(t); code != exit.Done {
		t.Errorf("the gateway exited with %d", code)
	}
	s.device.want(t, 1, set+get)
	if n := strings.Count(s.must(t, "audit", "tail", "-n", "20", "--dir", s.gw()), "modbus:write_single_register"); n != 4 {
		t.Errorf("%d attempts are in the log, want 4", n)
	}
}

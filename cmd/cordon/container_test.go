package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"cordon/cmd/cordon/exit"
)

// engine runs Podman and Buildah with a storage of their own.
type engine struct{ dir string }

// newEngine needs root, as images have files of several users.
func newEngine(t *testing.T) engine {
	t.Helper()
	for _, name := range []string{"podman", "buildah"} {
		peer(t, name, name)
	}
	if os.Geteuid() != 0 {
		noPeer(t, "root, for a container engine with a storage of its own")
	}
	e := engine{t.TempDir()}
	// An engine without CAP_SYS_RESOURCE cannot give a container more than it has.
	if err := os.WriteFile(e.path("containers.conf"), []byte("[containers]\ndefault_ulimits = [\"nofile=4096:4096\", \"nproc=4096:4096\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return e
}

func (e engine) path(name string) string { return filepath.Join(e.dir, name) }

// words is a command line of an engine. It has a mount namespace of its own, without the second
// hierarchy of control groups that some machines have beside the first, and crun refuses.
func (e engine) words(program string, args ...string) []string {
	return append([]string{"unshare", "--mount", "sh", "-c", `umount -l /sys/fs/cgroup/unified 2>/dev/null; exec "$@"`, "sh",
		"env", "CONTAINERS_CONF=" + e.path("containers.conf"), program, "--root", e.path("storage"), "--runroot", e.path("run"), "--storage-driver", "vfs"}, args...)
}

func (e engine) run(t *testing.T, program string, args ...string) outcome {
	t.Helper()
	w := e.words(program, args...)
	// Neither this nor "exec" without -i may have /dev/null for its standard input: crun 1.8 gives
	// that one, the host's, to the container's user.
	return runProgram(t, root, strings.NewReader(""), w[0], w[1:]...)
}

func (e engine) must(t *testing.T, program string, args ...string) string {
	t.Helper()
	out := e.run(t, program, args...)
	if out.code != 0 {
		t.Fatalf("%s %s exits with %d:\n%s%s", program, strings.Join(args, " "), out.code, out.stdout, out.stderr)
	}
	return out.stdout
}

// build builds the image as its file says. In place of the first stage's image, from a registry,
// is one with the machine's own Go, and what that has built already.
func (e engine) build(t *testing.T) (image string) {
	t.Helper()
	base := e.path("base")
	out := runProgram(t, e.dir, nil, "sh", "-euc", `
		for f in /bin/sh /usr/bin/install $(ldd /bin/sh /usr/bin/install | grep -o '/[^ :]*\.so[^ ]*'); do install -D "$f" base/"$f"; done
		install -D -m 644 /etc/ssl/certs/ca-certificates.crt base/etc/ssl/certs/ca-certificates.crt
		install -d -m 1777 base/tmp`)
	if out.code != 0 {
		t.Fatal("gather the image that is built in: ", out.stderr)
	}
	goroot, cache, modules := goEnv(t, "GOROOT"), goEnv(t, "GOCACHE"), goEnv(t, "GOMODCACHE")
	file := fmt.Sprintf("FROM scratch\nCOPY / /\nENV PATH=%s/bin:/usr/bin:/bin HOME=/root GOMODCACHE=/go/pkg/mod GOCACHE=/cache\n", goroot)
	if err := os.WriteFile(e.path("Containerfile"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	e.must(t, "buildah", "build", "--isolation", "chroot", "-q", "-t", "localhost/go", "-f", e.path("Containerfile"), base)
	image = "localhost/cordon"
	e.must(t, "buildah", "build", "--isolation", "chroot", "--format", "docker", "-t", image, "--build-arg", "GO=localhost/go", "--pull-never",
		"-v", goroot+":"+goroot+":ro", "-v", modules+":/go/pkg/mod", "-v", cache+":/cache", "-f", "deploy/container/Containerfile", ".")
	return image
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	return strings.TrimSpace(runProgram(t, ".", nil, "go", "env", name).stdout)
}

// docker denies what Docker's default profile does of what plugins need: namespaces of an
// unprivileged process. clone3 "is not there", for its flags are in memory.
const docker = `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
	{"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
	{"names": ["unshare"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1},
	{"names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "args": [{"index": 0, "value": 268435456, "valueTwo": 268435456, "op": "SCMP_CMP_MASKED_EQ"}]}]}`

// tellContainer builds the image, makes a gateway with it and runs that without a privilege, as
// deploy/container says.
func tellContainer(t *testing.T, _ string) {
	e := newEngine(t)
	image := e.build(t)
	s := &site{dir: t.TempDir(), listen: freeAddress(t), device: newRecorder(t)}
	if err := os.Chown(s.dir, 65532, 65532); err != nil {
		t.Fatal(err)
	}
	confined := []string{"run", "--rm", "-i", "--network", "host", "--cgroups", "disabled", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "all",
		"--security-opt", "no-new-privileges", "-v", s.dir + ":" + s.dir, "-w", s.dir}
	// The program of this site is the container.
	s.cordon = e.path("cordon")
	script := "#!/bin/sh\nexec"
	for _, w := range e.words("podman", append(confined, image)...) {
		script += " '" + w + "'"
	}
	if err := os.WriteFile(s.cordon, []byte(script+` "$@"`+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.must(t, "init", s.gw())
	_, port, _ := strings.Cut(s.device.address(), ":")
	s.add(t, "mon-7", "monitor/bedside", "hl7", port)
	s.issueStaff(t)

	// The jail of plugins, under the profile of either engine.
	for profile, namespaces := range map[string]bool{"": true, docker: false} {
		with := confined
		if profile != "" {
			if err := os.WriteFile(e.path("docker.json"), []byte(profile), 0o600); err != nil {
				t.Fatal(err)
			}
			with = append(with[:len(with):len(with)], "--security-opt", "seccomp="+e.path("docker.json"))
		}
		out := e.run(t, "podman", append(with[:len(with):len(with)], image, "doctor", "--dir", s.gw())...)
		if out.code != exit.Findings || strings.Contains(out.stdout, "namespaces not applied") == namespaces || !strings.Contains(out.stdout, "own-user not applied") {
			t.Errorf("namespaces: %v, and doctor says, exit code %d:\n%s%s", namespaces, out.code, out.stdout, out.stderr)
		}
		var report checked
		out = e.run(t, "podman", append(with[:len(with):len(with)], image, "check", "--json", "--dir", s.gw())...)
		if err := json.Unmarshal([]byte(out.stdout), &report); err != nil || len(report.Plugins) != 1 {
			t.Fatalf("check says %s%s: %v", out.stdout, out.stderr, err)
		}
		for _, m := range report.Plugins[0].Measures {
			if want := m.Name != "own-user" && (namespaces || m.Name != "namespaces"); m.Applied != want {
				t.Errorf("namespaces: %v, and %s is applied: %v (%s)", namespaces, m.Name, m.Applied, m.Detail)
			}
		}
	}

	if out := s.run(t, "health", "--dir", s.gw()); out.code != exit.Unreachable {
		t.Errorf("without a gateway, health exits with %d: %s%s", out.code, out.stdout, out.stderr)
	}
	name := fmt.Sprintf("cordon-%d", os.Getpid())
	w := e.words("podman", append(confined[:len(confined):len(confined)], "--name", name, "--health-interval", "disable", image, "run", "--json", "--dir", s.gw())...)
	t.Cleanup(func() { // if it is still there
		w := e.words("podman", "rm", "-f", "-i", "-t", "0", name)
		if out, err := exec.Command(w[0], w[1:]...).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	d := start(t, s.dir, w[0], w[1:]...)
	_, listens, _ := strings.Cut(s.listen, ":")
	d.waitFor(t, "listening", func() bool { return listening(listens) })

	if _, got := s.answered(t, "engine", "ORU^R01", "C1"); got != "AA" {
		t.Errorf("a result is answered %s", got)
	}
	if _, got := s.answered(t, "nurse", "ORU^R01", "C2"); got != "AR" {
		t.Errorf("a result of a nurse is answered %s", got)
	}
	// What the image calls a health check, asked of the program there.
	inspected := e.must(t, "podman", "inspect", name)
	if !strings.Contains(strings.Join(strings.Fields(inspected), " "), `"CMD", "/usr/bin/cordon", "health", "-q", "--dir", "/etc/cordon"`) {
		t.Errorf("the image's health check is not there: %s", inspected)
	}
	if out := e.must(t, "podman", "exec", "-i", name, "/usr/bin/cordon", "health", "--dir", s.gw()); !strings.Contains(out, "is at work: cordon") || !strings.Contains(out, "process 1,") {
		t.Errorf("health says %s", out)
	}
	e.seenFromOutside(t, name)

	// What takes a new process is refused, and says so; the gateway goes on.
	s.listen = freeAddress(t)
	s.add(t, "mon-8", "monitor/bedside", "hl7", port)
	if out := e.run(t, "podman", "exec", "-i", name, "/usr/bin/cordon", "reload", "--dir", s.gw()); out.code != exit.Findings || !strings.Contains(out.stderr, "restart the container") {
		t.Errorf("a reload with another device exits with %d: %s%s", out.code, out.stdout, out.stderr)
	}
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-d.exited
	if code := d.cmd.ProcessState.ExitCode(); code != exit.Done {
		t.Errorf("the container exits with %d:\n%s", code, d.said())
	}
	if out := s.must(t, "audit", "verify", "--dir", s.gw()); !strings.Contains(out, "ok") {
		t.Errorf("its log: %s", out)
	}
}

// seenFromOutside finds the container's first process without a privilege, on a root that
// nobody can write.
func (e engine) seenFromOutside(t *testing.T, name string) {
	t.Helper()
	pid := strings.TrimSpace(e.must(t, "podman", "inspect", "--format", "{{.State.Pid}}", name))
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"Uid:\t65532\t65532\t65532\t65532", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(string(status), line+"\n") {
			t.Errorf("the kernel does not say %q of it:\n%s", line, status)
		}
	}
	mounts, err := os.ReadFile("/proc/" + pid + "/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^\S+ \S+ \S+ \S+ / ro,`).Match(mounts) {
		t.Errorf("its root can be written:\n%s", mounts)
	}
}

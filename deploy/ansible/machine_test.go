package ansible

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait. None takes nearly as long; a machine may be busy.
const patience = 8 * time.Minute

// machine is a copy of this one that forgets everything.
type machine struct{ pid string } // of its systemd

// boot makes the machine and starts it: namespaces of its own, the host's files below a layer
// in memory, its own /run, /dev and control groups. Nothing of it outlives the process that is
// its first.
const boot = `
mount --make-rprivate /
mount -t tmpfs -o size=3g none "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o lowerdir=/,upperdir="$1/upper",workdir="$1/work" none "$1/root"
root=$1/root
for kind in proc:proc sysfs:sys tmpfs:run tmpfs:tmp; do mount -t ${kind%:*} none "$root/${kind#*:}"; done
mount -t tmpfs -o mode=755 none "$root/dev"
for name in null zero full random urandom tty; do touch "$root/dev/$name"; mount --bind "/dev/$name" "$root/dev/$name"; done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 none "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"; ln -s /proc/self/fd "$root/dev/fd"
mount -t cgroup2 none "$root/sys/fs/cgroup"
mkdir "$root/given"
mount --bind "$2" "$root/given"
rm -rf "$root/etc/cordon" "$root/var/lib/cordon" "$root"/etc/systemd/system/*.wants
ip link set lo up
cd "$root"
pivot_root . mnt # in a chroot, nobody may make user namespaces
umount -l /mnt
exec env -i container=throw-away PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=basic.target </dev/null`

// newMachine starts one; given is a directory of this one that it sees as /given.
func newMachine(t *testing.T, given string) *machine {
	t.Helper()
	if os.Geteuid() != 0 {
		noPeer(t, "root, to make a machine")
	}
	for name, debianPackage := range map[string]string{"ansible-playbook": "ansible-core", "/lib/systemd/systemd": "systemd", "nsenter": "util-linux"} {
		if _, err := exec.LookPath(name); err != nil {
			noPeer(t, debianPackage)
		}
	}
	c := exec.Command("unshare", "--mount", "--pid", "--fork", "--kill-child", "--net", "--uts", "--ipc", "--cgroup", "sh", "-euc", boot, "sh", t.TempDir(), given)
	var said bytes.Buffer
	c.Stdout, c.Stderr = &said, &said
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // it does not outlive a test that is killed
	removeGroup := ownGroup(t, c)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	t.Cleanup(func() {
		c.Process.Kill()
		<-ended
		removeGroup()
	})
	m := &machine{}
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the machine does not start: %v\n%s", err, said.Bytes())
		default:
		}
		if m.pid == "" {
			b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", c.Process.Pid))
			m.pid = strings.TrimSpace(string(b))
		} else if out, _ := m.command(t.Context(), "systemctl", "is-system-running").Output(); bytes.HasPrefix(out, []byte("running")) || bytes.HasPrefix(out, []byte("degraded")) {
			return m
		}
		if time.Now().After(end) {
			t.Fatalf("the machine does not get ready:\n%s", said.Bytes())
		}
	}
}

// ownGroup has c begin in a control group of its own, below which systemd makes those of its
// units; the function it returns takes them away.
func ownGroup(t *testing.T, c *exec.Cmd) (remove func()) {
	t.Helper()
	dir := "/sys/fs/cgroup"
	if _, err := os.Stat(dir + "/unified/cgroup.procs"); err == nil {
		dir += "/unified" // beside version 1
	}
	dir = filepath.Join(dir, "cordon-"+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		noPeer(t, "control groups of version 2: "+err.Error())
	}
	c.Args = append([]string{"sh", "-euc", `echo $$ >"$0/cgroup.procs"; exec "$@"`, dir}, c.Args...)
	c.Path = "/bin/sh"
	return func() {
		for range 100 {
			exec.Command("find", dir, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";").Run()
			if _, err := os.Stat(dir); err != nil {
				return
			}
			time.Sleep(50 * time.Millisecond) // what was in it is on its way out
		}
	}
}

// command is a program of the machine.
func (m *machine) command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, "nsenter", append([]string{"--target", m.pid, "--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--root", "--wdns=/given"}, args...)...)
	c.Dir = "/"
	c.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "ANSIBLE_NOCOLOR=1", "ANSIBLE_ROLES_PATH=/given/roles", "ANSIBLE_PIPELINING=1"}
	return c
}

// sh runs a script there that has to work, and returns what it writes.
func (m *machine) sh(t *testing.T, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := m.command(ctx, "sh", "-euc", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

func noPeer(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CORDON_PEERS") == "required" {
		t.Fatal("nothing was tried, it needs ", why)
	}
	t.Skip("nothing was tried, it needs ", why)
}

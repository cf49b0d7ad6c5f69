package main

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// root is the module's directory, seen from this one.
const root = "../.."

// imports says what each package may import beside the standard library: a package of
// ours by its path, a foreign module with "/..." behind it. Together the rows keep
// imports one-way, cmd → gateway → {audit, plugins, certs} → policy, and each heavy
// module in one place. A package without a row imports nothing but the standard library.
var imports = []struct{ from, may, because string }{
	{"policy", "", "the vocabulary: everybody imports it, it knows nobody"},
	{"policy/access", "policy", "the vocabulary of what stands for a time, and the file that keeps it"},
	{"policy/rollout", "policy", "stages of any two policies: it does not know how they are written"},
	{"policy/rego", "policy github.com/open-policy-agent/opa/... github.com/goccy/go-yaml/...", "the only place for OPA"},
	{"certs", "policy", "a workstation links it, and a verifier of certificates is to be read whole"},
	{"certs/ca", "certs policy github.com/smallstep/certificates/... github.com/smallstep/nosql/... go.step.sm/crypto/... go.etcd.io/bbolt/...",
		"the only place for the CA"},

	{"plugins/sdk", "policy", "what a plugin's author imports: light, and without anything to call out with"},
	{"plugins/sdk/conformance", "plugins/sdk policy", "as the contract it proves"},
	{"plugins/astm", "plugins/sdk policy", "a pure parser"},
	{"plugins/command", "plugins/sdk policy", "a pure parser"},
	{"plugins/dicom", "plugins/sdk policy", "a pure parser"},
	{"plugins/hl7", "plugins/sdk policy", "a pure parser"},
	{"plugins/http", "plugins/sdk policy", "a pure parser"},
	{"plugins/modbus", "plugins/sdk policy", "a pure parser"},
	{"plugins/mqtt", "plugins/sdk policy", "a pure parser"},
	{"plugins/poct1a", "plugins/sdk policy", "a pure parser"},
	{"plugins/stream", "plugins/sdk policy", "a pure parser"},
	{"plugins/wire", "plugins/sdk policy golang.org/x/sys/...", "frames and windows, no processes"},
	{"plugins/control", "github.com/hashicorp/go-plugin/... google.golang.org/grpc/... google.golang.org/protobuf/...", "go-plugin and gRPC carry control only, never bytes of a session"},
	{"plugins/sdk/serve", "plugins/control plugins/sdk plugins/wire github.com/elastic/go-seccomp-bpf/... github.com/hashicorp/... golang.org/x/sys/... google.golang.org/grpc/...",
		"the inside of a plugin process: it does not know the gateway"},
	{"plugins", "plugins/control plugins/sdk plugins/wire policy github.com/hashicorp/... golang.org/x/sys/... google.golang.org/grpc/...",
		"launches and supervises: it knows no protocol and none of the built-in plugins"},

	{"gateway/segment", "github.com/google/nftables/... github.com/vishvananda/netlink/... golang.org/x/sys/...",
		"namespaces, links and rules, and only here; its sockets are all the gateway needs of it"},
	{"gateway/alarm", "", "a receiver's program may link it; what is worth an alarm is for others to know"},
	{"gateway/timing", "", "counts what happens with every operation: it must cost nothing"},
	{"gateway/audit", "gateway/timing policy golang.org/x/mod/... golang.org/x/sys/...", "an auditor's offline checker links it"},
	{"gateway/metrics", "gateway/timing github.com/prometheus/client_golang/...", "the only place for Prometheus: who reads fills in what there is to be seen"},
	{"gateway/handover", "gateway/audit golang.org/x/sys/...", "two processes and the log between them: it knows no gateway and no configuration"},
	{"gateway", "certs gateway/audit gateway/timing plugins plugins/sdk policy golang.org/x/sys/...",
		"OPA is a policy.Decider to it and the CA a source of certificates; it contains no protocol parser"},

	{"cmd/cordon/config", "policy github.com/goccy/go-yaml/...", "says what a file says, starts nothing"},
	{"cmd/cordon/exit", "cmd/cordon/config", "how a command ends: it knows faults of a configuration, and no command"},
	{"cmd/cordon/disk", "policy/rollout", "files, whatever is in them"},
	{"cmd/cordon/signed", "certs cmd/cordon/exit", "words and who says them, whatever they are about"},
	{"cmd/cordon/envelope", "cmd/cordon/disk cmd/cordon/exit", "codes, whatever they open"},
	{"cmd/cordon/control", "cmd/cordon/exit golang.org/x/sys/...", "verbs, whatever they do"},
	{"cmd/cordon/home", "certs/ca cmd/cordon/config cmd/cordon/control cmd/cordon/disk cmd/cordon/exit gateway/audit policy/rego", "opens what is there, runs nothing"},
	{"cmd/cordon/keeper", "cmd/cordon/config gateway/segment golang.org/x/sys/...", "the segment helper: it links neither OPA nor the CA"},
	{"cmd/cordon/revision", "certs cmd/cordon/config cmd/cordon/disk cmd/cordon/exit cmd/cordon/signed gateway/audit policy policy/rego policy/rollout golang.org/x/sys/...",
		"which policy decides: it knows no gateway"},
	{"cmd/cordon/backup", "filippo.io/age/...", "the only place for age: the file of a backup, whatever is in it"},
	{"cmd/cordon/daemon", "certs certs/ca cmd/cordon/config cmd/cordon/control cmd/cordon/disk cmd/cordon/envelope cmd/cordon/exit cmd/cordon/home cmd/cordon/keeper cmd/cordon/revision cmd/cordon/signed " +
		"gateway gateway/alarm gateway/audit gateway/handover gateway/metrics gateway/segment plugins plugins/astm plugins/command plugins/dicom plugins/hl7 plugins/http plugins/modbus plugins/mqtt plugins/poct1a plugins/sdk plugins/sdk/serve plugins/stream " +
		"policy policy/access policy/rego policy/rollout golang.org/x/sys/...", "the only place where parts meet: it knows no command line"},
	{"cmd/cordon", "certs certs/ca cmd/cordon/backup cmd/cordon/config cmd/cordon/control cmd/cordon/daemon cmd/cordon/disk cmd/cordon/envelope cmd/cordon/exit cmd/cordon/home cmd/cordon/keeper cmd/cordon/revision cmd/cordon/signed deploy/demo " +
		"gateway gateway/alarm gateway/audit gateway/handover gateway/segment plugins policy policy/access policy/rego policy/rollout github.com/spf13/... golang.org/x/sys/...", "the operator's tool: it starts no part but by way of the daemon"},
	{"deploy/dimse", "", "a DICOM peer that shares nothing with the inspector it is tried against"},
	{"deploy/astm", "", "an ASTM peer that shares nothing with the inspector it is tried against"},
	{"deploy/poct", "", "a POCT1-A peer that shares nothing with the inspector it is tried against"},
	{"deploy/demo", "deploy/astm deploy/dimse policy", "plays clients and devices from outside"},
	{"deploy/dashboards", "gateway/metrics", "shows what is declared there, and no more"},
	{"deploy/ansible", "", "a role and its test, which knows the package from outside"},
	{"deploy/guest", "", "makes machines to try the package on, and knows it from outside"},
	{"deploy/guest/inside", "deploy/guest golang.org/x/sys/...", "the init and the peers of such a machine"},
	{"deploy/bench", "deploy/dimse policy policy/rego", "measures the gateway from outside"},
}

// forbidden are packages of the standard library a pure parser has no use for.
var forbidden = []struct{ from, not, because string }{
	{"policy", "net net/http os os/exec syscall unsafe", "a decision depends on nothing but the question"},
	{"plugins/sdk", "net net/http os os/exec syscall unsafe time", "an inspector is a function of bytes"},
	{"plugins/dicom", "net net/http os os/exec syscall unsafe", "an inspector is a function of bytes"},
	{"plugins/hl7", "net net/http os os/exec syscall unsafe", "an inspector is a function of bytes"},
	{"plugins/http", "net net/http os os/exec syscall unsafe", "an inspector is a function of bytes"},
	{"plugins/modbus", "net net/http os os/exec syscall unsafe", "an inspector is a function of bytes"},
	{"plugins/command", "net net/http os os/exec syscall unsafe", "an inspector is a function of bytes"},
	{"plugins/astm", "net net/http os os/exec syscall unsafe", "an inspector is a function of bytes"},
	{"plugins/mqtt", "net net/http os os/exec syscall unsafe", "an inspector is a function of bytes"},
	{"plugins/poct1a", "net net/http os os/exec syscall unsafe", "an inspector is a function of bytes"},
	{"plugins/stream", "net net/http os os/exec syscall unsafe", "an inspector is a function of bytes"},
}

// unlinked are modules that must not be in a package's program even by way of others.
var unlinked = []struct{ from, not, because string }{
	{"gateway", "github.com/open-policy-agent/... github.com/prometheus/... github.com/smallstep/...", "each of its test programs would take seconds more to link"},
	{"gateway/audit", "github.com/... google.golang.org/...", "an auditor's offline checker is light"},
	{"plugins/sdk/serve", "github.com/open-policy-agent/... github.com/smallstep/...", "a plugin's author links it"},
}

// listed is a package as "go list" tells of it.
type listed struct {
	ImportPath string
	Dir        string
	Standard   bool
	Imports    []string
	Deps       []string
	GoFiles    []string
}

// list returns this module's packages and all they depend on, by path.
func list(t *testing.T) map[string]*listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Dir,Standard,Imports,Deps,GoFiles", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd, err)
	}
	all := map[string]*listed{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all[p.ImportPath] = &p
	}
}

// ours returns a package's path inside this module.
func ours(path string) (string, bool) { return strings.CutPrefix(path, "cordon/") }

// covers reports whether one of patterns, separated by spaces, stands for path. Here a
// package of ours is named by its path inside the module.
func covers(patterns, path string) bool {
	if own, ok := ours(path); ok {
		path = own
	}
	for _, p := range strings.Fields(patterns) {
		if tree, ok := strings.CutSuffix(p, "/..."); ok && (path == tree || strings.HasPrefix(path, tree+"/")) || p == path {
			return true
		}
	}
	return false
}

func TestImports(t *testing.T) {
	all := list(t)
	may, because := map[string]string{}, map[string]string{}
	for _, r := range imports {
		may[r.from], because[r.from] = r.may, r.because
		if all["cordon/"+r.from] == nil {
			t.Errorf("a rule for %s, which does not exist", r.from)
		}
	}
	for path, p := range all {
		from, own := ours(path)
		if !own {
			continue
		}
		for _, imported := range p.Imports {
			if dep := all[imported]; dep != nil && !dep.Standard && !covers(may[from], imported) {
				t.Errorf("%s imports %s. It may import %q: %s", from, imported, may[from], because[from])
			}
		}
	}
	for _, r := range forbidden {
		for _, imported := range all["cordon/"+r.from].Imports {
			if covers(r.not, imported) {
				t.Errorf("%s imports %s: %s", r.from, imported, r.because)
			}
		}
	}
	for _, r := range unlinked {
		for _, dep := range all["cordon/"+r.from].Deps {
			if covers(r.not, dep) {
				t.Errorf("%s links %s: %s", r.from, dep, r.because)
			}
		}
	}
}

// TestPackageComments wants every package explained, in one place.
func TestPackageComments(t *testing.T) {
	for path, p := range list(t) {
		if _, own := ours(path); !own {
			continue
		}
		var explained []string
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.ParseComments|parser.PackageClauseOnly)
			if err != nil {
				t.Error(err)
				continue
			}
			if file.Doc == nil {
				continue
			}
			explained = append(explained, name)
			if begin := commentBegins(file, path); !strings.HasPrefix(file.Doc.Text(), begin) {
				t.Errorf("%s: the package comment does not begin with %q", filepath.Join(p.Dir, name), begin)
			}
		}
		if len(explained) != 1 {
			t.Errorf("%s has a package comment in %d files, want 1: %s", path, len(explained), explained)
		}
	}
}

func commentBegins(file *ast.File, path string) string {
	if file.Name.Name == "main" {
		return "Command " + filepath.Base(path) + " "
	}
	return "Package " + file.Name.Name + " "
}

// TestLayout wants folders named for what they know, and dependencies as their authors
// published them.
func TestLayout(t *testing.T) {
	top := []string{"cmd", "gateway", "policy", "certs", "plugins", "deploy"}
	nameless := []string{"internal", "pkg", "util", "utils", "common", "types", "helper", "helpers", "core", "misc"}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() || path == root {
			return err
		}
		if strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		if slices.Contains(nameless, d.Name()) {
			t.Errorf("%s: the name does not say what the folder knows", path)
		}
		if filepath.Dir(path) == root && !slices.Contains(top, d.Name()) {
			t.Errorf("%s: the top level is %s", path, strings.Join(top, ", "))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}

	cmd := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd, err)
	}
	var mod struct{ Replace []json.RawMessage }
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	for _, r := range mod.Replace {
		t.Errorf("go.mod replaces a module: %s", r)
	}
}

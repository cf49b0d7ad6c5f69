package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/home"
	"cordon/cmd/cordon/revision"
	"cordon/gateway/audit"
	"cordon/policy/rego"
)

func doctorCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Look for what is wrong with this gateway and its machine",
		Long: `Look at the configuration, the policy and its tests, the authority, the audit log, who
can read the keys, the disk, the clock, how far plugins can be confined on this machine,
whether segments are isolated, who can change what is declared of them, and which devices share a layer-2 network. Each finding comes with its evidence and a remedy. Exit code 8 if there are any.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.doctor(c.Context()) },
	}
}

// finding is something a person should look at.
type finding struct {
	Severity string `json:"severity"` // "high", "medium", "low", or "notice": what is as it is, and should be known
	Subject  string `json:"subject"`
	Evidence string `json:"evidence"`
	Remedy   string `json:"remedy"`
}

// examination collects what was looked at and what was found.
type examination struct {
	config   *config.Config
	looked   []string
	findings []finding
}

func (x *examination) find(severity, subject, evidence, remedy string) {
	x.findings = append(x.findings, finding{severity, subject, evidence, remedy})
}

func (a *app) doctor(ctx context.Context) error {
	c, err := config.Load(a.config())
	if err != nil {
		return cannot("examine the gateway", err)
	}
	x := &examination{config: c, findings: []finding{}}
	for _, part := range []struct {
		name string
		look func(context.Context, *examination)
	}{
		{"policy", lookAtPolicy}, {"bundles", lookAtBundles}, {"access", lookAtAccess}, {"break-glass", lookAtEmergencies}, {"alarms", lookAtAlarms}, {"authority", lookAtAuthority}, {"keys", lookAtKeys}, {"plugins", lookAtPlugins},
		{"audit log", lookAtAudit}, {"disk", lookAtDisk}, {"clock", lookAtClock}, {"TLS", lookAtTLS}, {"segments", lookAtSegments},
		{"networks", lookAtNetworks}, {"address requests", lookAtRequests},
		{"configuration", func(_ context.Context, x *examination) { x.lookAtFile(a.config()) }},
	} {
		x.looked = append(x.looked, part.name)
		part.look(ctx, x)
	}
	return a.report(x)
}

// report writes what was found.
func (a *app) report(x *examination) error {
	if a.json {
		if err := a.object(struct {
			Schema   string    `json:"schema"`
			Looked   []string  `json:"looked_at"`
			Findings []finding `json:"findings"`
		}{"cordon.doctor/v1", x.looked, x.findings}); err != nil {
			return err
		}
	} else {
		var rows [][]string
		for _, f := range x.findings {
			rows = append(rows, []string{f.Severity, f.Subject, f.Evidence, f.Remedy})
		}
		if len(rows) > 0 {
			if err := a.table([]string{"SEVERITY", "SUBJECT", "EVIDENCE", "REMEDY"}, rows); err != nil {
				return err
			}
		}
	}
	if n := len(x.findings); n > 0 {
		return exit.Error{Code: "doctor.findings", Message: fmt.Sprintf("%d finding(s)", n), Exit: exit.Findings, Try: []string{"the remedies above"}}
	}
	a.remark("nothing found; looked at %v", x.looked)
	return nil
}

func lookAtPolicy(ctx context.Context, x *examination) {
	var results rego.Results
	var err error
	if x.config.Policy.Bundle.Used() {
		var f *revision.Source
		if f, err = revision.Open(x.config); err == nil {
			results, err = f.Current.Test(ctx)
		}
	} else {
		results, err = revision.Test(ctx, x.config)
	}
	switch {
	case err != nil:
		x.find("high", "policy", err.Error(), "cordon check shows where")
	case len(results) == 0:
		x.find("medium", "policy", "it has no tests", "add a file named …_test.rego; the shipped policy has one to learn from")
	}
}

func lookAtBundles(_ context.Context, x *examination) {
	if !x.config.Policy.Bundle.Used() {
		return
	}
	status, err := revision.KeptBundles{Dir: filepath.Join(x.config.Gateway.State, revision.BundleDir)}.Status()
	if err != nil {
		x.find("medium", "bundles", err.Error(), "cordon run writes it anew")
	}
	if status.Unreachable != "" {
		x.find("medium", "bundles", status.Unreachable, "cordon policy bundle status; until it answers, cordon policy bundle load FILE")
	}
	if last := status.Last; last != nil && last.Pending {
		x.find("high", "bundles", last.From+" is refused: "+last.Message, "publish a good one; the policy in force stays meanwhile")
	}
}

func lookAtKeys(_ context.Context, x *examination) {
	for _, dir := range []string{filepath.Join(x.config.Gateway.State, home.CADir), x.config.Audit.Dir} {
		filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".key" {
				return nil
			}
			if info, err := d.Info(); err == nil && info.Mode().Perm()&0o077 != 0 {
				x.find("high", "keys", fmt.Sprintf("%s has mode %04o", path, info.Mode().Perm()), "chmod 600 "+path)
			}
			return nil
		})
	}
}

func lookAtPlugins(ctx context.Context, x *examination) {
	all, err := daemon.TryPlugins(ctx, x.config)
	if err != nil {
		x.find("high", "plugins", err.Error(), "cordon check shows where")
		return
	}
	for _, s := range all {
		for _, m := range s.Measures {
			if !m.Applied {
				x.find("medium", "plugin "+s.Protocol, fmt.Sprintf("%s not applied: %s", m.Name, m.Detail), confinementRemedy(m.Name))
			}
		}
	}
}

func confinementRemedy(measure string) string {
	switch measure {
	case "namespaces":
		return "let the gateway's user make user namespaces (kernel.unprivileged_userns_clone, user.max_user_namespaces; in a container, by its seccomp profile)"
	case "own-user":
		return "start the gateway as root, or accept that plugins share its user: they still can open nothing"
	case "landlock":
		return "use a program that was built with CGO_ENABLED=0, on a kernel that names landlock in /sys/kernel/security/lsm"
	case "seccomp", "no-new-privs":
		return "use a kernel with CONFIG_SECCOMP_FILTER"
	}
	return "see SECURITY.md"
}

func lookAtAudit(_ context.Context, x *examination) {
	if _, err := os.Stat(x.config.Audit.Dir); os.IsNotExist(err) {
		return // it begins with the first start
	}
	r, err := audit.OpenReader(x.config.Audit.Dir)
	if err != nil {
		x.find("high", "audit log", err.Error(), "restore the log's key.pub from where you kept it")
		return
	}
	if _, err := audit.Verify(x.config.Audit.Dir, r.VerifierKey(), audit.Options{}); err != nil {
		x.find("high", "audit log", err.Error(), "keep a copy as it is, then find out who could write there")
	}
}

// little is how much free space is too little for a day's log.
const little = 1 << 30

func lookAtDisk(_ context.Context, x *examination) {
	var s unix.Statfs_t
	if err := unix.Statfs(x.config.Gateway.State, &s); err != nil {
		x.find("high", "disk", fmt.Sprintf("look at %s: %v", x.config.Gateway.State, err), "make gateway.state readable")
		return
	}
	if free := int64(s.Bavail) * s.Bsize; free < little {
		x.find("high", "disk", fmt.Sprintf("%d MiB are free where the log is", free>>20), "free space: a full disk refuses every operation")
	}
}

func lookAtClock(_ context.Context, x *examination) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err == nil && state == unix.TIME_ERROR {
		x.find("medium", "clock", "the kernel says that the clock is not synchronised", "run chrony or systemd-timesyncd: certificates live for hours only")
	}
}

func lookAtTLS(_ context.Context, x *examination) {
	for _, s := range x.config.InsecureTLS12() {
		x.find("medium", "TLS of "+s, "insecure_tls12 is on: certificates of clients that speak TLS 1.2 cross the network in clear",
			"update the clients, then remove the key")
	}
}

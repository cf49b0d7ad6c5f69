// Package home is what a gateway has on disk before it runs: its configuration, its authority, its first
// policy and its log, and how each is opened. Whoever may write there can do everything.
package home

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"cordon/certs/ca"
	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/control"
	"cordon/cmd/cordon/exit"
	"cordon/gateway/audit"
)

// CADir is where the CA is, in gateway.state.
const CADir = "ca"

// OpenAuthority opens the certificate authority of a configuration. Its error is an exit.Error with code ca.missing, or a
// config.Faults if the authority is of another trust domain.
func OpenAuthority(c *config.Config) (*ca.Authority, error) {
	dir := filepath.Join(c.Gateway.State, CADir)
	authority, err := ca.Open(dir, ca.Limits{TTL: c.Identity.CA.LeafTTL, MaxTTL: max(c.Identity.CA.LeafTTL, 24*time.Hour)})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, exit.Error{Code: "ca.missing", Message: err.Error(), Exit: exit.NotFound, Try: []string{"cordon init DIR makes one", "restore gateway.state from its backup"}, Err: err}
	}
	if err == nil && authority.TrustDomain() != c.Identity.TrustDomain {
		return nil, config.Faults{c.Fault("config.trust_domain.mismatch", fmt.Sprintf("trust domain %q is not that of the authority in %s, %q", c.Identity.TrustDomain, dir, authority.TrustDomain()),
			"write the authority's trust domain, or make a new gateway with cordon init DIR", "identity", "trust_domain")}
	}
	return authority, err
}

// OpenLog opens the log for writing, where no gateway does: whoever changes something in gateway.state does so first. Root may
// not where another user runs the gateway, an exit.Error with code state.user.
func OpenLog(c *config.Config, log *slog.Logger) (*audit.Log, error) {
	if err := ownState(c); err != nil {
		return nil, err
	}
	return audit.Open(LogConfig(c, log))
}

// ownState wants root not to write files that the gateway's own user could not read afterwards.
func ownState(c *config.Config) error {
	info, err := os.Stat(c.Gateway.State)
	if err != nil {
		return err
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 && s.Uid != 0 {
		owner := control.UserName(int(s.Uid))
		return exit.Error{Code: "state.user", Exit: exit.Usage, Message: fmt.Sprintf("%s belongs to %s: what root writes there %[2]s could not read", c.Gateway.State, owner),
			Try: []string{"start the gateway first, and repeat it", fmt.Sprintf("sudo -u %s cordon …, with files where %[1]s may write", owner)}}
	}
	return nil
}

// LogConfig is how the log of a configuration is opened. Its writer may add to it.
func LogConfig(c *config.Config, log *slog.Logger) audit.Config {
	return audit.Config{
		Dir: c.Audit.Dir, Origin: c.ID(), Gateway: c.Gateway.Name,
		Checkpoint: c.Audit.Checkpoint, Logger: log,
	}
}

// RecordTimeout bounds entries about the gateway itself.
func RecordTimeout() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 5*time.Second)
}

// What a restore makes in the directories it writes to: on the same file system, so that everything
// takes its place by a rename.
const (
	StagingPrefix  = ".restoring-" // what is being written
	ReplacedPrefix = "replaced-"   // what was there, by the time of the restore; hidden or not
)

// OfRestore reports whether a restore has made the directory of that name.
func OfRestore(name string) bool {
	return strings.HasPrefix(name, StagingPrefix) || strings.HasPrefix(strings.TrimPrefix(name, "."), ReplacedPrefix)
}

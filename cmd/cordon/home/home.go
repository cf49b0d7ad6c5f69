package home

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"

	"cordon/certs/ca"
	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/exit"
	"cordon/gateway/audit"
)

// CADir is where the CA is, in gateway.state.
const CADir = "ca"

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

// OpenLog opens the log for writing, where no gateway does.
func OpenLog(c *config.Config, log *slog.Logger) (*audit.Log, error) {
	return audit.Open(LogConfig(c, log))
}

func LogConfig(c *config.Config, log *slog.Logger) audit.Config {
	return audit.Config{
		Dir: c.Audit.Dir, Origin: c.ID(), Gateway: c.Gateway.Name,
		Checkpoint: c.Audit.Checkpoint, Logger: log,
	}
}

package daemon

import (
	"context"
	"encoding/json"
	"os"
	"time"

	"cordon/cmd/cordon/exit"
)

// Health is what a gateway at work says.
type Health struct {
	Schema  string `json:"schema"`
	Gateway string `json:"gateway"`
	Version string `json:"version"`
	PID     int    `json:"pid"`
	Policy  string `json:"policy"` // its revision
}

// answerHealth finds out whether this process turns. Where it does not, each request may leave a
// goroutine behind, as the watchdog's do.
func (r *reloader) answerHealth(ctx context.Context, _ string, _ json.RawMessage) (any, error) {
	if err := r.parts.turns(ctx, HealthTimeout); err != nil {
		return nil, exit.Error{Code: "health.hangs", Message: "the gateway hangs: " + err.Error(), Exit: exit.Unreachable, Try: []string{"restart it, and keep its log"}, Err: err}
	}
	return Health{"cordon.health/v1", r.parts.Config.Gateway.Name, Build().Version, os.Getpid(), r.parts.inForce().Revision()}, nil
}

// HealthTimeout bounds the answer: of the gateway's loops, and then of the gateway.
const HealthTimeout = 5 * time.Second

package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/control"
	"cordon/cmd/cordon/home"
	"cordon/gateway/audit"
	"cordon/gateway/handover"
)

const (
	askPatience = 10 * time.Second // for whoever has the log and does not answer
	askPause    = 50 * time.Millisecond

	recordPatience = 2 * time.Second // of a change, for its entry
)

// AskOrOpen has the running gateway do something, and reads into done what it did. Where none runs it returns
// the log instead, for the caller to do it and to close: as long as the log is open, no gateway starts.
// It waits for one that is starting, and for another command that has the log open. done takes at most timeout.
func AskOrOpen(ctx context.Context, c *config.Config, verb string, asked, done any, timeout time.Duration, quiet *slog.Logger) (*audit.Log, error) {
	for end := time.Now().Add(askPatience); ; {
		if err := control.Ask(ctx, c.Gateway.State, verb, asked, done, timeout); !errors.Is(err, control.ErrNoGateway) {
			return nil, err
		}
		log, err := home.OpenLog(c, quiet)
		if err == nil {
			return log, nil
		}
		if !errors.Is(err, audit.ErrInUse) || time.Now().After(end) {
			return nil, fmt.Errorf("no gateway answers, and its log cannot be opened: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(askPause):
		}
	}
}

// RecordIn makes entries in log, each within recordPatience.
func RecordIn(log handover.Appender) func(audit.Entry) error {
	return func(e audit.Entry) error {
		ctx, cancel := context.WithTimeout(context.Background(), recordPatience)
		defer cancel()
		_, err := log.Append(ctx, e)
		return err
	}
}

package daemon

import (
	"context"
	"fmt"
	"strings"
	"time"

	"cordon/certs/ca"
	"cordon/gateway/audit"
)

// What goes wrong in parts that must not wait to tell of it: plugins' supervisors, and whatever looks
// at certificates in the middle of a handshake. It becomes an entry and an alarm a moment later.

// Kinds of entries about that.
const (
	kindPlugin       audit.Kind = "plugin-ended"   // a plugin's process ended although it was wanted
	kindPluginHeld   audit.Kind = "plugin-held"    // it ended so often that it is not started for a while
	kindFolder       audit.Kind = "policy-refused" // the gateway began by another policy than its folder holds
	kindCertificates audit.Kind = "certificates"   // what certificates rest on cannot be renewed or followed, or can again
)

// pluginAlarms is the time between two entries, and alarms, about one plugin that ends again and again;
// the gateway's own log and the metrics have each.
const pluginAlarms = 10 * time.Minute

// maxTroubles may wait to be told. Of more, the metrics know.
const maxTroubles = 64

// trouble is an entry to be made.
type trouble struct {
	audit.Entry
	alarm bool
}

// later has followTroubles tell of it, and does not wait.
func (a *Assembly) later(t trouble) {
	select {
	case a.troubles <- t:
	default:
		a.logger.Error("too much goes wrong to record all of it", "what", t.Note)
	}
}

// followTroubles records what goes wrong, until ctx is done.
func (a *Assembly) followTroubles(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case t := <-a.troubles:
			if err := a.record(t.Entry); err != nil {
				a.logger.Error("record what went wrong", "what", t.Note, "error", err)
			}
			if t.alarm {
				a.alarm(t.Entry, nil)
			}
		}
	}
}

// pluginEnded tells of the ends of one plugin's processes. The supervisor calls it, one call at a time.
func (a *Assembly) pluginEnded(protocol string) func(cause error, times int, pause time.Duration) {
	if a.troubles == nil { // no gateway runs: the plugin is only tried
		return nil
	}
	told := map[audit.Kind]time.Time{}
	return func(cause error, times int, pause time.Duration) {
		kind, then := kindPlugin, "it is started again"
		if pause > time.Second {
			kind, then = kindPluginHeld, fmt.Sprintf("it is not started for %v, its protocol's sessions are refused", pause)
		}
		if last := told[kind]; !last.IsZero() && time.Since(last) < pluginAlarms {
			return
		}
		told[kind] = time.Now()
		a.later(trouble{audit.Entry{Kind: kind, Note: fmt.Sprintf("plugin %s ended, time %d since the gateway's process began; %s: %v", protocol, times, then, cause)}, true})
	}
}

// triedCertificates tells how keeping up with certificates goes: the first failure, and that it is over.
// Of revocation lists it tells each: first the file is no good or a list ends soon, then nobody of that authority gets in.
func (a *Assembly) triedCertificates(what ca.Followed, err error) {
	failed := a.outcomes.failed(origin(what))
	a.outcomes.note(origin(what), err)
	switch {
	case err != nil && what == ca.Lists:
		a.later(trouble{audit.Entry{Kind: kindCertificates, Note: fmt.Sprintf("%s: %s; put complete lists of every authority in trust_file into %s", what, strings.ReplaceAll(err.Error(), "\n", "; "), a.Config.Identity.CA.CRLFile)}, true})
	case err != nil && !failed:
		a.later(trouble{audit.Entry{Kind: kindCertificates, Note: fmt.Sprintf("%s: refused, what was known before stays in use: %v", what, err)}, true})
	case err == nil && failed:
		a.later(trouble{audit.Entry{Kind: kindCertificates, Note: fmt.Sprintf("%s: all is well again", what)}, false})
	}
}

// failed reports whether it failed the last time.
func (o *outcomes) failed(from origin) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.by[from] != nil && !o.by[from].OK
}

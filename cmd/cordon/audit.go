package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/exit"
	"cordon/gateway/audit"
	"cordon/policy"
)

func auditCommand(a *app) *cobra.Command {
	c := group("audit", "The tamper-evident log of every decision")
	c.AddCommand(auditTailCommand(a), auditShowCommand(a), auditVerifyCommand(a))
	return c
}

// openLog opens the log of the configuration in use for reading; a running gateway
// goes on writing.
func (a *app) openLog() (*audit.Reader, *config.Config, error) {
	c, err := config.Load(a.config())
	if err != nil {
		return nil, nil, err
	}
	r, err := audit.OpenReader(c.Audit.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = exit.Error{Code: "audit.missing", Message: fmt.Sprintf("no audit log in %s yet", c.Audit.Dir), Exit: exit.NotFound, Try: []string{"cordon run -c " + a.config()}, Err: err}
	}
	return r, c, err
}

func auditTailCommand(a *app) *cobra.Command {
	var lines int64
	var follow bool
	c := &cobra.Command{
		Use: "tail", Short: "Show the latest entries",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r, _, err := a.openLog()
			if err != nil {
				return cannot("read the audit log", err)
			}
			size, err := r.Size()
			if err != nil {
				return cannot("read the audit log", err)
			}
			from := max(0, size-max(lines, 0))
			entries := r.Entries(from, math.MaxInt64)
			if follow {
				entries = r.Follow(c.Context(), from)
			}
			for e, err := range entries {
				if err != nil {
					return cannot("read the audit log", err)
				}
				if err := a.showEntry(&e); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().Int64VarP(&lines, "lines", "n", 20, "how many entries")
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with new ones as they come")
	return c
}

func auditShowCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "show CODE|INDEX", Short: "Show one entry whole",
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			r, _, err := a.openLog()
			if err != nil {
				return cannot("read the audit log", err)
			}
			e, err := find(r, args[0])
			if err != nil {
				return err
			}
			if a.json {
				return a.object(newEntryJSON(&e))
			}
			text, err := json.MarshalIndent(newEntryJSON(&e), "", "  ")
			if err != nil {
				return err
			}
			fmt.Fprintf(a.stdout, "%s\n", text)
			return nil
		},
	}
}

// find returns the entry that a decision code or an index names. A number is an index,
// although a code may consist of digits: those are given as they are printed, with a dash.
func find(r *audit.Reader, name string) (audit.Entry, error) {
	var e audit.Entry
	var err error
	if index, bad := strconv.ParseInt(name, 10, 64); bad == nil {
		e, err = r.Entry(index)
	} else {
		e, err = r.ByCode(name)
	}
	if errors.Is(err, audit.ErrNoEntry) {
		err = exit.Error{Code: "audit.no_entry", Message: err.Error(), Exit: exit.NotFound, Try: []string{"cordon audit tail"}, Err: err}
	}
	return e, err
}

func auditVerifyCommand(a *app) *cobra.Command {
	var keyFile, checkpointFile string
	c := &cobra.Command{
		Use: "verify", Short: "Find any changed, cut, reordered or rolled-back entry",
		Long: `Compute the whole log's tree again and compare it with the signed checkpoints. That
the log as a whole was set back to an earlier state only shows against a checkpoint kept
elsewhere: give it with --checkpoint. The key that lies with the log proves nothing
against somebody who could replace both: give the one you kept with --key.`,
		Example: "  cordon audit verify --dir DIR --key kept/key.pub --checkpoint kept/checkpoint",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			r, cfg, err := a.openLog()
			if err != nil {
				return cannot("verify the audit log", err)
			}
			key, options := r.VerifierKey(), audit.Options{}
			if keyFile != "" {
				text, err := os.ReadFile(keyFile)
				if err != nil {
					return cannot("verify the audit log", err)
				}
				key = strings.TrimSpace(string(text))
			}
			if checkpointFile != "" {
				if options.TrustedCheckpoint, err = os.ReadFile(checkpointFile); err != nil {
					return cannot("verify the audit log", err)
				}
			}
			report, err := audit.Verify(cfg.Audit.Dir, key, options)
			if damage, ok := errors.AsType[*audit.Damage](err); ok {
				return exit.Error{Code: "audit.damaged", Message: err.Error(), Exit: exit.Checks, Err: damage,
					Try: []string{"keep a copy of the log as it is", fmt.Sprintf("cordon audit show %d", damage.Index)}}
			}
			if err != nil {
				return err
			}
			if a.json {
				return a.object(struct {
					Schema      string  `json:"schema"`
					Origin      string  `json:"origin"`
					Entries     int64   `json:"entries"`
					Signed      int64   `json:"signed"`
					Checkpoints int     `json:"checkpoints"`
					TornBytes   int64   `json:"torn_bytes"`
					ClockBack   float64 `json:"clock_back_seconds"`
					Trusted     bool    `json:"trusted_checkpoint"`
					Restored    []int64 `json:"restored"` // entries that say that the log goes on from a backup
				}{"cordon.audit.verify/v1", report.Origin, report.Size, report.Signed, report.Checkpoints, report.Torn, report.ClockBack.Seconds(), checkpointFile != "", append([]int64{}, report.Restored...)})
			}
			fmt.Fprintf(a.stdout, "ok: %s holds %d entries, %d of them signed by %d checkpoint(s)\n", report.Origin, report.Size, report.Signed, report.Checkpoints)
			for _, index := range report.Restored {
				a.remark("it goes on from a backup: other entries may once have stood behind entry %d; cordon audit show %d", index-1, index)
			}
			if checkpointFile == "" {
				a.remark("a log set back as a whole only shows against a checkpoint kept elsewhere: --checkpoint FILE")
			}
			if report.ClockBack > time.Second {
				a.remark("warning: the gateway's clock was once set back by %v", report.ClockBack)
			}
			return nil
		},
	}
	c.Flags().StringVar(&keyFile, "key", "", "the log's public key, kept elsewhere: `FILE`")
	c.Flags().StringVar(&checkpointFile, "checkpoint", "", "an earlier checkpoint, kept elsewhere: `FILE`")
	return c
}

// entryJSON is an entry for scripts.
type entryJSON struct {
	Schema      string          `json:"schema"`
	Index       int64           `json:"index"`
	Time        time.Time       `json:"time"`
	Code        string          `json:"code"`
	Kind        audit.Kind      `json:"kind"`
	Gateway     string          `json:"gateway"`
	Allow       bool            `json:"allow"`
	Reason      string          `json:"reason,omitempty"`
	Rule        string          `json:"rule,omitempty"`
	Cause       policy.Cause    `json:"cause,omitempty"`
	Obligations []string        `json:"obligations,omitempty"`
	ValidUntil  int64           `json:"valid_until,omitempty"`
	Policy      string          `json:"policy,omitempty"`
	Data        string          `json:"data,omitempty"`
	Note        string          `json:"note,omitempty"`
	Input       json.RawMessage `json:"input,omitempty"`
}

func newEntryJSON(e *audit.Entry) entryJSON {
	d := &e.Decision
	return entryJSON{"cordon.entry/v1", e.Index, e.Time.UTC(), e.Code, e.Kind, e.Gateway, d.Allow, d.Reason, d.Rule, d.Cause,
		d.Obligations, d.ValidUntil, d.Revision, d.Data, e.Note, e.Input}
}

// showEntry writes an entry on one line.
func (a *app) showEntry(e *audit.Entry) error {
	if a.json {
		return a.line(newEntryJSON(e))
	}
	_, err := fmt.Fprintln(a.stdout, a.entryLine(e))
	return err
}

// entryLine is an entry for a person: when, verdict, who, roles, device, what, why, code.
func (a *app) entryLine(e *audit.Entry) string {
	when := e.Time.Local().Format("15:04:05")
	var r policy.Request
	if e.Kind != audit.KindDecision && e.Kind != audit.KindHandshake || json.Unmarshal(e.Input, &r) != nil {
		return strings.TrimSpace(fmt.Sprintf("%s %-5s %s %s", when, strings.ToUpper(string(e.Kind)), e.Gateway, plain(e.Note)))
	}
	paint := a.palette(a.stdout)
	what := r.Operation.Name
	if r.Phase == policy.PhaseConnect {
		what = "connect"
	}
	why := e.Decision.Rule
	if !e.Decision.Allow {
		why = e.Decision.Reason
	}
	return fmt.Sprintf("%s %s %-14s %-18s %-8s %-17s %-7s %s", when, verdict(e.Decision.Allow, paint), r.Subject.ID, strings.Join(r.Subject.Roles, ","), r.Device.ID, plain(what), e.Code, plain(why))
}

package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"time"

	"cordon/certs"
	"cordon/certs/ca"
	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/control"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/home"
	"cordon/gateway/audit"
)

// CertificateRequest is what an operator wants of the authority.
type CertificateRequest struct {
	Do      string     `json:"do"` // "issue" what Issue asks for; "revoke" Serials
	Issue   ca.Request `json:"issue"`
	Serials []string   `json:"serials"`
	Unknown bool       `json:"unknown"` // also what this authority does not know is revoked
}

// CertificateAnswer is what the authority did.
type CertificateAnswer struct {
	Issued *ca.Issued // with its key, which is nowhere else
}

// certificates issues and revokes for operators. An identity is handed out once the log says to whom; one is
// taken back first, and recorded then.
type certificates struct {
	config *config.Config
	record func(audit.Entry) error
}

// answerCertificate is the verb of the control socket.
func (a *Assembly) answerCertificate(ctx context.Context, by string, r *CertificateRequest) (any, error) {
	if a.standing.moved() {
		return nil, control.ErrMoved
	}
	return certificates{a.Config, RecordIn(a.log)}.do(ctx, r, by)
}

// ChangeCertificates has the running gateway do it, or does it itself where none runs: the lock on the
// audit log keeps one from starting meanwhile.
func ChangeCertificates(ctx context.Context, c *config.Config, r *CertificateRequest, quiet *slog.Logger) (*CertificateAnswer, error) {
	answer := &CertificateAnswer{}
	log, err := AskOrOpen(ctx, c, "certificate", r, answer, ReloadTimeout, quiet)
	if log == nil {
		return answer, err
	}
	answer, err = certificates{c, RecordIn(log)}.do(ctx, r, control.Operator())
	return answer, errors.Join(err, log.Close())
}

func (m certificates) do(ctx context.Context, r *CertificateRequest, by string) (*CertificateAnswer, error) {
	authority, err := home.OpenAuthority(m.config)
	if err != nil {
		return nil, err
	}
	switch r.Do {
	case "issue":
		return m.issue(ctx, authority, r.Issue, by)
	case "revoke":
		return &CertificateAnswer{}, m.revoke(ctx, authority, r, by)
	}
	return nil, fmt.Errorf("%.40q is nothing to do with certificates", r.Do)
}

func (m certificates) issue(ctx context.Context, authority *ca.Authority, r ca.Request, by string) (*CertificateAnswer, error) {
	issued, err := authority.Issue(ctx, r)
	if err != nil {
		return nil, err
	}
	id := issued.Identity
	note := fmt.Sprintf("%s issued by %s: %s/%s", id.Serial, by, id.Kind, id.ID)
	for _, claim := range []struct {
		name   string
		values []string
	}{{"roles", id.Roles}, {"groups", id.Groups}} {
		if len(claim.values) > 0 {
			note += fmt.Sprintf(", %s %s", claim.name, strings.Join(claim.values, " "))
		}
	}
	if id.MFA {
		note += ", second factor"
	}
	note += ", until " + id.NotAfter.UTC().Format(time.RFC3339)
	if err := m.record(audit.Entry{Kind: audit.KindIssued, Note: note}); err != nil {
		_ = authority.Revoke(ctx, id.Serial) // nobody has its key; what is left of it is a line in the list
		return nil, exit.Error{Code: "cert.unrecorded", Message: "the audit log cannot be written, so nothing is issued", Exit: exit.Failed, Err: err, Try: []string{"cordon doctor", "free space where the log is"}}
	}
	return &CertificateAnswer{Issued: issued}, nil
}

func (m certificates) revoke(ctx context.Context, authority *ca.Authority, r *CertificateRequest, by string) error {
	revoke := authority.Revoke
	if r.Unknown {
		revoke = authority.RevokeUnknown
	}
	if err := revoke(ctx, r.Serials...); errors.Is(err, ca.ErrUnknown) {
		return exit.Error{Code: "cert.unknown", Message: err.Error(), Exit: exit.NotFound, Err: err, Try: []string{"cordon cert list", "--unknown, if it was issued after the backup that this gateway came back from"}}
	} else if err != nil {
		return err
	}
	holders := map[string]string{}
	records, err := authority.List()
	for i := range records {
		holders[records[i].Serial] = records[i].Kind + "/" + records[i].ID
	}
	for i := 0; i < len(r.Serials) && err == nil; i++ {
		n, _ := new(big.Int).SetString(strings.ReplaceAll(r.Serials[i], ":", ""), 16) // it has been revoked
		serial := certs.Serial(n)
		holder, known := holders[serial]
		if !known {
			holder = "its holder is not known here"
		}
		err = m.record(audit.Entry{Kind: audit.KindRevoked, Note: fmt.Sprintf("%s revoked by %s: %s", serial, by, holder)})
	}
	if err != nil {
		return exit.Error{Code: "cert.unrecorded", Message: "the certificates are revoked, and the audit log does not say so: " + err.Error(), Exit: exit.Failed, Err: err, Try: []string{"cordon doctor", "repeat it, which changes nothing else"}}
	}
	return nil
}

package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cordon/certs/ca"
	"cordon/cmd/cordon/control"
	"cordon/cmd/cordon/envelope"
	"cordon/cmd/cordon/exit"
	"cordon/gateway/audit"
	"cordon/policy"
	"cordon/policy/access"
)

// openSealed opens a device for somebody with sealed codes: under a name of their own, to
// which nothing else was ever given, with a certificate that ends with the emergency.
func (m *emergencies) openSealed(ctx context.Context, r *EmergencyRequest, now time.Time) (answer EmergencyAnswer, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.standing.moved() { // before a code is used up
		return answer, control.ErrMoved
	}
	f, err := m.fact(&r.Opening, now)
	if err != nil {
		return answer, err
	}
	if f.By, err = access.ParseSubject(policy.KindUser + "/" + r.Person); err != nil {
		return answer, exit.Error{Code: "break_glass.person", Message: fmt.Sprintf("person %.60q: codes are used by a person with a name", r.Person), Exit: exit.Usage, Err: err, Try: []string{"--person nurse.ito"}}
	}
	state := m.config.Gateway.State
	set, err := envelope.Read(state)
	if errors.Is(err, envelope.ErrNone) {
		err = exit.Error{Code: "break_glass.unsealed", Message: err.Error(), Exit: exit.NotFound, Err: err, Try: []string{"cordon break-glass seal, before there is an emergency"}}
	}
	if err != nil {
		return answer, err
	}
	before := *set
	before.Codes = slices.Clone(set.Codes)
	numbers, err := set.Spend(r.Codes, now)
	if kept := set.Write(state); err != nil || kept != nil {
		if err == nil { // they would be good once more
			err = fmt.Errorf("note which codes are used: %w", kept)
		}
		return answer, err
	}
	issued, err := m.issue(ctx, ca.Request{Kind: policy.KindUser, ID: r.Person + ".sealed-" + envelope.Random(5), TTL: time.Until(f.Until).Truncate(time.Second)})
	if err == nil {
		f.Subject, f.Proof = issued.Identity.Kind+"/"+issued.Identity.ID, set.Name(numbers)
		answer, err = m.open(f, now)
	}
	if err != nil { // nothing was opened, so they are good yet
		return answer, errors.Join(err, before.Write(state))
	}
	answer.Issued = issued
	return answer, nil
}

// SealCodes makes new codes, which void those before.
func SealCodes(state string, record func(audit.Entry) error, r *EmergencyRequest, by string, now time.Time) ([]string, error) {
	set, codes, err := envelope.Seal(r.Make, r.Need, by, now)
	if err != nil {
		return nil, exit.Error{Code: "break_glass.seal", Message: err.Error(), Exit: exit.Usage, Err: err, Try: []string{"cordon break-glass seal --codes 5 --need 2"}}
	}
	if err := record(audit.Entry{Kind: audit.KindBreakGlassSealed, Note: fmt.Sprintf("%d codes sealed by %s, %d open a device together; those before are void", r.Make, by, r.Need)}); err != nil {
		return nil, errUnrecorded
	}
	if err := set.Write(state); err != nil {
		return nil, fmt.Errorf("keep the codes: %w", err)
	}
	return codes, nil
}

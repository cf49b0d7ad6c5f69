package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/revision"
	"cordon/policy"
	"cordon/policy/rego"
	"cordon/policy/rollout"
)

// tellTimeout bounds how long a process may take to follow. Sessions of one that does not
// are recorded by nobody any more, and so end.
const tellTimeout = 10 * time.Second

// grounds are what decisions rest on, as one process tells another that still has sessions.
type grounds struct {
	Policy    keptPolicy               `json:"policy"`
	Candidate *keptPolicy              `json:"candidate,omitempty"` // of a rollout
	Rollout   *rollout.Candidate       `json:"rollout,omitempty"`   // how far it is
	Devices   map[string]policy.Device `json:"devices"`             // in force, by id
	Services  []config.Device          `json:"services"`            // as they are configured
	Trust     *trustFiles              `json:"trust,omitempty"`     // whom clients come from; nil: an older program does not say
}

// trustFiles are where further authorities are named, as identity.ca has them.
type trustFiles struct {
	Trust string `json:"trust_file"`
	CRL   string `json:"crl_file"`
}

// keptPolicy is a policy by its digests, as gateway.state keeps it.
type keptPolicy struct {
	Policy string `json:"policy"`
	Data   string `json:"data"`
	Access []byte `json:"access,omitempty"` // what Data has of what stands for a time
}

func keptAs(e *rego.Engine) keptPolicy { return keptPolicy{e.Revision(), e.Data(), e.Access()} }

// grounds are those that a decides on. standing.mu is held.
func (a *Assembly) grounds() grounds {
	authority := &a.Config.Identity.CA
	g := grounds{Policy: keptAs(a.Policy), Devices: a.devices, Services: a.Config.Devices, Trust: &trustFiles{authority.TrustFile, authority.CRLFile}}
	if a.candidate != nil {
		candidate := keptAs(a.candidate)
		g.Candidate, g.Rollout = &candidate, a.source.State.Candidate
	}
	return g
}

// tellOld begins to tell the process before, if there is one, what decisions rest on. The function
// that it returns waits until it follows, and says how many of its sessions that ends. standing.mu
// is held.
func (a *Assembly) tellOld() (wait func() (ended int)) {
	if a.old == nil {
		return func() int { return 0 }
	}
	text, err := json.Marshal(a.grounds())
	if err != nil {
		panic(fmt.Sprintf("encode what decisions rest on: %v", err)) // it has a JSON form
	}
	return a.tell(text)
}

// tell is tellOld for what is encoded already.
func (a *Assembly) tell(text json.RawMessage) (wait func() (ended int)) {
	old, log := a.old, a.standing.log
	if old == nil {
		return func() int { return 0 }
	}
	answer := make(chan int, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), tellTimeout)
		defer cancel()
		ended, err := old.Replace(ctx, text)
		if err != nil {
			log.Error("the old process does not follow, its sessions end", "error", err)
			old.Close()
		}
		answer <- ended
	}()
	return func() int { return <-answer }
}

// follow makes what another process decides by what the sessions decide by that stayed here, and in
// the processes before. Where that is not known they are refused. The sessions of a service end that
// is gone or was changed, but for where it listens.
func (a *Assembly) follow(text json.RawMessage) (ended int, err error) {
	a.standing.mu.Lock()
	defer a.standing.mu.Unlock()
	elsewhere := a.tell(text)
	var g grounds
	var decider policy.Decider
	if err = json.Unmarshal(text, &g); err == nil {
		decider, err = g.decider(a)
	}
	if err == nil && g.Trust != nil {
		if bad := a.certs.Retrust(g.Trust.Trust, g.Trust.CRL); bad != nil { // their sessions end, and no others
			a.logger.Error("authorities that the new process trusts cannot be read", "error", bad)
		}
	}
	if err == nil {
		a.devices = g.Devices
		ended = a.Gateway.Replace(leftBehind{decider, Gone(a.Config.Devices, g.Services)}, g.Devices)
	} else {
		ended = a.Gateway.Replace(doubt{}, nil)
	}
	return ended + elsewhere(), err
}

// decider opens the policies that g names. What a candidate would decide is compared by the
// process that has taken over.
func (g *grounds) decider(a *Assembly) (policy.Decider, error) {
	if a.rolling.stop != nil {
		a.rolling.stop()
		a.rolling = rolling{}
	}
	engine, err := g.Policy.open(a, a.Policy)
	if err != nil {
		return nil, err
	}
	if g.Candidate == nil || g.Rollout == nil {
		a.Policy, a.candidate = engine, nil
		return engine, nil
	}
	candidate, err := g.Candidate.open(a, a.candidate)
	if err != nil {
		return nil, err
	}
	a.Policy, a.candidate = engine, candidate
	return rollout.NewDecider(engine, candidate, g.Rollout, nil), nil
}

// open returns known, under what k has of access, if that is k, or else what is kept.
func (k *keptPolicy) open(a *Assembly, known *rego.Engine) (*rego.Engine, error) {
	var access []byte
	if len(k.Access) > 0 {
		access = k.Access
	}
	if known != nil {
		if e, err := known.With(access); err == nil && e.Revision() == k.Policy && e.Data() == k.Data {
			return e, nil
		}
	}
	e, err := revision.KeptIn(a.Config).Open(revision.Digests{Policy: k.Policy, Data: k.Data})
	if err != nil {
		return nil, fmt.Errorf("read the policy that is in force: %w", err)
	}
	return e, nil
}

// Gone names the services of old that are not the same in new.
func Gone(old, new []config.Device) map[[2]string]bool {
	services := func(devices []config.Device) map[[2]string]any {
		if text, err := json.Marshal(devices); err == nil { // what JSON does not keep does not differ: one side may have crossed
			devices = nil
			json.Unmarshal(text, &devices)
		}
		all := map[[2]string]any{}
		for i := range devices {
			d := &devices[i]
			for _, s := range ServicesOf(d) {
				as := *s.Service
				as.Listen = config.Listen{}
				all[[2]string{d.ID, s.Name}] = []any{d.Address, d.Segment, d.MAC, as, s.callOut}
			}
		}
		return all
	}
	is, missing := services(new), map[[2]string]bool{}
	for name, was := range services(old) {
		missing[name] = !reflect.DeepEqual(was, is[name])
	}
	return missing
}

// leftBehind decides for sessions of an older configuration.
type leftBehind struct {
	policy.Decider
	gone map[[2]string]bool // services, by device
}

// Decide is part of policy.Decider.
func (l leftBehind) Decide(ctx context.Context, r *policy.Request) policy.Decision {
	if l.gone[[2]string{r.Device.ID, r.Service.Name}] {
		return policy.Decision{Reason: fmt.Sprintf("service %s of device %s was changed or removed", r.Service.Name, r.Device.ID), Cause: policy.CausePolicy}
	}
	return l.Decider.Decide(ctx, r)
}

// doubt refuses everything.
type doubt struct{}

// Decide is part of policy.Decider.
func (doubt) Decide(context.Context, *policy.Request) policy.Decision {
	return policy.Decision{Reason: "the policy in force is not known here", Cause: policy.CauseDoubt}
}

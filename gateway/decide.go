package gateway

import (
	"context"
	"slices"
	"strings"

	"cordon/gateway/timing"
	"cordon/policy"
)

// decide asks the policy and refuses by itself what no policy may allow. It always
// answers within Limits.DecideTimeout. The request carries its own time; the device in it
// becomes what it is on these grounds.
func (g *Gateway) decide(on *grounds, r *Route, request *policy.Request) policy.Decision {
	request.Device = on.device(r)
	if request.Device.State == policy.StateQuarantined {
		return policy.Decision{Reason: "device " + request.Device.ID + " is quarantined", Cause: policy.CausePolicy}
	}
	if request.Phase == policy.PhaseOperation {
		op := &request.Operation
		protocol, _, _ := strings.Cut(op.Name, ":")
		switch {
		case protocol != r.Service.Protocol:
			// A plugin speaks for its own protocol only.
			return policy.Decision{Reason: "the inspector named an operation of another protocol", Cause: policy.CauseDoubt}
		case op.Class == policy.ClassUnknown && !slices.Contains(r.AllowUnknown, op.Name):
			return policy.Decision{Reason: "the operation's class is unknown and the device does not allow it by name", Cause: policy.CausePolicy}
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), g.Limits.DecideTimeout)
	defer cancel()
	began := timing.Clock()
	d := on.policy.Decide(ctx, request)
	g.sums.decide.Observe(timing.Clock() - began)
	if ctx.Err() != nil && d.Allow {
		return policy.Decision{Reason: "the policy took too long", Cause: policy.CauseDoubt, Revision: d.Revision, Data: d.Data}
	}
	return d
}

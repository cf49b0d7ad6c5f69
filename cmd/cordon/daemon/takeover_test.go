package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"testing"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/exit"
	"cordon/gateway/handover"
	"cordon/policy"
)

// A gateway that has handed over too often while sessions went on does not do it once more.
func TestHandoverDepth(t *testing.T) {
	r := &reloader{log: slog.New(slog.DiscardHandler), old: &handover.Predecessor{Offer: handover.Offer{Depth: maxDepth}}}
	err := r.handOver(t.Context(), inheritance{})
	if f, ok := errors.AsType[exit.Error](err); !ok || f.Code != "reload.draining" {
		t.Errorf("beyond %d processes: %v", maxDepth, err)
	}
}

// Sessions of a service that was changed or removed end in the process that stays behind; where
// it listens does not matter to them.
func TestGone(t *testing.T) {
	device := func(edit func(*config.Device)) []config.Device {
		d := config.Device{ID: "mon-7", Address: netip.MustParseAddr("10.9.0.7"), Services: []config.Service{{Name: "hl7", Proto: "hl7", Port: 2575}}}
		edit(&d)
		return []config.Device{d}
	}
	was := device(func(*config.Device) {})
	for name, x := range map[string]struct {
		is   []config.Device
		gone bool
	}{
		"the same":         {was, false},
		"a state":          {device(func(d *config.Device) { d.State = policy.StateMaintenance }), false},
		"a listener":       {device(func(d *config.Device) { d.Services[0].Listen.Port = 9 }), false},
		"a further one":    {append(device(func(*config.Device) {}), config.Device{ID: "mon-8"}), false},
		"a port":           {device(func(d *config.Device) { d.Services[0].Port = 9 }), true},
		"a setting":        {device(func(d *config.Device) { d.Services[0].AllowUnknown = []string{"x"} }), true},
		"an address":       {device(func(d *config.Device) { d.Address = netip.MustParseAddr("10.9.0.8") }), true},
		"a segment":        {device(func(d *config.Device) { d.Segment = "icu" }), true},
		"another device":   {device(func(d *config.Device) { d.ID = "mon-8" }), true},
		"no device at all": {nil, true},
	} {
		decider := leftBehind{allowAll{}, Gone(was, x.is)}
		r := policy.Request{Device: policy.Device{ID: "mon-7"}, Service: policy.Service{Name: "hl7"}}
		if d := decider.Decide(t.Context(), &r); d.Allow == x.gone {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

type allowAll struct{}

func (allowAll) Decide(context.Context, *policy.Request) policy.Decision {
	return policy.Decision{Allow: true, Cause: policy.CausePolicy}
}

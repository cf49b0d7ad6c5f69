package main

import (
	"cmp"
	"context"
	"strconv"
	"strings"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/revision"
)

// maxNamed are the devices of a class that are named; all are counted.
const maxNamed = 10

// foreseeRollout asks what a stage would end, shows it, and asks whether it shall be.
func (a *app) foreseeRollout(ctx context.Context, c *config.Config, s *revision.Step, show bool) error {
	preview := *s
	preview.Preview = true
	would, err := daemon.TakeStep(ctx, c, &preview)
	if err != nil {
		return err
	}
	if show && a.json {
		return a.object(would)
	}
	f := would.Would
	switch {
	case f == nil:
		a.remark("no gateway runs; it takes effect when one starts")
	case f.Ends == 0:
		a.remark("none of %d live session(s) would end", f.Live)
	default:
		a.remark("%d of %d live session(s) would end:", f.Ends, f.Live)
		for _, class := range f.Classes {
			a.remark("  %3d on %s: %s", class.Ends, cmp.Or(class.Class, "-"), someOf(class.Devices, maxNamed))
		}
		a.remark("such as")
		for _, x := range f.Such {
			a.remark("  %s with %s, service %s: %s", x.Subject, x.Device, x.Service, cmp.Or(x.Reason, "no reason is given"))
		}
	}
	if f != nil && f.Older {
		a.remark("sessions that stayed with an older process are asked too, and not counted")
	}
	if show {
		return nil
	}
	return a.confirm("This is what "+revision.DescribeStage(s.Stage, s.Devices)+" does at this moment.", strconv.Itoa(s.Number))
}

// someOf lists the first of many.
func someOf(list []string, most int) string {
	if more := len(list) - most; more > 0 {
		return strings.Join(list[:most], ", ") + " and " + strconv.Itoa(more) + " more"
	}
	return strings.Join(list, ", ")
}

package astm

import (
	"slices"

	"cordon/plugins/sdk"
)

// Refuse implements sdk.Inspector. A refusal does not wait for the answer to what was sent
// before: there is none under way to a sender that waits as it has to.
func (s *session) Refuse(op sdk.OpID, why sdk.Refusal, out *sdk.Steps) {
	if op == s.malformed {
		out.Refusal(op, []byte{nak})
		out.End(why.Reason)
		return
	}
	d := &s.sides[op.Direction()]
	if d.late == op {
		d.late = 0
	}
	i := slices.IndexFunc(d.waiting, func(x exchange) bool { return x.op == op })
	if i < 0 {
		out.Refusal(op, nil) // it is long past: an answer would be taken for another's
		return
	}
	out.Refusal(op, d.waiting[i].refusal())
	d.waiting = slices.Delete(d.waiting, i, i+1)
}

// refusal is what the sender of x is told.
//
// A frame is refused by NAK, which no sender takes for more than it is: the frame was not
// accepted. A client's ENQ is acknowledged although the device does not know of it, and the
// first frame refused: clients that hear NAK to their ENQ repeat it at once and for ever. A
// device's ENQ is not answered, as on a line that nobody listens to. It tries again later,
// and the gateway need never say ACK to a device, which would discard a result for it.
func (x *exchange) refusal() []byte {
	switch {
	case x.kind == ofFrame:
		return []byte{nak}
	case x.kind == ofENQ && x.op.Direction() == sdk.Forward:
		return []byte{ack}
	}
	return nil
}

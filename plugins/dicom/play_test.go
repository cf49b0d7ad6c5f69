package dicom

import (
	"encoding/json"
	"testing"

	"cordon/plugins/sdk"
)

// played is what an inspector made of a dialogue, without a gateway.
type played struct {
	inspector *session
	out       sdk.Steps
	steps     []sdk.Step
}

// play shows turns, the client's and the device's by turns. Nothing is refused.
func play(t testing.TB, settings string, turns ...string) *played {
	t.Helper()
	open, err := Protocol().Configure(json.RawMessage(settings))
	if err != nil {
		t.Fatal(err)
	}
	p := &played{inspector: open().(*session)}
	for i, turn := range turns {
		p.show(sdk.Direction(i%2), turn)
	}
	return p
}

func (p *played) show(dir sdk.Direction, data string) {
	p.out.Begin(dir)
	p.inspector.Inspect(dir, []byte(data), false, &p.out)
	p.steps = append(p.steps, p.out.List()...)
}

// standing is the protocol with an association for the contexts with these ids that stands
// already, as operation 1: the kit's cuts are spent on what follows it.
func standing(ids ...byte) sdk.Protocol {
	p := Protocol()
	configure := p.Configure
	p.Configure = func(settings json.RawMessage) (func() sdk.Inspector, error) {
		open, err := configure(settings)
		if err != nil {
			return nil, err
		}
		return func() sdk.Inspector { return &established{session: open().(*session), ids: ids} }, nil
	}
	return p
}

// established is a session that begins with an association which covers nothing.
type established struct {
	*session
	ids []byte
}

func (e *established) Inspect(dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
	if a := &e.association; a.state == idle {
		op, _, _ := e.set.readRequest(a, []byte(associateRQ(e.ids...))[pduHeader:])
		a.readAcceptance([]byte(associateAC(e.ids...))[pduHeader:])
		a.op = e.announce(&e.sides[sdk.Forward], op, "", out)
		a.state = accepted
	}
	e.session.Inspect(dir, data, end, out)
}

package gateway

import (
	"bufio"
	"context"
	"net"
	"os"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"

	"cordon/plugins/control"
	"cordon/plugins/sdk"
	"cordon/plugins/wire"
	"cordon/policy"
)

// puppet is a plugin process without the sdk's runtime: it speaks frames itself, nothing
// keeps it to the contract, and it is shut in from outside only.
type puppet struct {
	control.UnimplementedControlServer
	description *control.DescribeResponse // nil: an honest one

	// What it says when it is asked, in turn; then nothing.
	open, forward, reverse, refuse turns

	act  func(*puppet, any) bool // sees each frame first, and may answer it: true
	lend func(*puppet) error     // takes one window; nil: as it should
	deaf bool                    // reads no frame at all, nor the end of them

	steps, windows *net.UnixConn
}

// turns are answers, one for each time.
type turns [][]sdk.Step

func (t *turns) next() []sdk.Step {
	if len(*t) == 0 {
		return nil
	}
	list := (*t)[0]
	*t = (*t)[1:]
	return list
}

// serve is the life of the process.
func (p *puppet) serve() {
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: control.Handshake,
		Plugins:         plugin.PluginSet{control.Name: &control.Plugin{Serve: p.start}},
		GRPCServer:      plugin.DefaultGRPCServer,
		Logger:          hclog.NewNullLogger(),
	})
	os.Exit(0)
}

func (p *puppet) start() (control.ControlServer, error) {
	var err error
	if p.steps, err = wire.FileConn(os.NewFile(control.StepFD, "step channel")); err != nil {
		return nil, err
	}
	if p.windows, err = wire.FileConn(os.NewFile(control.WindowFD, "window channel")); err != nil {
		return nil, err
	}
	if p.lend == nil {
		p.lend = func(p *puppet) error { return wire.ReceiveWindow(p.windows, func(*wire.Window) {}) }
	}
	go func() {
		for p.lend(p) == nil {
		}
	}()
	if !p.deaf {
		go p.run()
	}
	return p, nil
}

func (p *puppet) run() {
	r := bufio.NewReader(p.steps)
	for {
		f, err := wire.Read(r)
		if err != nil {
			os.Exit(0)
		}
		if p.act == nil || !p.act(p, f) {
			p.answer(f)
		}
	}
}

// answer gives the answer to f whose turn it is.
func (p *puppet) answer(f any) {
	switch f := f.(type) {
	case wire.Open:
		p.say(f, p.open.next()...)
	case wire.Notice:
		if f.Dir == sdk.Forward {
			p.say(f, p.forward.next()...)
		} else {
			p.say(f, p.reverse.next()...)
		}
	case wire.Refuse:
		p.say(f, p.refuse.next()...)
	}
}

// say answers f.
func (p *puppet) say(f any, list ...sdk.Step) {
	a := wire.Steps{List: list}
	switch f := f.(type) {
	case wire.Open:
		a.Session, a.To = f.Session, wire.TypeOpen
	case wire.Notice:
		a.Session, a.To, a.Dir = f.Session, wire.TypeNotice, f.Dir
	case wire.Refuse:
		a.Session, a.To, a.Dir = f.Session, wire.TypeRefuse, f.Op.Direction()
	}
	p.send(a.Append(nil))
}

func (p *puppet) send(b []byte) { p.steps.Write(b) }

// Describe implements control.ControlServer.
func (p *puppet) Describe(context.Context, *control.DescribeRequest) (*control.DescribeResponse, error) {
	if p.description != nil {
		return p.description, nil
	}
	return &control.DescribeResponse{Name: "hostile", Version: "test", ReverseMode: uint32(sdk.Observed)}, nil
}

// Configure implements control.ControlServer.
func (p *puppet) Configure(context.Context, *control.ConfigureRequest) (*control.ConfigureResponse, error) {
	return &control.ConfigureResponse{}, nil
}

// Steps as they are on the wire, which package sdk would not make.

func op(id sdk.OpID, name string) sdk.Step {
	return sdk.Step{Kind: sdk.StepOperation, Op: id, Operation: policy.Operation{Name: "hostile:" + name, Class: policy.ClassWrite}}
}

func invalid(id sdk.OpID, name string) sdk.Step {
	s := op(id, name)
	s.Invalid, s.Reason = true, "made up"
	return s
}

func span(id sdk.OpID, n int64) sdk.Step { return sdk.Step{Kind: sdk.StepSpan, Op: id, N: n} }

func abort(id sdk.OpID) sdk.Step {
	return sdk.Step{Kind: sdk.StepAbort, Op: id, Reason: "changed my mind"}
}

func refusal(id sdk.OpID, at int64, text string) sdk.Step {
	return sdk.Step{Kind: sdk.StepRefusal, Op: id, At: at, Bytes: []byte(text)}
}

func end() sdk.Step { return sdk.Step{Kind: sdk.StepEnd, Reason: "enough"} }

// back is the first operation that the device asks for.
const back sdk.OpID = 1<<48 + 1

func kept(id sdk.OpID) sdk.Step { return sdk.Step{Kind: sdk.StepKeep, Op: id} }

func done(id sdk.OpID) sdk.Step { return sdk.Step{Kind: sdk.StepDone, Op: id} }

func keptAll(n sdk.OpID) (list []sdk.Step) {
	for id := sdk.OpID(1); id <= n; id++ {
		list = append(list, kept(id))
	}
	return list
}

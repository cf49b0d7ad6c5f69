// Package serve is the process a plugin runs in: it joins an sdk.Protocol to the gateway
// that started it. A plugin's main is one call:
//
//	func main() { serve.Serve(acme.Protocol()) }
//
// Before the gateway may open a session, the process locks itself in (confine_linux.go, and
// landlock_linux.go should the first lock fail): afterwards it can open no socket and no file
// and start no program, whatever its inspector does.
//
// It does not defend the gateway: the gateway checks every step by itself. It does not
// defend one session's plaintext from another of the same protocol: they share the
// process.
package serve

import (
	"context"
	"fmt"
	"os"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"cordon/plugins/control"
	"cordon/plugins/sdk"
	"cordon/plugins/wire"
)

// Serve runs the plugin until the gateway ends it. It does not return: it ends the
// process, with a message if a person started it by hand.
func Serve(p sdk.Protocol) {
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: control.Handshake,
		Plugins:         plugin.PluginSet{control.Name: &control.Plugin{Serve: func() (control.ControlServer, error) { return start(p) }}},
		GRPCServer:      plugin.DefaultGRPCServer,
		Logger:          hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: os.Stderr, JSONFormat: true}),
	})
	os.Exit(0)
}

// server answers the control channel.
type server struct {
	control.UnimplementedControlServer
	protocol sdk.Protocol
	measures []*control.Measure
	loop     *loop
}

// start takes over the inherited sockets, locks the process in and starts to serve
// sessions. Its goroutines live as long as the process: when a socket ends, so does it.
func start(p sdk.Protocol) (*server, error) {
	steps, err := wire.FileConn(os.NewFile(control.StepFD, "step channel"))
	if err != nil {
		return nil, err
	}
	windows, err := wire.FileConn(os.NewFile(control.WindowFD, "window channel"))
	if err != nil {
		return nil, err
	}
	measures, err := confine()
	if err != nil {
		return nil, err
	}
	s := &server{protocol: p, loop: newLoop(steps), measures: measures}
	go func() { exit(s.loop.receiveWindows(windows)) }()
	go func() { exit(s.loop.run()) }()
	return s, nil
}

// exit ends the process: without its sockets it has nothing to do. A message is only
// worth writing if it was not the gateway that went away.
func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Describe implements control.ControlServer.
func (s *server) Describe(context.Context, *control.DescribeRequest) (*control.DescribeResponse, error) {
	return &control.DescribeResponse{
		Name:        s.protocol.Name,
		Version:     s.protocol.Version,
		ForwardMode: uint32(s.protocol.Modes[sdk.Forward]),
		ReverseMode: uint32(s.protocol.Modes[sdk.Reverse]),
		Confinement: s.measures,
	}, nil
}

// Configure implements control.ControlServer.
func (s *server) Configure(_ context.Context, r *control.ConfigureRequest) (*control.ConfigureResponse, error) {
	open, err := s.protocol.Configure(r.Settings)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	s.loop.configure(r.Service, open)
	return &control.ConfigureResponse{}, nil
}

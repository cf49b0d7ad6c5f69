// Package control is the part of the plugin contract that go-plugin carries: the
// handshake, and the Control service generated from control.proto.
//
// It does not defend against a hostile plugin: what Describe says is a claim, and the
// gateway grants no more than its own configuration does.
package control

import (
	"context"
	"errors"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
)

//go:generate protoc --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative control.proto

// Name is the key under which go-plugin dispenses the service.
const Name = "cordon"

// Descriptors a plugin process inherits.
const (
	StepFD   = 3 // the step channel: frames of plugins/wire
	WindowFD = 4 // the window channel: descriptors of windows
)

// Handshake is checked by both sides before anything else. It is no secret: it tells a
// person who starts a plugin by hand what it is for.
var Handshake = plugin.HandshakeConfig{
	ProtocolVersion:  1,
	MagicCookieKey:   "CORDON_PLUGIN",
	MagicCookieValue: "inspector",
}

// Plugin joins the generated service to go-plugin. Serve is called in the plugin
// process, after its listener exists and before it is announced; nil on the gateway's side.
type Plugin struct {
	plugin.NetRPCUnsupportedPlugin
	Serve func() (ControlServer, error)
}

// GRPCServer registers the service in the plugin process.
func (p *Plugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	if p.Serve == nil {
		return errors.New("serve control: this is the gateway's side")
	}
	server, err := p.Serve()
	if err != nil {
		return err
	}
	RegisterControlServer(s, server)
	return nil
}

// GRPCClient returns a ControlClient on the gateway's side.
func (p *Plugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, c *grpc.ClientConn) (any, error) {
	return NewControlClient(c), nil
}

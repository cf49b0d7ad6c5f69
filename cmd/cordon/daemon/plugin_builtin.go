package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"cordon/cmd/cordon/config"
	"cordon/plugins"
	"cordon/plugins/astm"
	"cordon/plugins/command"
	"cordon/plugins/dicom"
	"cordon/plugins/hl7"
	"cordon/plugins/http"
	"cordon/plugins/modbus"
	"cordon/plugins/mqtt"
	"cordon/plugins/poct1a"
	"cordon/plugins/sdk"
	"cordon/plugins/sdk/serve"
	"cordon/plugins/stream"
)

// Builtins are the protocols that come with this program, by name.
func Builtins() map[string]sdk.Protocol {
	return map[string]sdk.Protocol{
		"astm":    astm.Protocol(),
		"command": command.Protocol(),
		"dicom":   dicom.Protocol(),
		"http":    http.Protocol(),
		"hl7":     hl7.Protocol(),
		"modbus":  modbus.Protocol(),
		"mqtt":    mqtt.Protocol(),
		"poct1a":  poct1a.Protocol(),
		"stream":  stream.Protocol(),
	}
}

// answers are, by protocol, what a device may be told that asked for what is refused.
// Where a protocol lets no device ask there is none.
func answers() map[string]func([]byte) error {
	return map[string]func([]byte) error{
		"astm":   astm.Answer,
		"dicom":  dicom.Answer,
		"hl7":    hl7.Answer,
		"mqtt":   mqtt.Answer,
		"poct1a": poct1a.Answer,
	}
}

// answer is what a service's device may be told. One that opened the association itself may hear
// that there is none.
func (s service) answer() func([]byte) error {
	if s.callOut != nil && s.Proto == "dicom" {
		return dicom.AnswerCaller
	}
	return answers()[s.Proto]
}

// Protocols are the names of builtins and of the plugins that are configured besides, sorted.
func Protocols(configured []config.Plugin) []string {
	names := slices.Collect(maps.Keys(Builtins()))
	for _, p := range configured {
		names = append(names, p.Protocol)
	}
	slices.Sort(names)
	return names
}

// programs are the configured plugins by protocol. None takes the place of a built-in one.
func (a *Assembly) programs() (map[string]config.Plugin, error) {
	programs := map[string]config.Plugin{}
	for _, p := range a.Config.Plugins {
		if _, brought := Builtins()[p.Protocol]; brought {
			return nil, config.Faults{a.Config.Fault("config.plugin.builtin", fmt.Sprintf("cordon brings a plugin for %q", p.Protocol),
				"give yours another name", "plugins", p.Protocol)}
		}
		programs[p.Protocol] = p
	}
	return programs, nil
}

// programFault points at a configured plugin that does not start.
func (a *Assembly) programFault(p config.Plugin, err error) error {
	try := "run the program's own tests; cordon check tries again"
	switch {
	case errors.Is(err, fs.ErrNotExist):
		try = "point path to the program"
	case errors.Is(err, plugins.ErrPin):
		try = "if you trust this file, pin it: sha256sum " + p.Path
	}
	return config.Faults{a.Config.Fault("config.plugin.start", err.Error(), try, "plugins", p.Protocol, "path")}
}

// ServePlugin is the whole life of a built-in plugin's process.
func ServePlugin(name string) error {
	p, ok := Builtins()[name]
	if !ok {
		return fmt.Errorf("no built-in plugin %q, only %v", name, Protocols(nil))
	}
	serve.Serve(p)
	return nil
}

package main

import (
	"fmt"
	"maps"
	"slices"

	"cordon/cmd/cordon/config"
	"cordon/plugins/dicom"
	"cordon/plugins/hl7"
	"cordon/plugins/http"
	"cordon/plugins/modbus"
	"cordon/plugins/sdk"
	"cordon/plugins/sdk/serve"
	"cordon/plugins/stream"
)

// builtins are the protocols that come with this program, by name.
func builtins() map[string]sdk.Protocol {
	return map[string]sdk.Protocol{
		"dicom":  dicom.Protocol(),
		"http":   http.Protocol(),
		"hl7":    hl7.Protocol(),
		"modbus": modbus.Protocol(),
		"stream": stream.Protocol(),
	}
}

// answers are, by protocol, what a device may be told that asked for what is refused.
// Where a protocol lets no device ask there is none.
func answers() map[string]func([]byte) error {
	return map[string]func([]byte) error{"dicom": dicom.Answer}
}

// protocols are the names of builtins and of the plugins that are configured besides, sorted.
func protocols(configured []config.Plugin) []string {
	names := slices.Collect(maps.Keys(builtins()))
	for _, p := range configured {
		names = append(names, p.Protocol)
	}
	slices.Sort(names)
	return names
}

// servePlugin is the whole life of a built-in plugin's process.
func servePlugin(name string) error {
	p, ok := builtins()[name]
	if !ok {
		return fmt.Errorf("no built-in plugin %q, only %v", name, protocols(nil))
	}
	serve.Serve(p)
	return nil
}

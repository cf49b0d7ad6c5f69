package daemon

import (
	"maps"
	"reflect"
	"slices"

	"cordon/cmd/cordon/config"
	"cordon/policy"
)

// ChangedDevices names the devices that policy sees differently: new ones and gone ones too.
func ChangedDevices(old, new *config.Config) []string {
	was := map[string]policy.Device{}
	for i := range old.Devices {
		was[old.Devices[i].ID] = DeviceFacts(&old.Devices[i])
	}
	names := []string{}
	for i := range new.Devices {
		is := DeviceFacts(&new.Devices[i])
		if !reflect.DeepEqual(is, was[is.ID]) {
			names = append(names, is.ID)
		}
		delete(was, is.ID)
	}
	return append(names, slices.Sorted(maps.Keys(was))...)
}

// NeedRestart names what differs and cannot be changed but by a restart: whose log it is.
func NeedRestart(old, new *config.Config) (names []string) {
	for _, d := range []struct{ name, was, is string }{
		{"gateway.name", old.Gateway.Name, new.Gateway.Name},
		{"gateway.state", old.Gateway.State, new.Gateway.State},
		{"identity.trust_domain", old.Identity.TrustDomain, new.Identity.TrustDomain},
		{"audit.dir", old.Audit.Dir, new.Audit.Dir},
	} {
		if d.was != d.is {
			names = append(names, d.name)
		}
	}
	return names
}

// NeedHandover names what differs and is not only told to policy.
func NeedHandover(old, new *config.Config) (names []string) {
	differs := func(name string, was, is any) {
		if !reflect.DeepEqual(was, is) {
			names = append(names, name)
		}
	}
	differs("gateway", old.Gateway, new.Gateway)
	differs("identity", old.Identity, new.Identity)
	differs("plugins", old.Plugins, new.Plugins)
	differs("segments", old.Segments, new.Segments)
	differs("policy.approval", old.Policy.Approval, new.Policy.Approval)
	differs("policy.bundle", old.Policy.Bundle, new.Policy.Bundle)
	differs("policy.keep", old.Policy.Keep, new.Policy.Keep)
	differs("audit", old.Audit, new.Audit)
	differs("break_glass", old.BreakGlass, new.BreakGlass)
	differs("alarms", old.Alarms, new.Alarms)
	differs("metrics", old.Metrics, new.Metrics)
	differs("limits", old.Limits, new.Limits)
	if len(old.Devices) != len(new.Devices) {
		return append(names, "which devices there are")
	}
	for i := range old.Devices {
		was, is := &old.Devices[i], &new.Devices[i]
		if was.ID != is.ID {
			return append(names, "which devices there are, or their order")
		}
		name := "devices." + is.ID + "."
		for j := range min(len(was.Services), len(is.Services)) {
			differs(name+"services."+is.Services[j].Name, was.Services[j], is.Services[j])
		}
		differs("how many services "+is.ID+" has", len(was.Services), len(is.Services))
		differs(name+"address", was.Address, is.Address)
		differs(name+"segment", was.Segment, is.Segment)
		differs(name+"mac", was.MAC, is.MAC)
		differs(name+"further_addresses", was.FurtherAddresses, is.FurtherAddresses)
		differs(name+"source", was.Source, is.Source)
		differs(name+"source_addresses", was.SourceAddresses, is.SourceAddresses)
		differs(name+"call_out", was.CallOut, is.CallOut)
	}
	return names
}

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/daemon"
	"cordon/gateway/audit"
	"cordon/gateway/segment"
)

// What doctor says of segments that no kernel shows: who shares a layer-2 network, where a
// switch passes frames that never come here, and who asks for an address.

// lookAtNetworks says which devices the gateway cannot keep from each other.
func lookAtNetworks(_ context.Context, x *examination) {
	var networks []string // in the order of the file
	members := map[string][]string{}
	for _, s := range x.config.Segments {
		n := networkOf(s.Interface)
		if !slices.Contains(networks, n) {
			networks = append(networks, n)
		}
		for _, d := range x.config.Devices {
			if d.Segment == s.Name {
				members[n] = append(members[n], d.ID)
			}
		}
	}
	for _, n := range networks {
		if devices := members[n]; len(devices) > 1 {
			last := len(devices) - 1
			x.find("notice", "network "+n, fmt.Sprintf("devices %s and %s share a layer-2 network: the gateway cannot prevent them from reaching each other", strings.Join(devices[:last], ", "), devices[last]),
				"use private VLAN edge or protected ports on the switch, or a VLAN each")
		}
	}
}

// networkOf names the layer-2 network behind an interface. Macvlans on one interface share its.
func networkOf(i config.Interface) string {
	switch segment.Kind(i.Kind) {
	case segment.VLAN:
		return fmt.Sprintf("VLAN %d of %s", i.VLAN, i.Parent)
	case segment.MACVLAN:
		return "of " + i.Parent
	}
	return "of " + i.Name
}

// Of the log, what doctor reads for this.
const (
	recent        = 24 * time.Hour
	recentEntries = 10_000
	mostRequests  = 20 // that are told: a stranger can make up more
)

// lookAtRequests says which machines asked for an address lately.
func lookAtRequests(ctx context.Context, x *examination) {
	if len(x.config.Segments) == 0 {
		return
	}
	r, err := audit.OpenReader(x.config.Audit.Dir)
	if err != nil {
		return // it begins with the first start, or lookAtAudit says what is wrong
	}
	size, err := r.Size()
	if err != nil {
		return
	}
	told := map[string]bool{}
	for e, err := range r.Entries(max(0, size-recentEntries), size) {
		if ctx.Err() != nil {
			return
		}
		if err != nil || e.Kind != daemon.KindSegment || time.Since(e.Time) > recent {
			continue
		}
		who, _, asks := strings.Cut(e.Note, segment.AsksForAddress)
		if who = strings.TrimSpace(who); asks && !told[who] && len(told) < mostRequests {
			told[who] = true
			x.find("medium", "segment "+who, "in the last day it asked for an address by DHCP, which a segment neither gives nor relays",
				"give the device a fixed address, the one that its configuration here has")
		}
	}
}

package segment

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func good() Plan {
	return Plan{
		Name:      "icu",
		Interface: Interface{Kind: VLAN, Name: "icu20", Parent: "eth1", VLAN: 20},
		Addresses: []netip.Addr{ownAddr, ownAddr6, addr("10.9.0.50")},
		Devices: []Device{
			{ID: "mon-7", MAC: MAC{2, 0, 0, 0, 9, 7}, Addresses: []netip.Addr{deviceAddr, deviceAddr6, addr("fe80::7")}, Ports: []uint16{2575, 4001},
				Inline: []netip.AddrPort{doorway, doorway6}, Clients: []netip.Addr{addr("10.9.0.50")}},
			{ID: "ct-1", MAC: MAC{2, 0, 0, 0, 9, 8}, Addresses: []netip.Addr{addr("10.9.0.8")}, Calls: []uint16{104}, Transparent: true},
		},
		Inline: "eth0",
	}
}

func TestValidate(t *testing.T) {
	if err := good().Validate(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		want  string // the key
		spoil func(*Plan)
	}{
		{"name", func(p *Plan) { p.Name = "" }},
		{"name", func(p *Plan) { p.Name = "../icu" }},
		{"name", func(p *Plan) { p.Name = "a-name-too-long-to-be" }},
		{"interface.kind", func(p *Plan) { p.Interface.Kind = "bridge" }},
		{"interface.name", func(p *Plan) { p.Interface.Name = "../../ip" }},
		{"interface.name", func(p *Plan) { p.Interface.Name = "all" }},
		{"interface.name", func(p *Plan) { p.Interface.Name = "lo" }},
		{"interface.parent", func(p *Plan) { p.Interface.Parent = "a name" }},
		{"interface.parent", func(p *Plan) { p.Interface = Interface{Kind: NIC, Name: "eth1", Parent: "eth0"} }},
		{"interface.vlan", func(p *Plan) { p.Interface.VLAN = 0 }},
		{"interface.vlan", func(p *Plan) { p.Interface.VLAN = 4095 }},
		{"interface.vlan", func(p *Plan) { p.Interface.Kind = MACVLAN }},
		{"addresses", func(p *Plan) { p.Addresses = nil }},
		{"addresses[1]", func(p *Plan) { p.Addresses[1] = ownAddr }},
		{"addresses[1]", func(p *Plan) { p.Addresses[1] = addr("fe80::1") }},
		{"addresses[0]", func(p *Plan) { p.Addresses[0] = addr("::ffff:10.9.0.1") }},
		{"addresses[0]", func(p *Plan) { p.Addresses[0] = addr("0.0.0.0") }},
		{"devices", func(p *Plan) { p.Devices = make([]Device, MaxDevices+1) }},
		{"devices[1].id", func(p *Plan) { p.Devices[1].ID = "mon-7" }},
		{"devices[0].id", func(p *Plan) { p.Devices[0].ID = "" }},
		{"devices[1].mac", func(p *Plan) { p.Devices[1].MAC = p.Devices[0].MAC }},
		{"devices[0].mac", func(p *Plan) { p.Devices[0].MAC = MAC{} }},
		{"devices[0].mac", func(p *Plan) { p.Devices[0].MAC = everyone }},
		{"devices[0].addresses", func(p *Plan) { p.Devices[0].Addresses = nil }},
		{"devices[1].addresses", func(p *Plan) { p.Devices[1].Addresses[0] = deviceAddr }},
		{"devices[1].addresses", func(p *Plan) { p.Devices[1].Addresses[0] = ownAddr }},
		{"devices[1].addresses", func(p *Plan) { p.Devices[1].Addresses[0] = addr("224.0.0.1") }},
		{"devices[0].addresses", func(p *Plan) { p.Addresses = p.Addresses[:1] }},
		{"devices[0].ports", func(p *Plan) { p.Devices[0].Ports[0] = 0 }},
		{"devices[0].ports", func(p *Plan) { p.Devices[0].Ports[0] = 4001 }},
		{"devices[0].inline", func(p *Plan) { p.Devices[0].Inline = []netip.AddrPort{ap(addr("10.9.0.9"), 104)} }},
		{"devices[0].inline", func(p *Plan) { p.Devices[0].Inline = []netip.AddrPort{ap(addr("fe80::7"), 104)} }},
		{"devices[0].inline", func(p *Plan) { p.Devices[0].Inline = []netip.AddrPort{ap(deviceAddr, 0)} }},
		{"devices[0].inline", func(p *Plan) { p.Devices[0].Inline = []netip.AddrPort{doorway, doorway} }},
		{"devices[0].inline", func(p *Plan) { p.Devices[0].Inline = make([]netip.AddrPort, MaxPorts+1) }},
		{"inline", func(p *Plan) { p.Inline = "" }},
		{"inline", func(p *Plan) { p.Inline = "eth1" }},
		{"inline", func(p *Plan) { p.Inline = "lo" }},
		{"inline", func(p *Plan) { p.Inline = "../eth0" }},
		{"inline", func(p *Plan) { p.Devices[0].Inline = nil }},
		{"devices[0].clients", func(p *Plan) { p.Devices[0].Transparent = true }},
		{"devices[0].clients", func(p *Plan) { p.Devices[0].Clients = []netip.Addr{addr("10.9.0.51")} }},
		{"devices[0].clients", func(p *Plan) { p.Devices[0].Clients = []netip.Addr{ownAddr} }},
		{"devices[0].clients", func(p *Plan) { p.Devices[0].Clients = append(p.Devices[0].Clients, p.Devices[0].Clients...) }},
		{"devices[1].calls", func(p *Plan) { p.Devices[1].Calls = make([]uint16, MaxPorts+1) }},
	} {
		p := good()
		p.Addresses = slices.Clone(p.Addresses)
		c.spoil(&p)
		err := p.Validate()
		if err == nil || !strings.HasPrefix(err.Error(), c.want+": ") && !strings.Contains(err.Error(), "\n"+c.want+": ") {
			t.Errorf("want a fault of %s, got %v", c.want, err)
		}
	}
}

func TestPlanTravels(t *testing.T) {
	b, err := json.Marshal(good())
	if err != nil {
		t.Fatal(err)
	}
	var p Plan
	if err := json.Unmarshal(b, &p); err != nil || !reflect.DeepEqual(p, good()) {
		t.Errorf("%s: %+v, %v", b, p, err)
	}
	if _, err := ParseMAC("02:00:00:00:00:00:00:01"); err == nil {
		t.Error("eight bytes are a MAC")
	}
}

func TestPlanString(t *testing.T) {
	const want = `segment icu
  guard      drop in the host all frames from and to eth1, except VLAN 20
  quiet      switch IPv6 off on eth1 in the host and take it up
  reserve    drop in the host what is for 10.9.0.7, fd09::7, except TCP to 10.9.0.7:11112, [fd09::7]:11112 on eth0 where a socket of the gateway takes it
  namespace  make a network namespace
  filter     drop there what is none of to 10.9.0.7:2575, to 10.9.0.7:4001, to [fd09::7]:2575, to [fd09::7]:4001, to [fe80::7]:2575, to [fe80::7]:4001, from 10.9.0.8 to port 104, and drop all that is forwarded
  sysctl     switch forwarding, redirects, autoconfiguration and proxy answers off
  interface  make icu20 there, VLAN 20 of eth1
  wire       drop at icu20 every frame, in and out, that is not of those, and no ARP or ND for 10.9.0.1, fd09::1, 10.9.0.50
  settings   the same switches for icu20
  addresses  give it 10.9.0.1, fd09::1, 10.9.0.50 and no other
  neighbours fix 10.9.0.7 at 02:00:00:00:09:07, fd09::7 at 02:00:00:00:09:07, fe80::7 at 02:00:00:00:09:07, 10.9.0.8 at 02:00:00:00:09:08
  up         take it up
  routes     lead to each device's address, and nowhere else
  clients    hand to the gateway's sockets what comes for clients from 10.9.0.8
  inline     give eth0 in the host 10.9.0.7, fd09::7, and tell it there once by ARP and ND
`
	if got := good().String(); got != want {
		t.Errorf("got\n%s", got)
	}
}

package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// sysctl is one setting below /proc/sys/net of the namespace that the thread is in.
type sysctl struct{ key, want, why string }

// wide are the settings of a whole segment.
var wide = []sysctl{
	{"ipv4/ip_forward", "0", "nothing is routed"},
	{"ipv4/ip_nonlocal_bind", "0", "the gateway speaks from its own addresses"},
	{"ipv4/icmp_echo_ignore_all", "1", "the gateway does not answer pings"},
	{"ipv4/icmp_echo_ignore_broadcasts", "1", "nor those to everyone"},
	{"ipv4/icmp_ignore_bogus_error_responses", "1", "strange ICMP errors are not logged without end"},
	{"ipv6/icmp/echo_ignore_all", "1", "the gateway does not answer pings"},
	{"ipv6/icmp/echo_ignore_multicast", "1", "nor those to everyone"},
	{"ipv6/icmp/echo_ignore_anycast", "1", "nor those to anyone"},
	{"ipv6/ip_nonlocal_bind", "0", "the gateway speaks from its own addresses"},
	{"netfilter/nf_conntrack_tcp_loose", "0", "a connection begins with a SYN"},
	{"netfilter/nf_conntrack_tcp_be_liberal", "0", "and stays in its window"},
}

// each are the settings of an interface, and of "all" and "default" before one is there.
// Their meaning: Linux, Documentation/networking/ip-sysctl.rst.
var each = []sysctl{
	{"ipv4/conf/*/forwarding", "0", "nothing is routed"},
	{"ipv4/conf/*/bc_forwarding", "0", "no directed broadcast is passed on"},
	{"ipv4/conf/*/accept_redirects", "0", "nobody moves our routes"},
	{"ipv4/conf/*/secure_redirects", "0", "not even a router"},
	{"ipv4/conf/*/send_redirects", "0", "we move nobody's"},
	{"ipv4/conf/*/accept_source_route", "0", "a sender does not choose the way"},
	{"ipv4/conf/*/accept_local", "0", "our own address does not come in"},
	{"ipv4/conf/*/route_localnet", "0", "127.0.0.0/8 stays inside"},
	{"ipv4/conf/*/rp_filter", "1", "an address comes from where it is reached (RFC 3704)"},
	{"ipv4/conf/*/arp_ignore", "1", "ARP is answered for the interface's own address only"},
	{"ipv4/conf/*/arp_announce", "2", "and asked from it"},
	{"ipv4/conf/*/arp_filter", "1", "on the interface that leads there"},
	{"ipv4/conf/*/arp_accept", "0", "unasked ARP teaches us nothing"},
	{"ipv4/conf/*/arp_notify", "0", "and we send none"},
	{"ipv4/conf/*/drop_gratuitous_arp", "1", "unasked ARP is dropped"},
	{"ipv4/conf/*/drop_unicast_in_l2_multicast", "1", "so is unicast in a broadcast frame (RFC 1122 section 3.3.6)"},
	{"ipv4/conf/*/proxy_arp", "0", "we answer for nobody else"},
	{"ipv4/conf/*/proxy_arp_pvlan", "0", "we answer for nobody else"},
	{"ipv4/conf/*/shared_media", "0", "we move nobody's routes"},
	{"ipv4/conf/*/bootp_relay", "0", "DHCP is not passed on"},
	{"ipv6/conf/*/forwarding", "0", "nothing is routed"},
	{"ipv6/conf/*/accept_ra", "0", "no router configures us"},
	{"ipv6/conf/*/autoconf", "0", "no router configures us"},
	{"ipv6/conf/*/addr_gen_mode", "1", "no address but the plan's, no link-local one either"},
	{"ipv6/conf/*/accept_redirects", "0", "nobody moves our routes"},
	{"ipv6/conf/*/accept_source_route", "-1", "no routing header is followed (RFC 5095)"},
	{"ipv6/conf/*/router_solicitations", "0", "we look for no router"},
	{"ipv6/conf/*/dad_transmits", "0", "we ask for no address"},
	{"ipv6/conf/*/accept_dad", "0", "nobody takes ours away by claiming it"},
	{"ipv6/conf/*/ndisc_notify", "0", "we send no unasked advertisement"},
	{"ipv6/conf/*/drop_unsolicited_na", "1", "and take none"},
	{"ipv6/conf/*/accept_untracked_na", "0", "unasked advertisements teach us nothing"},
	{"ipv6/conf/*/drop_unicast_in_l2_multicast", "1", "no unicast in a multicast frame"},
	{"ipv6/conf/*/proxy_ndp", "0", "we answer for nobody else"},
	{"ipv6/conf/*/seg6_enabled", "0", "a sender does not choose the way (RFC 8754)"},
	{"ipv6/conf/*/rpl_seg_enabled", "0", "a sender does not choose the way (RFC 6554)"},
}

// sysctls lists what is wanted for scope: "all", "default" or the interface's name.
func (p Plan) sysctls(scope string) []sysctl {
	var list []sysctl
	off := "1"
	if p.uses(netip.Addr.Is6) {
		off = "0"
	}
	for _, s := range slices.Concat(each, []sysctl{{"ipv6/conf/*/disable_ipv6", off, "IPv6 runs only where the plan has an IPv6 address"}}) {
		s.key = strings.Replace(s.key, "*", scope, 1)
		list = append(list, s)
	}
	return list
}

// write makes it so. A kernel that does not know the setting has nothing to be told.
func (s sysctl) write() error {
	if have, err := s.read(); err == nil && have == s.want {
		return nil
	}
	err := os.WriteFile("/proc/sys/net/"+s.key, []byte(s.want), 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("set net/%s to %s: %w", s.key, s.want, err)
	}
	return nil
}

func (s sysctl) read() (string, error) {
	b, err := os.ReadFile("/proc/sys/net/" + s.key)
	return strings.TrimSpace(string(b)), err
}

// Package config is the one YAML file that says what a gateway is to do: who it
// is, whom it trusts, which devices it guards and where its records go.
//
// Read config.go for the file's shape (the field comments are its manual), then in
// the order a file is read: tree.go bytes to a tree of values with positions,
// decode.go and segment.go the tree to these types, profile.go what a type of device adds, check.go what only shows when the whole is
// seen, fault.go what is said when something is wrong. edit.go adds a device in
// place, initial.go is the file of a new gateway, schema.go is for editors.
//
// A file is read strictly. Every key is known or belongs to a plugin, no key is
// given twice, every value has its type and range, and whatever is not plain data
// (anchors, aliases, tags, merges, several documents) is refused, because a reader
// of the file must see what the gateway sees.
//
// The package does not look beyond the file: that a path exists, that an address
// answers or that a plugin likes its settings is for whoever uses them. It does not
// defend against someone who may write the file; that person decides everything.
package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// FileName is the configuration's name inside a gateway's directory.
const FileName = "cordon.yaml"

// MaxSize is the largest file that is read, in bytes.
const MaxSize = 1 << 20

// Config is the whole file. All paths in it are absolute or relative to the working
// directory by the time it is returned; in the file they are relative to the file.
type Config struct {
	Version  int       // The version of this format. Must be 1.
	Gateway  Gateway   // The gateway itself.
	Identity Identity  // Whose certificates are believed.
	Plugins  []Plugin  // Plugins beside those that cordon brings, by the protocol they speak.
	Segments []Segment // The isolated networks that devices live in, by name. Default: none, devices are dialled from the host's network.
	Devices  []Device  // The devices behind the gateway, by id.
	Policy   Policy    // Where the rules are.
	Audit    Audit     // Where decisions are recorded.
	Limits   Limits    // What one gateway lets itself be asked for.

	BreakGlass BreakGlass // Who may open devices in an emergency. Default: nobody but by sealed codes.
	Alarms     Alarms     // Who is told at once. Default: nobody but the gateway's own log.
	Metrics    Metrics    // Where a monitoring system looks. Default: nowhere.

	src  *source // where faults found later still point to
	root *node
}

// Gateway says who the gateway is.
type Gateway struct {
	Name      string       // The gateway's name in logs and in its own certificate: lower-case letters, digits and hyphens.
	State     string       // The directory for what the gateway keeps: CA, keys, log. Default: state.
	Names     []string     // DNS names clients reach the gateway by. Default, if addresses is not given either: localhost.
	Addresses []netip.Addr // IP addresses clients reach the gateway by. Default, if names is not given either: 127.0.0.1 and ::1.
}

// Identity says whose certificates are believed.
type Identity struct {
	TrustDomain string // The SPIFFE trust domain of every subject: spiffe://<trust_domain>/user/dr.kim.
	CA          CA     // The authority that issues them.
}

// CA is the certificate authority.
type CA struct {
	Mode      string        // Where the CA runs. Only embedded, in the gateway's own state directory. Default: embedded.
	LeafTTL   time.Duration // How long an issued certificate is valid, 5m to 168h. Default: 8h.
	TrustFile string        // PEM file with further roots whose client certificates are believed. Default: none.
	CRLFile   string        // File with the revocation lists of every authority in trust_file, in PEM, or one list in DER, 8 MiB at most. Clients of an authority without a list in force are refused. The last good lists are kept in gateway.state, and a file that is missing or holds no lists keeps no gateway from starting. Default: none, nothing those revoke is known.
}

// Plugin is a program that inspects a protocol cordon does not know.
type Plugin struct {
	Protocol string // The key in the file, and what services name as their proto.
	Path     string // The program's file.
	SHA256   string // The checksum it must have, in hexadecimal, as sha256sum prints it.
}

// Segment is a network of devices that nothing but the gateway's own sockets reaches.
type Segment struct {
	Name      string       // The key in the file: 1 to 15 lower-case letters, digits and hyphens, the first a letter.
	Interface Interface    // The device side.
	Addresses []netip.Addr // The gateway's own addresses in it. It dials from the first of each family.
	Inline    string       // The host's interface that clients are on. There the gateway answers at the devices' own addresses, where services listen at them. Default: none, devices have no address on the clients' side.
}

// Interface is how a segment comes by its device side.
type Interface struct {
	Kind   string // nic: the interface is taken over whole; vlan: one VLAN of a trunk; macvlan: a further MAC address on an interface.
	Name   string // The interface's name in the segment; for a nic, also in the host. At most 15 letters, digits, hyphens, dots and underscores.
	Parent string // The host's interface that a vlan or macvlan is made on. The host itself can no longer use it. Default: none, for a nic.
	VLAN   int    // The VLAN's number, 1 to 4094. Default: none, but for a vlan.
}

// Device is one legacy medical device.
type Device struct {
	ID               string            // The key in the file: letters, digits, dot, hyphen and underscore, at most 63.
	Address          netip.Addr        // The device's IP address, where the gateway dials it.
	Segment          string            // The segment the device is in, where nothing but the gateway reaches it. Default: none.
	MAC              string            // The device's MAC address, needed in a segment: 00:1b:44:11:3a:b7. Default: none.
	FurtherAddresses []netip.Addr      // Further addresses of the device in its segment, such as its link-local one of IPv6. Default: none.
	Source           string            // Whose address the device sees when the gateway dials it: gateway or client. For client, its router must be an address of the segment. Default: gateway.
	SourceAddresses  []netip.Addr      // With source: client, the only clients whose address it sees; they may be in its own network, and answer nobody else there. Default: every client.
	Profile          string            // The type of device, whose profile gives its class, quirks and limits: contec-cms8000. Default: none.
	Class            string            // What kind of device it is, from general to special: monitor/bedside. Default: the profile's.
	Criticality      string            // How much harm its loss does: low, medium or high. Default: not said.
	Labels           map[string]string // Facts of the site that policy may use, such as ward or owner.
	State            string            // active, quarantined or maintenance, for policy to judge. Default: active.
	Services         []Service         // The device's protocols, by name. May be absent if it only calls out.
	CallOut          []CallOut         // What the device opens by itself, by name; only in a segment. Default: nothing.

	patches []string
}

// SourceClient is the Source of a device that sees clients' addresses.
const SourceClient = "client"

// Inline reports whether a listener is at an address of the device itself: it keeps that on the
// clients' side. Nobody's but its own, as a link-local address is, is none.
func (d *Device) Inline(l Listen) bool {
	return d.Segment != "" && l.Addr.IsValid() && (l.Addr == d.Address || slices.Contains(d.FurtherAddresses, l.Addr))
}

// Patches are the virtual patches that the device's profile names.
func (d *Device) Patches() []string { return d.patches }

// Service is one protocol on one port of a device. Keys beside those below are
// settings of the protocol's plugin.
type Service struct {
	Name          string          // The key in the file, with the same characters as a device's id.
	Proto         string          // The protocol, which names the plugin: astm, command, dicom, hl7, http, modbus, mqtt, poct1a, stream.
	Port          uint16          // The device's TCP port.
	Listen        Listen          // Where the gateway listens for this service: address:port, or :port for every address.
	Sessions      int             // Sessions the device takes at a time, 1 to 1000000. Default: no limit of its own.
	IdleTimeout   time.Duration   // How long a session may carry nothing, 1s to 168h. Default: limits.idle_timeout.
	AllowUnknown  []string        // Operations of class unknown that policy may allow, by name: hl7:ZZZ^Z01. Default: none.
	InsecureTLS12 bool            // Clients that know nothing newer than TLS 1.2 may connect; their certificates cross the network in clear. Default: false.
	UnseenReplies bool            // Replies are not shown to the plugin; only for stream. Default: false.
	Settings      json.RawMessage // The plugin's settings as a JSON object, never nil.
}

// CallOut is one connection that a device opens by itself: the gateway takes it at the address
// the device was configured with, and speaks mutual TLS to where it was meant to go. Keys beside
// those below are settings of the protocol's plugin.
type CallOut struct {
	Name         string          // The key in the file, with the same characters as a device's id.
	Proto        string          // The protocol, which names the plugin.
	Catch        netip.AddrPort  // The address and port that the device calls. In the segment it belongs to the gateway.
	To           string          // The destination, host:port. It must speak TLS and ask for a certificate.
	ServerName   string          // The name in the destination's certificate. Default: the host of to.
	Sessions     int             // Sessions at a time, 1 to 1000000. Default: no limit of its own.
	IdleTimeout  time.Duration   // How long a session may carry nothing, 1s to 168h. Default: limits.idle_timeout.
	AllowUnknown []string        // Operations of class unknown that policy may allow, by name. Default: none.
	Settings     json.RawMessage // The plugin's settings as a JSON object, never nil.
}

// Listen is an address to listen on.
type Listen struct {
	Addr netip.Addr // the zero Addr means every address
	Port uint16
}

// String returns the address as net.Listen and the file write it.
func (l Listen) String() string {
	if !l.Addr.IsValid() {
		return ":" + strconv.Itoa(int(l.Port))
	}
	return netip.AddrPortFrom(l.Addr, l.Port).String()
}

// Policy says where the rules are.
type Policy struct {
	Dir      string   // The directory with the policy and its tests. Default: policy.
	Approval Approval // Who brings a policy into force. With it, dir is where policies are written, and what is in force changes by cordon policy rollout only. Default: whoever may write dir.
	Bundle   Bundle   // Signed bundles. With them, dir is where policies are written, and what is in force comes from bundles only. Default: none.

	Keep time.Duration // How long a policy is kept after it last decided, for those who ask why, 24h to 87600h; what decides, what a rollback may name and the latest hundred in any case. Default: 9600h.
}

// Elsewhere reports whether what decides comes from elsewhere than Dir.
func (p *Policy) Elsewhere() bool { return p.Approval.Needed() || p.Bundle.Used() }

// Approval says that a policy takes two people, each with a certificate of their own.
type Approval struct {
	Authors   []string // The roles of those who may submit a policy, at least one.
	Approvers []string // The roles of those who may approve what somebody else has submitted, at least one.
}

// Needed reports whether there is an approval at all.
func (a *Approval) Needed() bool { return len(a.Authors) > 0 }

// Bundle says where signed policies come from, and whose signatures they must have.
type Bundle struct {
	From           string        // An https URL, a file or a directory of files *.tar.gz. Beside each bundle lies its detached signature, with .sig behind the name.
	Key            string        // PEM file with the public key of OPA's signature: RSA, EC or Ed25519.
	KeyID          string        // The id by which bundles name that key. Default: made from the key, as cordon policy bundle keygen prints it.
	Signer         string        // PEM file with the Ed25519 public key of the detached signature.
	Every          time.Duration // How often to look for a newer one, 1s to 24h. Default: 30s.
	TrustFile      string        // PEM file with the roots that the https server's certificate is verified against. Default: the system's.
	Certificate    string        // PEM file with a certificate to show to the https server. Default: none.
	CertificateKey string        // PEM file with its private key. Default: none.
}

// Used reports whether policies come as bundles at all.
func (b *Bundle) Used() bool { return b.From != "" }

// Remote reports whether they come over HTTPS.
func (b *Bundle) Remote() bool { return strings.HasPrefix(b.From, "https://") }

// Audit says where decisions are recorded.
type Audit struct {
	Dir        string        // The directory of the audit log. Default: audit inside gateway.state.
	Checkpoint time.Duration // How often the log's head is signed, 1s to 1m. Default: 1s.
}

// BreakGlass says who may let themselves do what care needs, for a time, and who looks at it
// afterwards. Sealed codes, where there are any, need neither role nor group.
type BreakGlass struct {
	Roles         []string      // The roles of people who may open a device, with a certificate of their own: [nurse-manager]. Default: none.
	Groups        []string      // Groups of such people. Default: none.
	Reviewers     []string      // The roles of people who may review what somebody else has opened. Default: roles and groups.
	Duration      time.Duration // For how long, if nothing else is said, 1m to 4h. Default: 30m.
	Max           time.Duration // For how long at most, 1m to 4h. Default: 4h.
	DeviceClasses []string      // The classes of devices that may be opened: [monitor/*, imaging/ct]. Default: all.
}

// Alarms says over which channels people are told what should not wait.
type Alarms struct {
	Syslog  string  // A syslog daemon: unix:///dev/log, udp://log.hospital.example:514 or tcp://log.hospital.example:601. Default: none.
	Webhook Webhook // A program that is told by signed HTTPS POST. Default: none.
}

// Webhook is a receiver of alarms.
type Webhook struct {
	URL        string // Where to: https://siem.hospital.example/cordon.
	SecretFile string // The file with the secret it shares with the gateway, whsec_ and 24 to 64 bytes in base64.
	TrustFile  string // PEM file with the roots its certificate may come from. Default: those of the machine.
}

// Metrics are counts and times, in the text format of Prometheus, and whether the gateway is ready. There is
// nobody's name in them, and no device's.
type Metrics struct {
	Listen string // Where they are shown: an address and port of the loopback interface, 127.0.0.1:9464, or a socket, unix:///run/cordon/metrics.sock.
}

// Limits bound what one gateway lets itself be asked for. Beyond them it refuses.
type Limits struct {
	Sessions          int           // Sessions at a time, 1 to 1000000. Default: 4096.
	SessionsPerSource int           // Sessions at a time from one address, 1 to 1000000. Default: 256.
	HandshakeTimeout  time.Duration // For a client to complete its TLS handshake, 100ms to 1m. Default: 5s.
	IdleTimeout       time.Duration // For a session that carries nothing, 1s to 168h. Default: never; a peer that vanished is found by TCP keep-alive.
	DialTimeout       time.Duration // For the device to accept a connection, 100ms to 1m. Default: 5s.
	DecisionTimeout   time.Duration // For the policy to answer, 1ms to 10s. Default: 500ms.
	DrainTimeout      time.Duration // For sessions to end after SIGTERM before they are cut, 0s to 10m. Default: 10s.
	HandoverTimeout   time.Duration // For sessions to end by themselves after another process of the gateway has taken over, 0s to 168h. Default: 1h.
	WindowMemory      int64         // Memory for bytes in flight, 1MiB to 64GiB. Default: 256MiB.
}

// Load reads and checks the file at path. Its error is a Faults whenever the file
// could be opened; nothing of a faulty file is returned.
func Load(path string) (*Config, error) {
	src, err := read(path)
	if err != nil {
		return nil, err
	}
	return parse(path, src)
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, Faults{{Code: "config.file.missing", File: path,
			Message: fmt.Sprintf("no configuration at %s", path), Try: []string{"cordon init DIR", "name the file with -c FILE or its directory with --dir DIR"}}}
	}
	if err != nil {
		return nil, fmt.Errorf("open configuration: %w", err)
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return src, nil
}

func parse(path string, text []byte) (*Config, error) {
	src := newSource(path, text)
	root := src.tree(text)
	if root == nil {
		return nil, src.err()
	}
	d := &decoder{src: src, dir: filepath.Dir(path)}
	c := d.config(root)
	c.src, c.root = src, root
	if err := src.inherit(c); err != nil {
		return nil, err
	}
	for i := range c.Devices {
		for j := range c.Devices[i].Services {
			if s := &c.Devices[i].Services[j]; s.IdleTimeout == 0 {
				s.IdleTimeout = c.Limits.IdleTimeout
			}
		}
		for j := range c.Devices[i].CallOut {
			if o := &c.Devices[i].CallOut[j]; o.IdleTimeout == 0 {
				o.IdleTimeout = c.Limits.IdleTimeout
			}
		}
	}
	src.checkListeners(c)
	src.checkMetrics(c)
	src.checkSegments(c)
	if err := src.err(); err != nil {
		return nil, err
	}
	return c, nil
}

// ID is which gateway this is, for what is signed: trust domain and name.
func (c *Config) ID() string { return c.Identity.TrustDomain + "/" + c.Gateway.Name }

// InsecureTLS12 names the services with insecure_tls12.
func (c *Config) InsecureTLS12() (names []string) {
	for _, d := range c.Devices {
		for _, s := range d.Services {
			if s.InsecureTLS12 {
				names = append(names, "devices."+d.ID+".services."+s.Name)
			}
		}
	}
	return names
}

// Device finds a device by its id or by the only id that begins with prefix. Its
// error is a Faults with code "device.unknown" or "device.ambiguous".
func (c *Config) Device(prefix string) (*Device, error) {
	var found *Device
	var ids []string
	for i := range c.Devices {
		d := &c.Devices[i]
		ids = append(ids, d.ID)
		if d.ID == prefix {
			return d, nil
		}
		if prefix == "" || len(d.ID) < len(prefix) || d.ID[:len(prefix)] != prefix {
			continue
		}
		if found != nil {
			return nil, Faults{{Code: "device.ambiguous", Message: fmt.Sprintf("%q is the beginning of both %q and %q", prefix, found.ID, d.ID),
				Try: []string{"write more of the id"}}}
		}
		found = d
	}
	if found == nil {
		f := Fault{Code: "device.unknown", Message: fmt.Sprintf("no device %q in %s", prefix, c.src.file), Try: []string{"cordon device list"}}
		if near := Nearest(prefix, ids); near != "" {
			f.Message += fmt.Sprintf(", did you mean %q?", near)
		}
		return nil, Faults{f}
	}
	return found, nil
}

// Fault describes something a part of the gateway found wrong with the value at a
// path of keys, such as "devices", "mon-7", "services", "hl7", "max_message". It
// points at the deepest key of the path that the file has.
func (c *Config) Fault(code, message, try string, path ...string) Fault {
	n := c.root
	for _, key := range path {
		next := n.get(key)
		if next == nil {
			break
		}
		n = next
	}
	at := n
	if n.key != nil {
		at = n.key
	}
	f := c.src.at(at, code, message, "")
	f.Try = []string{try}
	return f
}

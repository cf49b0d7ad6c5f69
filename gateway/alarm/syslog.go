package alarm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"
)

// authpriv is the facility of what not everybody on the machine is to read, RFC 5424 section
// 6.2.1.
const authpriv = 10

// sdID is the id of the structured data. 32473 is the enterprise number that RFC 5612 sets
// aside for examples: Cordon has none of its own.
const sdID = "cordon@32473"

// Syslog tells a syslog daemon, in the form of RFC 5424. What it can know of the delivery is
// that the kernel took the message: neither of the transports has an answer.
type Syslog struct {
	network, address string // network is unix, udp or tcp
}

// ParseSyslog reads where a syslog daemon listens: unix:///dev/log, udp://log.hospital.example:514
// (RFC 5426) or tcp://log.hospital.example:601 (RFC 6587, with octet counting).
func ParseSyslog(text string) (*Syslog, error) {
	bad := errors.New("expected unix:///dev/log, udp://host:514 or tcp://host:601")
	u, err := url.Parse(text)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, bad
	}
	switch u.Scheme {
	case "unix":
		if u.Host != "" || !filepath.IsAbs(u.Path) || len(u.Path) > 107 { // unix(7)
			return nil, bad
		}
		return &Syslog{u.Scheme, u.Path}, nil
	case "udp", "tcp":
		port, err := strconv.ParseUint(u.Port(), 10, 16)
		if err != nil || port == 0 || u.Hostname() == "" || u.Path != "" {
			return nil, bad
		}
		if a, err := netip.ParseAddr(u.Hostname()); err == nil && a.IsUnspecified() {
			return nil, bad
		}
		return &Syslog{u.Scheme, u.Host}, nil
	}
	return nil, bad
}

// Name is "syslog".
func (*Syslog) Name() string { return "syslog" }

// Send makes a connection for the one message: alarms are rare, and a connection that is kept
// would lose the first message after the daemon was started anew.
func (s *Syslog) Send(ctx context.Context, a *Alarm) error {
	c, err := s.dial(ctx)
	if err != nil {
		return fmt.Errorf("syslog: %w", err)
	}
	defer c.Close()
	if end, ok := ctx.Deadline(); ok {
		c.SetDeadline(end)
	}
	message := a.syslog()
	switch c.LocalAddr().Network() {
	case "tcp":
		message = fmt.Sprintf("%d %s", len(message), message)
	case "unix":
		message += "\n" // of a stream, as syslog(3) ends it
	}
	if _, err := c.Write([]byte(message)); err != nil {
		return fmt.Errorf("syslog: %w", err)
	}
	return nil
}

// dial opens a datagram socket first where both may be meant, as syslog(3) does.
func (s *Syslog) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	if s.network != "unix" {
		return d.DialContext(ctx, s.network, s.address)
	}
	c, err := d.DialContext(ctx, "unixgram", s.address)
	if err != nil {
		if stream, err := d.DialContext(ctx, "unix", s.address); err == nil {
			return stream, nil
		}
	}
	return c, err
}

// syslog is a as RFC 5424 section 6 has it: a header, structured data, and a text.
func (a *Alarm) syslog() string {
	var b strings.Builder
	fmt.Fprintf(&b, "<%d>1 %s %s cordon %d %s [%s", authpriv*8+int(a.Severity), a.Time.UTC().Format("2006-01-02T15:04:05.000000Z"),
		field(a.Gateway, 255), os.Getpid(), field(a.Name, 32), sdID)
	for _, p := range [][2]string{{"id", a.ID}, {"subject", a.Subject}, {"device", a.Device}} {
		if p[1] != "" {
			fmt.Fprintf(&b, ` %s="%s"`, p[0], escaped.Replace(plain(p[1])))
		}
	}
	b.WriteString("] ")
	if strings.ContainsFunc(a.Text, func(r rune) bool { return r >= utf8.RuneSelf }) {
		b.WriteString("\ufeff") // section 6.4: then it is UTF-8
	}
	b.WriteString(plain(a.Text))
	return b.String()
}

// escaped is the escaping of a parameter's value, section 6.3.3.
var escaped = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `]`, `\]`)

// field makes a field of a header: printable ASCII without spaces, "-" if there is none.
func field(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, s)
	if s == "" {
		return "-"
	}
	return s[:min(len(s), most)]
}

// plain keeps one message one line.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}

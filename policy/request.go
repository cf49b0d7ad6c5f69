package policy

// Phase is when a policy is asked.
type Phase string

const (
	PhaseConnect   Phase = "connect"   // once per session, before the device is dialled; Operation is empty
	PhaseOperation Phase = "operation" // once per operation, before its first byte moves
)

// Directions, seen from the device.
const (
	Inbound  = "inbound"  // a client asks
	Outbound = "outbound" // the device asks; it may do so on a session that a client opened
)

// Session is the connection a request belongs to.
type Session struct {
	ID        string `json:"id"`        // unique for this gateway's life
	Direction string `json:"direction"` // Inbound or Outbound
	Client    string `json:"client"`    // the peer's address without port, as the socket says: "10.1.2.3"
	TLS       string `json:"tls"`       // "1.3", or "1.2" where the configuration permits it
}

// Request is the whole question. Its JSON form is the policy's `input`, and the
// audit log keeps it verbatim so that any decision can be made again later.
type Request struct {
	Phase     Phase     `json:"phase"`
	Subject   Subject   `json:"subject"`
	Device    Device    `json:"device"`
	Service   Service   `json:"service"`
	Session   Session   `json:"session"`
	Operation Operation `json:"operation"`
	NowNs     int64     `json:"now_ns"` // the only clock a policy has: ns since the Unix epoch
}

package policy

// Subject kinds. A subject's kind is the first path element of its SPIFFE ID:
// spiffe://<trust domain>/user/dr.kim is a user.
const (
	KindUser    = "user"    // a person
	KindService = "service" // an interface engine, an archive, any program
	KindVendor  = "vendor"  // a person or program of a device's maker
	KindDevice  = "device"  // a device that speaks for itself
)

// Subject is who asks, as the verified client certificate says.
type Subject struct {
	ID     string   `json:"id"`     // "dr.kim", unique within its kind
	Kind   string   `json:"kind"`   // one of the Kind constants
	Roles  []string `json:"roles"`  // sorted, no duplicates; never nil in JSON
	Groups []string `json:"groups"` // sorted, no duplicates; never nil in JSON
	MFA    bool     `json:"mfa"`    // the certificate was issued after a second factor
}

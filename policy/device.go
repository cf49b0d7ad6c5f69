package policy

// Device is what is asked of: one legacy medical device, as the configuration
// describes it.
type Device struct {
	ID      string            `json:"id"`      // "mon-7"
	Class   string            `json:"class"`   // "monitor/bedside", "imaging/ct"
	Profile string            `json:"profile"` // the type of device whose profile it has, "contec-cms8000"; "" if none
	Segment string            `json:"segment"` // the isolated network it is on; "" before segments are configured
	Labels  map[string]string `json:"labels"`  // free facts of the site; never nil in JSON
	State   string            `json:"state"`   // one of the State constants
}

// Device states.
const (
	StateActive      = "active"
	StateQuarantined = "quarantined"
	StateMaintenance = "maintenance"
	StateLearning    = "learning" // for a time, more is permitted so that it is seen
)

// Service is one protocol on one port of a device.
type Service struct {
	Name     string `json:"name"`     // its key in the configuration: "results"
	Protocol string `json:"protocol"` // "hl7", "stream", "dicom"
}

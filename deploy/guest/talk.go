package guest

// Talk is how a conversation went, as device and client in the guest each tell it, in one line
// of JSON.
type Talk struct {
	Protocol string `json:"protocol"`        // hl7 or stream
	Done     int    `json:"done"`            // results acknowledged; bytes that came
	Refused  int    `json:"refused"`         // results
	Wrong    string `json:"wrong,omitempty"` // what came that was not sent, or not permitted
	Error    string `json:"error,omitempty"` // how it ended before it was done
}

// Denied is how control ids of results begin that policy does not permit.
const Denied = "denied"

package revision

// Foreseen is what a stage would do to live sessions if it came now.
type Foreseen struct {
	Ends    int             `json:"ends"`    // sessions that would end
	Live    int             `json:"live"`    // of so many
	Classes []ForeseenClass `json:"classes"` // of their devices
	Such    []ForeseenEnd   `json:"such_as"` // the first of each subject, device and operation
	Older   bool            `json:"older"`   // sessions that stayed with an older process of the gateway are asked too, and not counted here
}

// ForeseenClass is a class of devices with the sessions that would end there.
type ForeseenClass struct {
	Class   string   `json:"class"`
	Ends    int      `json:"ends"`
	Devices []string `json:"devices"`
}

// ForeseenEnd is one session that would end.
type ForeseenEnd struct {
	Subject   string `json:"subject"`
	Device    string `json:"device"`
	Service   string `json:"service"`
	Operation string `json:"operation,omitempty"` // that is under way; none: it could not be opened any more
	Reason    string `json:"reason"`
}

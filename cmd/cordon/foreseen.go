package main

// foreseen is what a stage would do to live sessions if it came now.
type foreseen struct {
	Ends    int             `json:"ends"`    // sessions that would end
	Live    int             `json:"live"`    // of so many
	Classes []foreseenClass `json:"classes"` // of their devices
	Such    []foreseenEnd   `json:"such_as"` // the first of each subject, device and operation
	Older   bool            `json:"older"`   // sessions that stayed with an older process of the gateway are asked too, and not counted here
}

// foreseenClass is a class of devices with the sessions that would end there.
type foreseenClass struct {
	Class   string   `json:"class"`
	Ends    int      `json:"ends"`
	Devices []string `json:"devices"`
}

// foreseenEnd is one session that would end.
type foreseenEnd struct {
	Subject   string `json:"subject"`
	Device    string `json:"device"`
	Service   string `json:"service"`
	Operation string `json:"operation,omitempty"` // that is under way; none: it could not be opened any more
	Reason    string `json:"reason"`
}

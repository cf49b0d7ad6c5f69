package policy

// Attributes that join operations of different sessions. What one side asks of a device may be
// carried out by the device in a session of its own: an archive is asked to move a study, and
// stores its images elsewhere. Only the protocol knows what belongs together, and only the gateway
// what was allowed.
const (
	// Expects is a plugin's: because of this operation whoever is asked will open others. Its
	// value, a text, is what those will have in Because.
	Expects = "expects"
	// Because is a plugin's: the operation says that it is one of those.
	Because = "because"

	// Origin is the gateway's, of an operation with Because: OriginAllowed or OriginUnknown.
	Origin        = "origin"
	OriginCode    = "origin_code"    // the decision code of what was allowed
	OriginSubject = "origin_subject" // who asked for it, as "user/dr.kim"
)

// Values of Origin.
const (
	OriginAllowed = "allowed" // it was asked for lately, and allowed
	OriginUnknown = "unknown" // it was not, or not by way of this gateway, or long ago, or is no longer permitted
)

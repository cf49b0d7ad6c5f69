package dicom

// anomaly is a set of tolerated deviations.
type anomaly uint32

const (
	groupLength anomaly = 1 << iota
	uidPadding
	aePadding
	oddLength
	charset
	headCut
	headUnreadable
	referencesCut
	classMismatch
	roleMissing
	asyncWindow
	sameMessageID
	contextUnknown
	otherContextAnswer
)

var anomalyNames = [...]string{
	"group_length",      // the command set's group length is absent or wrong
	"uid_padding",       // a UID padded with a space, or by more than one NUL
	"ae_padding",        // an AE title padded with NUL
	"odd_length",        // an element with an odd number of bytes
	"charset",           // a value in a character set that is not converted: its bytes are written \xNN
	"head_cut",          // the data set's head is longer than head_limit: what is behind is not told
	"head_unreadable",   // the data set cannot be read in its transfer syntax: nothing of it is told
	"references_cut",    // too many referenced instances to be listed: only counted, or not even that
	"class_mismatch",    // the SOP class is not the presentation context's abstract syntax
	"role_missing",      // asked in a role that was not negotiated
	"async_window",      // before this operation, more were open than negotiated
	"shared_message_id", // before this operation, two open ones had one message ID
	"context_unknown",   // in a presentation context that was not accepted, so of no transfer syntax
	"response_context",  // before this operation, a response came in another context than its request
}

func (a anomaly) names() []string {
	var list []string
	for i, name := range anomalyNames {
		if a&(1<<i) != 0 {
			list = append(list, name)
		}
	}
	return list
}

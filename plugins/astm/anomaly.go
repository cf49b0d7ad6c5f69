package astm

// anomaly is a set of tolerated deviations.
type anomaly uint32

const (
	lfEnds anomaly = 1 << iota
	crlfEnds
	missingRecordEnd
	emptyRecord
	lowerCaseType
	oddDelimiters
	escapedValue
	latin1Text
	lowerCaseChecksum
	firstFrame0
	frameRestart
	idleEOT
	lateReply
)

var anomalyNames = [...]string{
	"lf_ends",             // records end with LF
	"crlf_ends",           // records end with CR LF
	"missing_record_end",  // the terminator has no CR
	"empty_record",        // two record ends in a row
	"lower_case_type",     // a record's type is a lower-case letter
	"odd_delimiters",      // those of the header are not |\^&
	"escaped_value",       // a value is told with its escape sequences
	"latin1_text",         // a value that is no UTF-8 is told as ISO 8859-1
	"lower_case_checksum", // hexadecimal digits a to f
	"first_frame_0",       // a transmission's first frame has the number 0
	"frame_restart",       // frames are counted from 1 again at a message's header
	"idle_eot",            // EOT of a side that has not sent ENQ
	"late_reply",          // before this operation, an answer came behind the sender's EOT, or a second one to ENQ
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

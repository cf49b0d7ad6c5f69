package hl7

// anomaly is a set of tolerated deviations.
type anomaly uint32

const (
	lfEnds anomaly = 1 << iota
	crlfEnds
	leadingBytes
	missingEndCR
	oddDelimiters
	emptyControlID
	emptySegment
	oddSegment
	structureMismatch
	severalPatients
	undeclaredCharset
	unknownCharset
	undecidableCharset
	unconvertedText
	longValue
	valuesCut
)

var anomalyNames = [...]string{
	"lf_ends",             // segments end with LF
	"crlf_ends",           // segments end with CR LF
	"leading_bytes",       // bytes before the start block
	"missing_end_cr",      // no CR behind the end block of the message before
	"odd_delimiters",      // MSH-1 and MSH-2 are not |^~\&
	"empty_control_id",    // MSH-10 is empty
	"empty_segment",       // two segment ends in a row
	"odd_segment",         // a line that is no segment (setting loose_segments)
	"structure_mismatch",  // MSH-9.3 is not of the type in MSH-9.1
	"several_patients",    // more than one PID segment
	"undeclared_charset",  // bytes beyond ASCII, MSH-18 blank: UTF-8 or 8859/1 assumed
	"unknown_charset",     // MSH-18 names no known set: no facts of the body
	"undecidable_charset", // fields cannot be told apart for certain: no facts of the body
	"unconverted_text",    // a value in a set that is not converted is left out
	"long_value",          // a code of more than 200 bytes is left out
	"values_cut",          // a list of codes has more than 64 values, or too many bytes
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

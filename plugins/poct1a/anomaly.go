package poct1a

// anomaly is a set of tolerated deviations.
type anomaly uint32

const (
	stxETX anomaly = 1 << iota
	nulBetween
	byteOrderMark
	rawGreater
	otherVersion
	echoedType
	paddedAckID
)

var anomalyNames = [...]string{
	"stx_etx",         // STX before a document or ETX behind one
	"nul",             // a NUL between two documents
	"byte_order_mark", // UTF-8's before a document
	"raw_greater",     // ">" in the value of an attribute, where most write "&gt;"
	"other_version",   // HDR.version_id is not POCT1
	"echoed_type",     // before this operation, an ACK.R01 had the HDR.message_type of what it answers
	"padded_ack_id",   // before this operation, an ACK.R01 named 00012 as 12, or 12 as 00012
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

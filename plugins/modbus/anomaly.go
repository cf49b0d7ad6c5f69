package modbus

// anomaly is a set of tolerated deviations.
type anomaly uint32

const (
	paddingBits anomaly = 1 << iota
	sharedID
	looseResponse
)

var anomalyNames = [...]string{
	"padding_bits",   // unused bits of the last byte of coils are set
	"shared_id",      // a read has the transaction identifier of an open one (setting shared_ids)
	"loose_response", // before this operation, a response fitted no request (setting loose_responses)
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

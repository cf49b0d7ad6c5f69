package mqtt

// anomaly is a set of tolerated deviations.
type anomaly uint32

const (
	controlCharacters anomaly = 1 << iota
	repeatedPublish
)

var anomalyNames = [...]string{
	"control_characters", // text with control characters or noncharacters, which it SHOULD NOT have (1.5.4)
	"repeated_publish",   // MQTT 3.1.1: sent again over the same connection, though it is not acknowledged
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

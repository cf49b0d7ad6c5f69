package mqtt

import "fmt"

// Answer checks what an inspector would tell a broker: nil if b is nothing, or one PUBACK or
// PUBREC of MQTT 5 that says "not authorized" and nothing else. The gateway calls it, in its
// own process, so that a plugin that was taken over cannot speak to a broker in any other
// way.
func Answer(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	// type(1) remaining length(1) packet identifier(2) reason code(1)
	if len(b) != 5 || b[0] != 0x40 && b[0] != 0x50 || b[1] != 3 || b[2] == 0 && b[3] == 0 || b[4] != 0x87 {
		return fmt.Errorf("check a refusal for a broker: %d bytes that are not a PUBACK or PUBREC of \"not authorized\"", len(b))
	}
	return nil
}

package astm

import "fmt"

// Answer checks what an inspector would tell a device: nil if b is nothing, or one NAK. The
// gateway calls it, in its own process: a plugin that was taken over could otherwise
// acknowledge a device's results, which the device then no longer keeps.
func Answer(b []byte) error {
	if len(b) == 0 || len(b) == 1 && b[0] == nak {
		return nil
	}
	return fmt.Errorf("check a refusal for a device: %d bytes that are not one NAK", len(b))
}

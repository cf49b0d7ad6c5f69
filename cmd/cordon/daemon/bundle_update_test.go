package daemon

import (
	"crypto/sha256"
	"testing"
)

// What is refused is told once; what may be half published, if it stays so.
func TestSightings(t *testing.T) {
	var sightings updates
	one, other := sha256.Sum256([]byte("one")), sha256.Sum256([]byte("other"))
	for _, x := range []struct {
		name     string
		delivery [sha256.Size]byte
		code     string
		polled   bool
		known    bool // before
		counts   bool
	}{
		{"half published", one, "bundle.detached.file", true, false, false},
		{"then whole", other, "", true, false, true},
		{"no news", other, "", true, true, false},
		{"half again", one, "bundle.detached.missing", true, false, false},
		{"and still", one, "bundle.detached.missing", true, false, true},
		{"for good", one, "bundle.detached.missing", true, true, false},
		{"a person asks", one, "bundle.detached.missing", false, true, true},
		{"half, and a person asks at once", other, "bundle.detached.file", false, false, true},
		{"signed by a clock that is ahead", one, "bundle.detached.future", true, false, true},
		{"as before", one, "bundle.detached.future", true, false, false},
		{"its time has come", one, "", true, false, true},
	} {
		if got := sightings.known(x.delivery); got != x.known {
			t.Errorf("%s: known is %v", x.name, got)
		}
		if got := sightings.counts(x.delivery, x.code, x.polled); got != x.counts {
			t.Errorf("%s: counts is %v", x.name, got)
		}
	}
}

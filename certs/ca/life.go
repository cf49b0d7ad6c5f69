package ca

import (
	"time"

	"cordon/certs"
)

// Life says until when a certificate of the authority itself is valid. With it ends whatever
// was issued below it, and it is not renewed: a new authority takes its place.
type Life struct {
	Name     string    `json:"name"` // "root" or "intermediate"
	Serial   string    `json:"serial"`
	NotAfter time.Time `json:"not_after"`
}

// Lives returns the root's and the intermediate's.
func (a *Authority) Lives() []Life {
	return []Life{
		{"root", certs.Serial(a.root.SerialNumber), a.root.NotAfter},
		{"intermediate", certs.Serial(a.intermediate.SerialNumber), a.intermediate.NotAfter},
	}
}

package revision

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"cordon/cmd/cordon/disk"
	"cordon/policy/rego"
)

// A person hands a running gateway a bundle by putting it into the state directory and asking
// for it over the control socket there: who may do the one may do the other, and nothing large
// crosses the socket.

// HandedBundle is the file of a bundle that is being handed over, in BundleDir.
const HandedBundle = ".handed"

// BundleOrder is what is asked over the control socket.
type BundleOrder struct {
	From     string `json:"from"` // what people call the bundle
	Rollback uint64 `json:"rollback_to"`
}

// Hand puts a bundle where handed finds it. withdraw takes it away again.
func (k KeptBundles) Hand(d rego.Delivery) error {
	if err := os.MkdirAll(k.Dir, 0o700); err != nil {
		return fmt.Errorf("hand over the bundle: %w", err)
	}
	// Readable for the gateway's user, who alone may enter the directory.
	const mode = 0o644
	path := filepath.Join(k.Dir, HandedBundle)
	return errors.Join(disk.Write(path, d.Bundle, mode), disk.Write(path+rego.DetachedSuffix, d.Signature, mode))
}

// Withdraw takes a bundle away that was handed over. That it is gone already is no error.
func (k KeptBundles) Withdraw() {
	for _, name := range []string{HandedBundle, HandedBundle + rego.DetachedSuffix} {
		os.Remove(filepath.Join(k.Dir, name)) // mostly it is gone already
	}
}

// Handed takes what was handed over, once.
func (k KeptBundles) Handed(name string) (rego.Delivery, error) {
	defer k.Withdraw()
	d, err := ReadDelivery(filepath.Join(k.Dir, HandedBundle))
	d.Name = name
	return d, err
}

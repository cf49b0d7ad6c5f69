package main

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

const handedBundle = ".handed"

// order is what is asked over the control socket.
type order struct {
	From     string `json:"from"` // what people call the bundle
	Rollback uint64 `json:"rollback_to"`
}

// hand puts a bundle where handed finds it. withdraw takes it away again.
func (k keptBundles) hand(d rego.Delivery) error {
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return fmt.Errorf("hand over the bundle: %w", err)
	}
	// Readable for the gateway's user, who alone may enter the directory.
	const mode = 0o644
	path := filepath.Join(k.dir, handedBundle)
	return errors.Join(disk.Write(path, d.Bundle, mode), disk.Write(path+rego.DetachedSuffix, d.Signature, mode))
}

func (k keptBundles) withdraw() {
	for _, name := range []string{handedBundle, handedBundle + rego.DetachedSuffix} {
		os.Remove(filepath.Join(k.dir, name)) // mostly it is gone already
	}
}

// handed takes what was handed over, once.
func (k keptBundles) handed(name string) (rego.Delivery, error) {
	defer k.withdraw()
	d, err := readDelivery(filepath.Join(k.dir, handedBundle))
	d.Name = name
	return d, err
}

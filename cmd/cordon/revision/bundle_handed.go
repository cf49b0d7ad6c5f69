package revision

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"cordon/cmd/cordon/disk"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/signed"
	"cordon/policy/rego"
)

// A person hands a running gateway a bundle by putting it into the state directory and asking
// for it over the control socket there: who may do the one may do the other, and nothing large
// crosses the socket.

// BundleOrder is what is asked over the control socket.
type BundleOrder struct {
	From     string `json:"from"`   // what people call the bundle
	SHA256   string `json:"sha256"` // of the bundle, in hexadecimal
	Rollback uint64 `json:"rollback_to"`
}

// handed is the file of a bundle that is being handed over, in BundleDir. Several people may do so at a time.
func (k KeptBundles) handed(digest string) string { return filepath.Join(k.Dir, ".handed-"+digest) }

// Hand puts a bundle where Handed finds it, and returns its digest. Withdraw takes it away again. Without BundleDir no
// gateway runs that takes bundles, and there is nowhere to put it: made by root, the directory would be closed to the gateway.
func (k KeptBundles) Hand(d rego.Delivery) (digest string, err error) {
	digest = signed.Digest(d.Bundle)
	if _, err := os.Stat(k.Dir); errors.Is(err, fs.ErrNotExist) {
		return digest, nil
	}
	// Readable for the gateway's user, who alone may enter the directory.
	const mode = 0o644
	path := k.handed(digest)
	if err = errors.Join(disk.Write(path, d.Bundle, mode), disk.Write(path+rego.DetachedSuffix, d.Signature, mode)); err != nil {
		err = fmt.Errorf("hand over the bundle: %w", err)
	}
	return digest, err
}

// Withdraw takes a bundle away that was handed over. That it is gone already is no error.
func (k KeptBundles) Withdraw(digest string) {
	os.Remove(k.handed(digest))
	os.Remove(k.handed(digest) + rego.DetachedSuffix)
}

// Handed reads what an order is about, and leaves it there: if another process takes over meanwhile, that reads it again.
func (k KeptBundles) Handed(o BundleOrder) (rego.Delivery, error) {
	d, err := ReadDelivery(k.handed(o.SHA256))
	if err == nil && signed.Digest(d.Bundle) != o.SHA256 {
		err = errors.New("read a bundle: it is another than was handed over")
	}
	if err != nil {
		return rego.Delivery{}, exit.Error{Code: "bundle.handed", Exit: exit.Conflict, Message: err.Error(), Err: err, Try: []string{"the same command again"}}
	}
	return d, nil
}

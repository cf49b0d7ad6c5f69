package revision

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/disk"
	"cordon/cmd/cordon/exit"
)

// ProvenFile names, in gateway.state, what the policy folder held when it last came into force. It is kept as
// every policy that decided.
const ProvenFile = "proven.json"

// inFolder is what a policy folder held, proven.
type inFolder struct {
	Dir string `json:"dir"` // absolute: another folder is another policy
	Digests
}

// startFolder opens the policy folder for a start. A restart brings no edit into force that a reload refuses: what
// was in force before decides on, and the source says why. Without that there is no start.
func startFolder(ctx context.Context, c *config.Config) (*Source, error) {
	was, unknown := lastProven(c)
	engine, bad := Load(c)
	if bad == nil && was != nil && DigestsOf(engine) == was.Digests { // it was tested then, and tests decide nothing
		return &Source{Current: engine}, CheckPatches(c, engine)
	}
	if bad == nil {
		_, bad = provenEngine(ctx, c, engine)
	}
	if bad == nil {
		return &Source{Current: engine}, nil
	}
	if was == nil {
		return nil, errors.Join(bad, unknown)
	}
	f, err := OpenProven(c, was.Digests)
	if err != nil {
		return nil, errors.Join(bad, err)
	}
	f.Refused = bad
	return f, nil
}

// lastProven returns what the folder of a configuration held when it last came into force; nil if that is not known.
func lastProven(c *config.Config) (*inFolder, error) {
	path := filepath.Join(c.Gateway.State, ProvenFile)
	text, err := disk.Read(path, maxRecord)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var was inFolder
	if err == nil {
		err = json.Unmarshal(text, &was)
	}
	if err != nil {
		return nil, exit.Error{Code: "policy.proven.damaged", Exit: exit.Checks, Message: fmt.Sprintf("which policy was in force before is not known: read %q: %v", path, err), Err: err,
			Try: []string{"repair the policy folder, until cordon check is content"}}
	}
	if dir, err := filepath.Abs(c.Policy.Dir); err != nil || dir != was.Dir {
		return nil, err
	}
	return &was, nil
}

// Remember has the next start know what is in force, if that is what the folder held.
func (f *Source) Remember(c *config.Config) error {
	path := filepath.Join(c.Gateway.State, ProvenFile)
	if f.State != nil || f.Bundles != nil { // whoever comes back to the folder begins anew
		return disk.UnlessGone(os.Remove(path))
	}
	dir, err := filepath.Abs(c.Policy.Dir)
	if err != nil {
		return err
	}
	is := inFolder{dir, DigestsOf(f.Current)}
	if was, err := lastProven(c); err == nil && was != nil && *was == is {
		return nil
	}
	if err := KeptIn(c).Keep(f.Current); err != nil {
		return err
	}
	text, err := json.Marshal(is)
	if err != nil {
		return err
	}
	return disk.Write(path, append(text, '\n'), 0o600)
}

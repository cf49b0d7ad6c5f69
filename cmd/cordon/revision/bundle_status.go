package revision

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// StatusFile is what a running gateway tells of its bundles, inside BundleDir.
const StatusFile = "status.json"

// BundleStatus is how looking for bundles went since the gateway started.
type BundleStatus struct {
	Asked       time.Time      `json:"asked"`       // when the source answered last; zero: never
	Unreachable string         `json:"unreachable"` // why it does not answer at present; empty: it does
	Refused     int            `json:"refused"`     // how many bundles were
	Last        *BundleRefusal `json:"last_refused,omitempty"`
}

// BundleRefusal is a bundle that was not taken.
type BundleRefusal struct {
	Time    time.Time `json:"time"`
	From    string    `json:"from"`
	Code    string    `json:"code"`
	Message string    `json:"message"`
	Pending bool      `json:"pending"` // it is still offered
}

// BundleTaken is the bundle in force, as a reload reports it.
type BundleTaken struct {
	Revision uint64 `json:"revision"`
	Label    string `json:"label,omitempty"`
	Digest   string `json:"sha256"`
	New      bool   `json:"new"` // since this reload
}

// Status is what a running gateway told last; nothing if none ever ran.
func (k KeptBundles) Status() (s BundleStatus, err error) {
	text, err := os.ReadFile(filepath.Join(k.Dir, StatusFile))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		return s, fmt.Errorf("read the bundles' status: %w", err)
	}
	return s, nil
}

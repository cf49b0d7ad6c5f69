package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"cordon/cmd/cordon/disk"
	"cordon/gateway/segment"
)

// segmentMemory is the path of a file with the segments that were declared last, for a start at which the configuration
// cannot be read: their wires are to be closed then, too. Whoever may write it says what is closed, so it is root's
// alone. "": nothing is remembered.
type segmentMemory string

// maxMemory bounds the file, in bytes.
const maxMemory = 16 << 20

// keep makes plans what is remembered.
func (m segmentMemory) keep(plans []segment.Plan) error {
	if m == "" {
		return nil
	}
	text, err := json.Marshal(append([]segment.Plan{}, plans...))
	if err != nil {
		return fmt.Errorf("remember segments: %w", err)
	}
	if have, err := os.ReadFile(string(m)); err == nil && string(have) == string(text) {
		return nil
	}
	if err := disk.Write(string(m), text, 0o600); err != nil {
		return fmt.Errorf("remember segments: %w", err)
	}
	return nil
}

// plans are what keep has kept; none if nothing was.
func (m segmentMemory) plans() (all []segment.Plan, err error) {
	if m == "" {
		return nil, nil
	}
	text, err := disk.Read(string(m), maxMemory)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		return nil, fmt.Errorf("read which segments there were from %q: %w", string(m), err)
	}
	return all, nil
}

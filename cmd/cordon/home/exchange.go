package home

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"cordon/cmd/cordon/disk"
	"cordon/cmd/cordon/exit"
)

// Exchange is how a restore puts what it has written in the place of what is there: by renames, in this
// order, which are noted before the first of them. Whoever comes after one that was killed sees from the
// disk how far it came. The first moves the configuration aside, the last puts the new one in its
// place; in between there is none, and no gateway starts.
type Exchange struct {
	Schema string     `json:"schema"` // cordon.restoring/v1
	Backup string     `json:"backup"` // the file that was being restored
	Moves  []Move     `json:"moves"`
	Aside  []string   `json:"aside"` // directories for what was there
	Added  []AddedOne `json:"added"` // files outside the directories that are the gateway's
}

// Move is one rename. Either end is in a directory that is the restore's alone, so that it shows whether
// it was made.
type Move struct {
	From string `json:"from"`
	To   string `json:"to"`
	In   bool   `json:"in"` // to where it belongs, not aside
}

// AddedOne is a file that was not there. Until all is done it has a second name beside it: what has it
// is ours.
type AddedOne struct {
	Place  string `json:"place"`
	Second string `json:"second"`
}

const (
	exchangeSchema = "cordon.restoring/v1"
	exchangeSuffix = ".json" // behind StagingPrefix and the time of the restore
	maxExchange    = 8 << 20 // bytes: some ten thousand moves
)

// ExchangeFile is where an exchange is noted, in the configuration's directory.
func ExchangeFile(dir, stamp string) string {
	return filepath.Join(dir, StagingPrefix+stamp+exchangeSuffix)
}

// Note makes x durable. What a kill leaves of it has a restore's name.
func (x *Exchange) Note(file string) error {
	x.Schema = exchangeSchema
	text, err := json.MarshalIndent(x, "", "  ")
	if err != nil {
		return err
	}
	next := file + ".new"
	if err := disk.Create(next, append(text, '\n'), 0o644); err != nil { // who runs the gateway reads it; there is no secret in it
		return err
	}
	if err := os.Rename(next, file); err != nil {
		return err
	}
	return disk.Sync(filepath.Dir(file))
}

// Exchanges finds those that are noted in the configuration's directory, by their files.
func Exchanges(dir string) (map[string]*Exchange, error) {
	files, err := filepath.Glob(filepath.Join(escapeGlob(dir), StagingPrefix+"*"+exchangeSuffix))
	if err != nil {
		return nil, err
	}
	found := map[string]*Exchange{}
	for _, file := range files {
		text, err := disk.Read(file, maxExchange)
		if errors.Is(err, fs.ErrNotExist) { // it is just done
			continue
		}
		x := &Exchange{}
		if err == nil {
			err = json.Unmarshal(text, x)
		}
		if err == nil && x.Schema != exchangeSchema {
			err = fmt.Errorf("schema %.40q, want %q", x.Schema, exchangeSchema)
		}
		if err != nil {
			return nil, exit.Error{Code: "restore.unfinished", Exit: exit.Conflict, Message: fmt.Sprintf("a restore was cut short, and what it had done is not known: read %q: %v", file, err), Err: err,
				Try: []string{"put what is in " + ReplacedPrefix + "… back by hand, and remove that file"}}
		}
		found[file] = x
	}
	return found, nil
}

// escapeGlob has a directory's name stand for itself.
func escapeGlob(dir string) string {
	var out []byte
	for i := range len(dir) {
		if c := dir[i]; c == '*' || c == '?' || c == '[' || c == '\\' {
			out = append(out, '\\')
		}
		out = append(out, dir[i])
	}
	return string(out)
}

// Made reports whether a move was made.
func (m Move) Made() bool {
	if m.In {
		return !disk.Exists(m.From)
	}
	return disk.Exists(m.To)
}

// Came is how many of the moves were made.
func (x *Exchange) Came() (n int) {
	for n < len(x.Moves) && x.Moves[n].Made() {
		n++
	}
	return n
}

// CheckWhole refuses to work with a gateway that is half the one and half the other: a restore to the configuration's
// directory was cut short. Its error is an exit.Error with code restore.unfinished.
func CheckWhole(configuration string) error {
	all, err := Exchanges(filepath.Dir(configuration))
	if err != nil {
		return err
	}
	for _, x := range all {
		n := x.Came()
		if n == len(x.Moves) || n == 0 && disk.Exists(configuration) {
			continue
		}
		return exit.Error{Code: "restore.unfinished", Exit: exit.Conflict,
			Message: fmt.Sprintf("a restore of %s to %s was cut short after %d of %d steps: what is there is no gateway", x.Backup, filepath.Dir(configuration), n, len(x.Moves)),
			Try:     []string{"the same cordon restore again: it goes back first to what was there, and then does all of it"}}
	}
	return nil
}

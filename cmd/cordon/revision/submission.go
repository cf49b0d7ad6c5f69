package revision

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/disk"
	"cordon/cmd/cordon/exit"
	"cordon/cmd/cordon/signed"
	"cordon/policy/rego"
)

// What somebody says of a policy, see certs.Statement. The digest is that of the words.
const (
	PurposeSubmit  = "policy-submit"
	PurposeApprove = "policy-approve"
	PurposeReject  = "policy-reject"
)

// Bounds of what is submitted.
const (
	maxWhy         = 500      // bytes of a reason
	maxSubmissions = 1000     // kept; older ones are removed by hand
	maxRecord      = 1 << 20  // bytes of a submission's record
	maxArchive     = 40 << 20 // bytes of a policy with its tests
)

// Digests name a policy.
type Digests struct {
	Policy string `json:"policy"`
	Data   string `json:"data"`
}

// DigestsOf names a policy that is loaded.
func DigestsOf(e *rego.Engine) Digests { return Digests{e.Revision(), e.Data()} }

// Proposal is what an author signs. It holds for one gateway and for one policy in force:
// what it changes is the difference to that.
type Proposal struct {
	Gateway string `json:"gateway"` // trust domain and name
	Digests
	Archive string        `json:"archive"` // SHA-256 of the files, tests included
	InForce Digests       `json:"in_force"`
	Why     string        `json:"why"`
	Tests   int           `json:"tests"`  // that passed
	Replay  *ReplayCounts `json:"replay"` // null if nothing was recorded yet
}

// ReplayCounts is what a replay said to the author.
type ReplayCounts struct {
	Since        time.Time `json:"since"`
	Recorded     int64     `json:"recorded"`
	NewlyAllowed int64     `json:"newly_allowed"`
	NewlyDenied  int64     `json:"newly_denied"`
	Critical     int64     `json:"newly_denied_critical"`
	NotReplayed  int64     `json:"not_replayed"`
}

// Opinion is what an approver signs, or whoever rejects.
type Opinion struct {
	Gateway  string  `json:"gateway"`
	Number   int     `json:"number"`
	Proposal string  `json:"proposal"` // SHA-256 of the author's words
	InForce  Digests `json:"in_force"` // what it is to replace
	Why      string  `json:"why"`
}

// Submission is a policy that somebody wants in force.
type Submission struct {
	Version   int           `json:"version"` // of this format: 1
	Number    int           `json:"number"`
	Submitted signed.Words  `json:"submitted"`
	Approved  *signed.Words `json:"approved"`
	Rejected  *signed.Words `json:"rejected"`

	Proposal Proposal `json:"-"` // the words of Submitted
}

// CheckWhy wants a reason that fits a line of the log.
func CheckWhy(why string) error {
	bad := ""
	switch {
	case strings.TrimSpace(why) == "":
		bad = "no reason is given"
	case len(why) > maxWhy:
		bad = fmt.Sprintf("the reason has %d bytes, at most %d", len(why), maxWhy)
	case strings.ContainsFunc(why, func(c rune) bool { return !unicode.IsPrint(c) }):
		bad = "the reason is not one printable line"
	default:
		return nil
	}
	return exit.Error{Code: "usage.reason", Message: bad, Exit: exit.Usage, Try: []string{`-m "why, in a line, without names of patients"`}}
}

func submissionPath(c *config.Config, number int, ext string) string {
	return filepath.Join(c.Gateway.State, SubmissionDir, strconv.Itoa(number)+ext)
}

// ReadSubmission reads a submission's record. Who signed what is verified by whoever acts
// on it.
func ReadSubmission(c *config.Config, number int) (*Submission, error) {
	path := submissionPath(c, number, ".json")
	text, err := disk.Read(path, maxRecord)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, exit.Error{Code: "submission.unknown", Message: fmt.Sprintf("there is no submission %d", number), Exit: exit.NotFound, Err: err, Try: []string{"cordon policy submissions"}}
	}
	if err != nil {
		return nil, err
	}
	s := &Submission{}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err = d.Decode(s); err == nil {
		err = signed.Read(s.Submitted.Words, &s.Proposal)
	}
	switch {
	case err != nil:
	case s.Version != 1:
		err = fmt.Errorf("version %d is not known", s.Version)
	case s.Number != number:
		err = fmt.Errorf("it is submission %d", s.Number)
	}
	if err != nil {
		return nil, tampered(number, fmt.Errorf("read %q: %w", path, err))
	}
	return s, nil
}

// tampered is about a submission that is not what its author signed; number is 0 before it
// has one.
func tampered(number int, err error) error {
	what := "it"
	if number > 0 {
		what = fmt.Sprintf("submission %d", number)
	}
	return exit.Error{Code: "submission.changed", Message: fmt.Sprintf("%s was changed since it was signed: %v", what, err), Exit: exit.Checks, Err: err, Try: []string{"find out who changed it", "submit the policy again"}}
}

// Open opens the policy of s, if it is still what was signed.
func (s *Submission) Open(c *config.Config) (*rego.Engine, error) {
	archive, err := disk.Read(submissionPath(c, s.Number, ".tar"), maxArchive)
	if err != nil {
		return nil, tampered(s.Number, err)
	}
	return s.Proposal.open(s.Number, archive)
}

// Tested is what is in force with the tests that it was submitted with. Of what nobody submitted here there are none,
// but for the policy folder itself.
func (f *Source) Tested(c *config.Config) *rego.Engine {
	if f.State == nil || f.Begun {
		return f.Current
	}
	sub, err := ReadSubmission(c, f.State.Current.Number)
	if err != nil {
		return f.Current
	}
	engine, err := sub.Open(c)
	if err != nil || DigestsOf(engine) != DigestsOf(f.Current) {
		return f.Current
	}
	return engine
}

// open makes an engine of the proposal's files.
func (p *Proposal) open(number int, archive []byte) (*rego.Engine, error) {
	if signed.Digest(archive) != p.Archive {
		return nil, tampered(number, errors.New("its files are others"))
	}
	engine, err := rego.LoadArchive(archive)
	if err != nil {
		return nil, Placed(err)
	}
	if engine.Access() != nil {
		return nil, exit.Error{Code: "policy.data.access", Exit: exit.Checks, Message: "it brings data.access, which belongs to the gateway", Try: []string{"cordon policy submit, of a folder"}}
	}
	if DigestsOf(engine) != p.Digests {
		return nil, tampered(number, errors.New("its digests are not those of its files"))
	}
	return engine, nil
}

// Submissions returns the numbers of what was submitted, in order.
func Submissions(c *config.Config) ([]int, error) {
	entries, err := os.ReadDir(filepath.Join(c.Gateway.State, SubmissionDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var numbers []int
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".json"); ok {
			if n, err := strconv.Atoi(name); err == nil && n > 0 {
				numbers = append(numbers, n)
			}
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// Status says in a word what became of s.
func (s *Submission) Status() string {
	switch {
	case s.Rejected != nil:
		return "rejected"
	case s.Approved != nil:
		return "approved"
	}
	return "open"
}

package rego

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"cordon/policy"
)

// Cell is one field of a truth table: in which states of the device somebody may do something.
type Cell struct {
	Role      string   `json:"role"`
	Kind      string   `json:"kind"`         // of the subject that holds the role
	Device    string   `json:"device_class"` // "imaging/*": a class below imaging that no other row names; "*": any other
	From      string   `json:"from"`         // who asks: FromClient, FromDevice, FromCallOut
	Protocol  string   `json:"protocol"`
	Operation string   `json:"operation"` // "connect", a class of operation, or a service of DICOM
	States    []string `json:"states"`    // those in which it is allowed, in the order active, maintenance, quarantined; never nil
}

// Who asks for an operation.
const (
	FromClient  = "client"   // a client, of the device
	FromDevice  = "device"   // the device, of the client whose session it is
	FromCallOut = "call-out" // the device, on a connection that it opened by itself
)

// Vocabulary is what a truth table is asked about.
type Vocabulary struct {
	Roles   map[string][]string // the kinds of subject that may hold each role
	Devices []string            // classes of devices, or patterns such as "imaging/*" and "*"
}

// tableProtocols are those that Cordon brings.
var tableProtocols = [...]string{"astm", "command", "dicom", "hl7", "http", "modbus", "mqtt", "poct1a", "stream"}

var tableStates = [...]string{policy.StateActive, policy.StateMaintenance, policy.StateQuarantined}

// tableKinds are the kinds of subject, for a role of which the data do not say.
var tableKinds = [...]string{policy.KindUser, policy.KindService, policy.KindVendor, policy.KindDevice}

// dicomService is one line of what DICOM can be asked for. Its operations are decided by what
// they are, not only by their class.
type dicomService struct {
	name, from, operation string
	class                 policy.Class
	sopClass              string
}

var dicomServices = [...]dicomService{
	{"association", FromClient, "dicom:A-ASSOCIATE", policy.ClassSession, ""},
	{"echo", FromClient, "dicom:C-ECHO", policy.ClassSession, "1.2.840.10008.1.1"},
	{"find", FromClient, "dicom:C-FIND", policy.ClassQuery, "1.2.840.10008.5.1.4.1.2.2.1"},
	{"worklist", FromClient, "dicom:C-FIND", policy.ClassQuery, "1.2.840.10008.5.1.4.31"},
	{"move", FromClient, "dicom:C-MOVE", policy.ClassRead, "1.2.840.10008.5.1.4.1.2.2.2"},
	{"get", FromClient, "dicom:C-GET", policy.ClassRead, "1.2.840.10008.5.1.4.1.2.2.3"},
	{"store", FromClient, "dicom:C-STORE", policy.ClassWrite, "1.2.840.10008.5.1.4.1.1.2"},
	{"commit", FromClient, "dicom:N-ACTION", policy.ClassWrite, "1.2.840.10008.1.20.1"},
	{"mpps", FromClient, "dicom:N-CREATE", policy.ClassWrite, "1.2.840.10008.3.1.2.3.3"},
	{"print", FromClient, "dicom:N-CREATE", policy.ClassWrite, "1.2.840.10008.5.1.1.1"},
	{"get", FromDevice, "dicom:C-STORE", policy.ClassWrite, "1.2.840.10008.5.1.4.1.1.2"}, // its images
	{"commit", FromDevice, "dicom:N-EVENT-REPORT", policy.ClassNotify, "1.2.840.10008.1.20.1"},
	{"print", FromDevice, "dicom:N-EVENT-REPORT", policy.ClassNotify, "1.2.840.10008.5.1.1.16"},
	{"moved", FromCallOut, "dicom:C-STORE", policy.ClassWrite, "1.2.840.10008.5.1.4.1.1.2"}, // because somebody was allowed a move
}

// listedServices are what dicom_services may list.
func listedServices() (names []string) {
	for _, s := range dicomServices {
		if s.class != policy.ClassSession && !slices.Contains(names, s.name) {
			names = append(names, s.name)
		}
	}
	return names
}

// Vocabulary returns the roles and device classes that the data speak of, in the tables of the
// shipped policy: kinds, roles and maintenance. A policy with other tables is asked about what
// the caller adds.
func (e *Engine) Vocabulary() Vocabulary {
	document, _ := readData(e.folder.data) // it was read when e was made
	v := Vocabulary{Roles: map[string][]string{}}
	kinds, _ := document["kinds"].(map[string]any)
	for role, kind := range kinds {
		if s, ok := kind.(string); ok {
			v.Roles[role] = []string{s}
		}
	}
	devices := map[string]bool{"*": true}
	for _, name := range []string{"roles", "maintenance"} {
		rows, _ := document[name].(map[string]any)
		for role, row := range rows {
			if v.Roles[role] == nil {
				v.Roles[role] = tableKinds[:]
			}
			classes, _ := row.(map[string]any)
			for class := range classes {
				devices[class] = true
			}
		}
	}
	v.Devices = slices.Sorted(maps.Keys(devices))
	return v
}

// With returns what is in v or in w.
func (v Vocabulary) With(w Vocabulary) Vocabulary {
	sum := Vocabulary{maps.Clone(v.Roles), slices.Concat(v.Devices, w.Devices)}
	for role, kinds := range w.Roles {
		all := slices.Concat(sum.Roles[role], kinds)
		slices.Sort(all)
		sum.Roles[role] = slices.Compact(all)
	}
	slices.Sort(sum.Devices)
	sum.Devices = slices.Compact(sum.Devices)
	return sum
}

// Table asks the policy about every role × class of device × protocol × direction × operation ×
// state of v, on all processors, and returns the answers in that order. The subject has AE titles of its own, and
// the device neither profile nor labels; what rules make of those, or of an operation's other
// facts, is not in the table. A question without a clear answer within 10 s
// is an error.
func (e *Engine) Table(ctx context.Context, v Vocabulary) ([]Cell, error) {
	titled, err := e.titled()
	if err != nil {
		return nil, err
	}
	var asked []cellQuestion
	for _, role := range slices.Sorted(maps.Keys(v.Roles)) {
		for _, kind := range v.Roles[role] {
			for _, device := range v.Devices {
				for _, from := range []string{FromClient, FromDevice, FromCallOut} {
					if from == FromCallOut && kind != policy.KindDevice {
						continue
					}
					for _, c := range questions(from) {
						c.Role, c.Kind, c.Device, c.From = role, kind, device, from
						asked = append(asked, c)
					}
				}
			}
		}
	}
	cells := make([]Cell, len(asked))
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var working sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		working.Go(func() {
			for failed.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(asked) {
					return
				}
				if err := titled.fill(ctx, &asked[i]); err != nil {
					failed.CompareAndSwap(nil, &err)
				}
				cells[i] = asked[i].Cell
			}
		})
	}
	working.Wait()
	if err := failed.Load(); err != nil {
		return nil, *err
	}
	return cells, nil
}

// exampleTitle is the AE title of the subject that a table is asked for.
const exampleTitle = "EXAMPLE"

// titled returns e with AE titles for the table's subjects, if its data have such a list.
func (e *Engine) titled() (*Engine, error) {
	document, _ := readData(e.folder.data)
	bound, ok := document["ae_titles"].(map[string]any)
	if !ok {
		return e.withData(document)
	}
	bound = maps.Clone(bound)
	for _, kind := range tableKinds {
		bound[kind+"/example"] = []any{exampleTitle}
	}
	document["ae_titles"] = bound
	return e.withData(document)
}

// maxTried bounds one question about what would be. Nobody waits for it at a device, and a busy
// machine must not make it a refusal.
const maxTried = 10 * time.Second

// withData returns an engine with the rules of e over other facts. It has no data files of its
// own, and gives no reasons: it is for asking what would be, not for deciding.
func (e *Engine) withData(document map[string]any) (*Engine, error) {
	document = maps.Clone(document)
	document[accessName] = e.document[accessName]
	other := &Engine{folder: &folder{rules: e.folder.rules}, compiler: e.compiler, document: document, store: newStore(document), limit: maxTried, revision: e.revision}
	var err error
	if other.verdict, err = other.questionOf(e.verdict.text, e.verdict.key); err != nil {
		return nil, fmt.Errorf("prepare policy: %w", err)
	}
	return other, nil
}

// unhurried returns e as it is asked about what would be.
func (e *Engine) unhurried() *Engine {
	return &Engine{folder: e.folder, compiler: e.compiler, document: e.document, store: e.store, verdict: e.verdict, reason: e.reason, limit: maxTried, revision: e.revision, data: e.data}
}

// cellQuestion is a cell together with what is asked for it.
type cellQuestion struct {
	Cell
	operation policy.Operation
}

// questions returns the cells of one row, without the row's own facts.
func questions(from string) (list []cellQuestion) {
	for _, protocol := range tableProtocols {
		if from != FromDevice {
			list = append(list, cellQuestion{Cell: Cell{Protocol: protocol, Operation: string(policy.PhaseConnect)}})
		}
		if protocol == "dicom" {
			for _, s := range dicomServices {
				// What a device calls out for it asks as a client would.
				if s.from != from && (from != FromCallOut || s.from != FromClient) {
					continue
				}
				o := policy.Operation{Name: s.operation, Class: s.class}
				o.Attributes.Set("calling_ae", exampleTitle)
				o.Attributes.Set("called_ae", "DEVICE")
				if s.sopClass != "" {
					o.Attributes.Set("sop_class_uid", s.sopClass)
				}
				switch {
				case s.name == "commit" && s.from == FromDevice: // because somebody was allowed to ask for it
					o.Attributes.Set(policy.Because, exampleTitle)
					o.Attributes.Set(policy.Origin, policy.OriginAllowed)
				case s.name == "move":
					o.Attributes.Set("move_destination", exampleTitle)
				case s.name == "moved":
					o.Attributes.Set(policy.Because, exampleTitle)
					o.Attributes.Set(policy.Origin, policy.OriginAllowed)
				}
				list = append(list, cellQuestion{Cell{Protocol: protocol, Operation: s.name}, o})
			}
			continue
		}
		for _, class := range policy.Classes {
			list = append(list, cellQuestion{Cell{Protocol: protocol, Operation: string(class)}, policy.Operation{Name: protocol + ":any", Class: class}})
		}
	}
	return list
}

// fill asks for a cell in every state.
func (e *Engine) fill(ctx context.Context, c *cellQuestion) error {
	r := policy.Request{
		Phase:     policy.PhaseOperation,
		Subject:   policy.Subject{ID: "example", Kind: c.Kind, Roles: []string{c.Role}, Groups: []string{}},
		Device:    policy.Device{ID: "a-device", Class: classOf(c.Device), Labels: map[string]string{}},
		Service:   policy.Service{Name: "example", Protocol: c.Protocol},
		Session:   policy.Session{ID: "example", Direction: policy.Inbound, Client: "192.0.2.1", TLS: "1.3"},
		Operation: c.operation,
		NowNs:     1,
	}
	if c.operation.Name == "" {
		r.Phase = policy.PhaseConnect
	}
	switch c.From {
	case FromDevice:
		r.Session.Direction = policy.Outbound
	case FromCallOut:
		r.Session.Direction, r.Device.ID = policy.Outbound, r.Subject.ID
	}
	c.States = []string{}
	for _, state := range tableStates {
		r.Device.State = state
		d := e.Decide(ctx, &r)
		if d.Cause == policy.CauseDoubt {
			return fmt.Errorf("ask whether role %s may %s on %s in state %s: %s", c.Role, c.Operation, c.Device, state, d.Reason)
		}
		if d.Allow {
			c.States = append(c.States, state)
		}
	}
	return nil
}

// classOf returns a class of device that only this pattern meets.
func classOf(pattern string) string {
	switch above, wild := strings.CutSuffix(pattern, "*"); {
	case pattern == "*":
		return "other/example"
	case wild:
		return above + "example"
	}
	return pattern
}

// CellChange is a field of the truth table that two policies fill differently.
type CellChange struct {
	Cell
	Before []string `json:"states_before"`
}

// DiffTables tells in which cells b differs from a, about all that either speaks of.
func DiffTables(ctx context.Context, a, b *Engine) ([]CellChange, error) {
	all := a.Vocabulary().With(b.Vocabulary())
	before, err := a.Table(ctx, all)
	if err != nil {
		return nil, err
	}
	after, err := b.Table(ctx, all)
	if err != nil {
		return nil, err
	}
	changed := []CellChange{}
	for i, c := range after {
		if !slices.Equal(c.States, before[i].States) {
			changed = append(changed, CellChange{c, before[i].States})
		}
	}
	return changed, nil
}

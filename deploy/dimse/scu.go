package dimse

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
)

// Limits of what an answer to C-FIND may hold.
const (
	maxMatches = 1024
	maxMatch   = 64 << 10 // bytes of each
)

// Answer is how a peer answered: the final response of an operation.
type Answer struct {
	Status  uint16
	Comment string // (0000,0902), in which a refusal says why

	// Sub-operations of C-MOVE and C-GET.
	Completed, Failed uint16
}

func (a Answer) String() string {
	if a.Comment == "" {
		return fmt.Sprintf("%04X", a.Status)
	}
	return fmt.Sprintf("%04X %s", a.Status, a.Comment)
}

// Stored is an object that arrived: how long its data set is, as it was sent, and the
// digest of that.
type Stored struct {
	SOPClass, SOPInstance, TransferSyntax string
	Size                                  int64
	SHA256                                [sha256.Size]byte
}

// Echo asks whether the peer is there. Verification must have been proposed.
func (a *Association) Echo() (Answer, error) {
	return a.ask("C-ECHO", operation{field: cEcho, class: Verification})
}

// Store sends an object.
func (a *Association) Store(o Object) (Answer, error) {
	return a.ask("C-STORE", operation{field: cStore, class: o.SOPClass, instance: o.SOPInstance, data: o.data})
}

// Find asks for what matches keys, and returns at most 1024 data sets, each as it was sent.
func (a *Association) Find(sopClass string, keys DataSet) ([][]byte, Answer, error) {
	var matches [][]byte
	answer, err := a.ask("C-FIND", operation{field: cFind, class: sopClass, data: keys.data, pending: func(b []byte) error {
		if len(matches) == maxMatches {
			return fmt.Errorf("more than %d matches", maxMatches)
		}
		matches = append(matches, b)
		return nil
	}})
	return matches, answer, err
}

// Move asks the peer to send what matches keys to an AE title.
func (a *Association) Move(sopClass, destination string, keys DataSet) (Answer, error) {
	return a.ask("C-MOVE", operation{field: cMove, class: sopClass, destination: destination, data: keys.data})
}

// Get asks the peer to store what matches keys on this association, and calls stored, if
// not nil, for each object. Its SOP classes must be among the Roles of the Request.
func (a *Association) Get(sopClass string, keys DataSet, stored func(Stored)) (Answer, error) {
	return a.ask("C-GET", operation{field: cGet, class: sopClass, data: keys.data, stored: stored})
}

// Create makes an instance of a normalized SOP class, such as a performed procedure step.
func (a *Association) Create(sopClass, instance string, attributes DataSet) (Answer, error) {
	return a.ask("N-CREATE", operation{field: nCreate, class: sopClass, instance: instance, data: attributes.data})
}

// Set changes an instance of a normalized SOP class.
func (a *Association) Set(sopClass, instance string, attributes DataSet) (Answer, error) {
	return a.ask("N-SET", operation{field: nSet, class: sopClass, instance: instance, data: attributes.data})
}

// Release ends the association in order.
func (a *Association) Release() error {
	if err := a.write(pduReleaseRQ, make([]byte, 4)); err != nil {
		return fmt.Errorf("release the association: %w", err)
	}
	kind, length, err := a.header()
	if err == nil && kind != pduReleaseRP {
		err = a.unexpected(kind, length)
	}
	if err == nil {
		_, err = a.short(kind, length)
	}
	if err != nil {
		return fmt.Errorf("release the association: %w", err)
	}
	return nil
}

// Abort ends the association at once, whatever it is in the middle of.
func (a *Association) Abort() error { return a.write(pduAbort, make([]byte, 4)) }

// operation is a request.
type operation struct {
	field                        uint16
	class, instance, destination string
	data                         func(syntax string) io.Reader
	pending                      func(match []byte) error
	stored                       func(Stored)
}

func (d DataSet) data(syntax string) io.Reader { return bytes.NewReader(d.encode(syntax)) }

// ask sends a request and reads responses up to the final one.
func (a *Association) ask(name string, op operation) (Answer, error) {
	answer, err := a.exchange(op)
	if err != nil {
		return Answer{}, fmt.Errorf("%s: %w", name, err)
	}
	return answer, nil
}

func (a *Association) exchange(op operation) (Answer, error) {
	in, err := a.context(op.class)
	if err != nil {
		return Answer{}, err
	}
	a.message++
	id := a.message
	var data io.Reader
	if op.data != nil {
		data = op.data(in.syntax)
	}
	if err := a.send(in, op.command(id), data); err != nil {
		return Answer{}, err
	}
	for {
		c, r, err := a.receive()
		if err != nil {
			return Answer{}, err
		}
		if r.number(commandField) == cStore && op.field == cGet {
			if err := a.take(c, r, op.stored); err != nil {
				return Answer{}, err
			}
			continue
		}
		if c.id != in.id || r.number(commandField) != op.field|response || r.number(respondedTo) != id || len(r[statusElement]) != 2 {
			return Answer{}, fmt.Errorf("message %04X to %d is no answer to message %d", r.number(commandField), r.number(respondedTo), id)
		}
		var match bytes.Buffer
		if r.hasData() {
			if _, err := a.receiveData(c, &atMost{maxMatch, &match}); err != nil {
				return Answer{}, err
			}
		}
		status := r.number(statusElement)
		if status&0xFF00 != Pending { // FF00 and FF01
			return Answer{status, r.text(errorComment), r.number(completedCount), r.number(failedCount)}, nil
		}
		if op.pending != nil && r.hasData() {
			if err := op.pending(match.Bytes()); err != nil {
				return Answer{}, err
			}
		}
	}
}

func (op operation) command(id uint16) command {
	c := command{}
	class, instance := uint16(affectedClass), uint16(affectedInstance)
	if op.field == nSet {
		class, instance = requestedClass, requestedInstance
	}
	c.setNumber(commandField, op.field)
	c.setNumber(messageID, id)
	c.setText(class, op.class)
	c.setText(instance, op.instance)
	c.setText(moveDestination, op.destination)
	c.setNumber(dataSetType, noDataSet)
	if op.data != nil {
		c.setNumber(dataSetType, hasDataSet)
	}
	if op.field == cStore || op.field == cFind || op.field == cMove || op.field == cGet {
		c.setNumber(priority, 0)
	}
	return c
}

// take receives the object of a C-STORE request and says that it is stored.
func (a *Association) take(in presentation, request command, stored func(Stored)) error {
	if !request.hasData() {
		return errors.New("a C-STORE request without a data set")
	}
	object := Stored{SOPClass: request.text(affectedClass), SOPInstance: request.text(affectedInstance), TransferSyntax: in.syntax}
	var err error
	if stored == nil {
		object.Size, err = a.receiveData(in, io.Discard)
	} else {
		sum := sha256.New()
		object.Size, err = a.receiveData(in, sum)
		sum.Sum(object.SHA256[:0])
	}
	if err != nil {
		return err
	}
	if stored != nil {
		stored(object)
	}
	return a.send(in, answerTo(request, Success), nil)
}

// atMost writes no more than left bytes.
type atMost struct {
	left int
	w    io.Writer
}

func (m *atMost) Write(b []byte) (int, error) {
	if m.left -= len(b); m.left < 0 {
		return 0, fmt.Errorf("a data set in an answer of more than %d bytes", maxMatch)
	}
	return m.w.Write(b)
}

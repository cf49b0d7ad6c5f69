package dimse

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const patience = time.Minute

// serve lets s serve on loopback and returns where. What Serve says of a connection goes to
// said, if it is not nil.
func serve(t *testing.T, s *SCP, said chan<- error) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan bool)
	t.Cleanup(func() { l.Close(); <-ended })
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(patience))
				err := s.Serve(c)
				if said != nil {
					said <- err
				}
			}()
		}
	}()
	return l.Addr().String()
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { c.Close() })
	return c
}

var everyClass = []string{Verification, CTImageStorage, StudyRootFind, StudyRootMove, StudyRootGet, PerformedProcedureStep}

// digest is what arrives of an object.
func digest(o Object, syntax string) Stored {
	sum := sha256.New()
	n, _ := io.Copy(sum, o.data(syntax))
	s := Stored{SOPClass: o.SOPClass, SOPInstance: o.SOPInstance, TransferSyntax: syntax, Size: n}
	sum.Sum(s.SHA256[:0])
	return s
}

// TestServices does every operation in both transfer syntaxes, with PDUs that hold a
// message whole and that cut it.
func TestServices(t *testing.T) {
	held := []Object{CTImage("1.2.3", "100123", 0), CTImage("1.2.4", "100124", 70_000)}
	for _, syntax := range []string{ImplicitVRLittleEndian, ExplicitVRLittleEndian} {
		for _, pdu := range []uint32{minPDU, 4097, 16 << 10, maxPDU} {
			t.Run(fmt.Sprintf("%s in %d", syntax, pdu), func(t *testing.T) {
				arrived := make(chan Stored, 8)
				said := make(chan error, 1)
				address := serve(t, &SCP{AETitle: "PACS-1", MaxPDU: pdu, Objects: held, Stored: func(s Stored) { arrived <- s }}, said)
				a, err := Associate(dial(t, address), Request{
					CalledAE: "PACS-1", CallingAE: "CT-2", SOPClasses: everyClass, MaxPDU: maxPDU,
					TransferSyntaxes: []string{syntax}, Roles: []string{CTImageStorage},
				})
				if err != nil {
					t.Fatal(err)
				}
				finds := func() (Answer, error) {
					matches, answer, err := a.Find(StudyRootFind, StudyKeys("100123"))
					if want := held[0].head().encode(syntax); len(matches) != 2 || !bytes.Equal(matches[0], want) {
						t.Errorf("C-FIND: %d matches, the first one %q, want 2, %q", len(matches), matches, want)
					}
					return answer, err
				}
				var got []Stored
				for _, act := range []struct {
					name string
					do   func() (Answer, error)
					want Answer
				}{
					{"C-ECHO", a.Echo, Answer{}},
					{"C-FIND", finds, Answer{}},
					{"C-MOVE", func() (Answer, error) { return a.Move(StudyRootMove, "KIM-WS", StudyKeys("100123")) }, Answer{Completed: 2}},
					{"C-GET", func() (Answer, error) {
						return a.Get(StudyRootGet, StudyKeys("100123"), func(s Stored) { got = append(got, s) })
					}, Answer{Completed: 2}},
					{"N-CREATE", func() (Answer, error) {
						return a.Create(PerformedProcedureStep, "1.2.5", DataSet{{0x00400252, "CS", "IN PROGRESS"}})
					}, Answer{}},
					{"N-SET", func() (Answer, error) {
						return a.Set(PerformedProcedureStep, "1.2.5", DataSet{{0x00400252, "CS", "COMPLETED"}})
					}, Answer{}},
				} {
					if answer, err := act.do(); err != nil || answer != act.want {
						t.Errorf("%s: %+v, %v, want %+v", act.name, answer, err, act.want)
					}
				}
				if want := []Stored{digest(held[0], syntax), digest(held[1], syntax)}; !slices.Equal(got, want) {
					t.Errorf("C-GET stored %v, want %v", got, want)
				}
				// Sizes around a PDU's, to see the last fragment marked.
				for size := int64(pdu)/2*2 - 300; size <= int64(pdu)+4; size += 2 {
					if pdu > minPDU && size > int64(pdu)-290 {
						break
					}
					o := CTImage(fmt.Sprintf("1.2.6.%d", size), "100123", size)
					if answer, err := a.Store(o); err != nil || answer.Status != Success {
						t.Fatalf("C-STORE: %v, %v", answer, err)
					}
					if s, want := <-arrived, digest(o, syntax); s != want {
						t.Fatalf("%v arrived, want %v", s, want)
					}
				}
				if err := a.Release(); err != nil {
					t.Error(err)
				}
				if err := <-said; err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestNegotiation(t *testing.T) {
	address := serve(t, &SCP{AETitle: "PACS-1", SOPClasses: []string{Verification, StudyRootGet}, Objects: []Object{CTImage("1.2.3", "1", 0)}}, nil)

	_, err := Associate(dial(t, address), Request{CalledAE: "PACS-2", CallingAE: "CT-2", SOPClasses: everyClass})
	no, rejected := errors.AsType[*Rejection](err)
	if !rejected || *no != (Rejection{1, 1, 7}) || !strings.Contains(err.Error(), "called AE title not recognized") {
		t.Errorf("called by another name: %v", err)
	}
	a, err := Associate(dial(t, address), Request{CalledAE: "PACS-1", CallingAE: "CT-2", SOPClasses: everyClass})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Store(CTImage("1.2.3", "100123", 0)); err == nil || !strings.Contains(err.Error(), CTImageStorage) {
		t.Errorf("a SOP class that was not accepted: %v", err)
	}
	if answer, err := a.Get(StudyRootGet, StudyKeys(""), nil); err != nil || answer != (Answer{Status: subOperationsFailed, Failed: 1}) {
		t.Errorf("C-GET without a role: %v, %v", answer, err)
	}
	if answer, err := a.Echo(); err != nil || answer.Status != Success {
		t.Errorf("C-ECHO: %v, %v", answer, err)
	}
	a, err = Associate(dial(t, address), Request{CalledAE: "PACS-1", SOPClasses: everyClass, TransferSyntaxes: []string{"1.2.840.10008.1.2.4.50"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Echo(); err == nil {
		t.Error("a transfer syntax that this package does not speak was accepted")
	}
	for _, r := range []Request{
		{CalledAE: "AN AE TITLE OF 17"}, {CallingAE: "AN AE TITLE OF 17"}, {MaxPDU: minPDU - 1}, {MaxPDU: maxPDU + 1}, {SOPClasses: make([]string, 129)},
	} {
		if _, err := Associate(dial(t, address), r); err == nil {
			t.Errorf("%+v was proposed", r)
		}
	}
}

// refuse is a peer that accepts every association and answers every request but C-ECHO with
// a status and an error comment.
func refuse(c io.ReadWriter, status uint16, comment string) error {
	a, err := (&SCP{}).accept(c)
	for err == nil {
		var in presentation
		var request command
		if in, request, err = a.receive(); err != nil {
			break
		}
		if request.hasData() {
			if _, err = a.receiveData(in, io.Discard); err != nil {
				break
			}
		}
		answer := answerTo(request, status)
		answer.setText(errorComment, comment)
		err = a.send(in, answer, nil)
	}
	return err
}

func TestRefusal(t *testing.T) {
	client, device := net.Pipe()
	ended := make(chan error)
	go func() { ended <- refuse(device, NotAuthorized, "not permitted 7QF-21") }()
	a, err := Associate(client, Request{SOPClasses: everyClass})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the association goes on
		answer, err := a.Store(CTImage("1.2.3", "100123", 100_000))
		if err != nil || answer.Status != NotAuthorized || answer.Comment != "not permitted 7QF-21" {
			t.Errorf("C-STORE: %v, %v", answer, err)
		}
		matches, answer, err := a.Find(StudyRootFind, StudyKeys("1"))
		if err != nil || len(matches) > 0 || answer.String() != "0124 not permitted 7QF-21" {
			t.Errorf("C-FIND: %d matches, %v, %v", len(matches), answer, err)
		}
	}
	if err := a.Abort(); err != nil {
		t.Error(err)
	}
	if _, aborted := errors.AsType[*Abort](<-ended); !aborted {
		t.Error("the device knows nothing of the abort")
	}
}

func TestCrowd(t *testing.T) {
	address := serve(t, &SCP{AETitle: "PACS-1"}, nil)
	ctx, enough := context.WithCancel(t.Context())
	var visits atomic.Int64
	reach := func(ctx context.Context) (net.Conn, error) {
		if visits.Add(1) == 200 {
			enough()
		}
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}
	welcome := Request{CalledAE: "PACS-1", CallingAE: "CT-2", SOPClasses: everyClass}
	echo := Act{"C-ECHO", (*Association).Echo, Success}
	store := Act{"C-STORE", func(a *Association) (Answer, error) { return a.Store(CTImage("1.2.3", "100123", 100_000)) }, Success}
	got := Crowd(ctx, 20, []Visitor{
		{"welcome", reach, welcome, []Act{echo, store, echo}},
		{"stranger", reach, Request{CalledAE: "PACS-2"}, nil},
	})
	if got.Associations < 50 || got.Rejections < 50 || got.Operations != 3*got.Associations || got.Wrong > 0 || got.Errors != nil {
		t.Errorf("%+v", got)
	}

	// And every way to be wrong.
	got = Crowd(ctx, 4, []Visitor{
		{"rejected", reach, Request{CalledAE: "PACS-2"}, []Act{echo}},
		{"not rejected", reach, welcome, nil},
		{"status", reach, welcome, []Act{echo, {"C-ECHO", (*Association).Echo, NotAuthorized}}},
		{"not reached", func(context.Context) (net.Conn, error) { return nil, errors.New("no way") }, welcome, nil},
	})
	slices.Sort(got.Errors)
	want := []string{
		"not reached: no way",
		"not rejected: not rejected: <nil>",
		`rejected: associate with "PACS-2": association rejected (1/1/7): called AE title not recognized`,
		"status: C-ECHO: 0000, want 0124",
	}
	if got.Wrong != 4 || got.Operations != 1 || !slices.Equal(got.Errors, want) {
		t.Errorf("%+v", got)
	}
}

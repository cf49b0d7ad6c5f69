package dimse

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Visitor is one kind of client in a crowd.
type Visitor struct {
	Name    string
	Dial    func(context.Context) (net.Conn, error)
	Request Request
	Acts    []Act // done one after the other on each association; nil: it must be rejected
}

// Act is an operation and the status it must end with.
type Act struct {
	Name string
	Do   func(*Association) (Answer, error)
	Want uint16
}

// Outcome is what a crowd saw.
type Outcome struct {
	Associations, Rejections, Operations int // that ended as they must

	Wrong  int      // that did not
	Errors []string // the first ones of those
}

const (
	crowdPatience = 30 * time.Second // for one association
	maxErrors     = 20
)

// Crowd keeps size associations open until ctx is done, the visitors in turn, and waits
// for the last of them to end. An association begun is carried through, and each visitor
// comes at least once if size is at least their number.
func Crowd(ctx context.Context, size int, visitors []Visitor) Outcome {
	var mu sync.Mutex
	var all Outcome
	var wg sync.WaitGroup
	for i := range size {
		wg.Go(func() {
			for n := i; n == i || ctx.Err() == nil; n++ {
				v := &visitors[n%len(visitors)]
				operations, err := v.visit(context.WithoutCancel(ctx))
				mu.Lock()
				all.add(v, operations, err)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return all
}

func (o *Outcome) add(v *Visitor, operations int, err error) {
	o.Operations += operations
	switch {
	case err != nil:
		if o.Wrong++; len(o.Errors) < maxErrors {
			o.Errors = append(o.Errors, v.Name+": "+err.Error())
		}
	case v.Acts == nil:
		o.Rejections++
	default:
		o.Associations++
	}
}

// visit is one association. It returns how many operations ended as they must, and how
// the first thing ended that did not.
func (v *Visitor) visit(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, crowdPatience)
	defer cancel()
	c, err := v.Dial(ctx)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	until, _ := ctx.Deadline()
	c.SetDeadline(until)
	a, err := Associate(c, v.Request)
	if v.Acts == nil {
		if _, rejected := errors.AsType[*Rejection](err); !rejected {
			return 0, fmt.Errorf("not rejected: %v", err)
		}
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	for i, act := range v.Acts {
		answer, err := act.Do(a)
		if err != nil {
			return i, fmt.Errorf("%s: %w", act.Name, err)
		}
		if answer.Status != act.Want {
			return i, fmt.Errorf("%s: %v, want %04X", act.Name, answer, act.Want)
		}
	}
	return len(v.Acts), a.Release()
}

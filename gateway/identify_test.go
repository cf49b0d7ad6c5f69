package gateway

import (
	"testing"
	"time"

	"cordon/plugins/sdk"
)

// Strangers cannot fill the log; how many were left out is known.
func TestStrangersAreRationed(t *testing.T) {
	var s strangers
	now := time.Now()
	made := 0
	for range 1000 {
		if _, ok := s.allow(now); ok {
			made++
		}
	}
	if made != strangerBurst {
		t.Errorf("%d entries at once, want %d", made, strangerBurst)
	}
	left, ok := s.allow(now.Add(time.Second))
	if !ok || left != int64(1000-strangerBurst) {
		t.Errorf("a second later: %v, %d left out, want %d", ok, left, 1000-strangerBurst)
	}
	for range 1000 {
		if _, ok := s.allow(now.Add(time.Second)); ok {
			made++
		}
	}
	if made != strangerBurst+strangerRate-1 {
		t.Errorf("%d entries after a second, want %d", made, strangerBurst+strangerRate-1)
	}
}

// Operations are remembered for as long as a step may name them, and no longer.
func TestOperations(t *testing.T) {
	var o operations
	for op := uint64(1); op <= 3*sdk.MaxOpen; op++ {
		o.add(op, opState(1+op%3))
		for back := range uint64(sdk.MaxOpen + 3) {
			want := opUnknown
			if back < op && back < sdk.MaxOpen {
				want = opState(1 + (op-back)%3)
			}
			if got := o.state(op - back); back <= op && got != want {
				t.Fatalf("after %d, operation %d is %d, want %d", op, op-back, got, want)
			}
		}
		if o.state(op+1) != opUnknown {
			t.Fatalf("operation %d is known before it was announced", op+1)
		}
	}
	if len(o.states) != sdk.MaxOpen {
		t.Errorf("%d states are kept, want %d", len(o.states), sdk.MaxOpen)
	}
}

// One that is kept is remembered for longer, and others are not because of it.
func TestKeptOperations(t *testing.T) {
	var o operations
	for op := uint64(1); op <= sdk.MaxKept+1; op++ {
		o.add(op, opAllowed)
		if kept := o.keep(op); kept != (op <= sdk.MaxKept) {
			t.Errorf("operation %d is kept: %v", op, kept)
		}
	}
	if o.keep(0) || o.keep(o.latest+1) {
		t.Error("an operation that was not announced is kept")
	}
	for op := o.latest + 1; op < 3*sdk.MaxOpen; op++ {
		o.add(op, opAllowed)
	}
	o.set(1, opOwed)
	o.done(2)
	for op, want := range []opState{opUnknown, opOwed, opUnknown, opAllowed, sdk.MaxKept: opAllowed, sdk.MaxKept + 1: opUnknown} {
		if got := o.state(uint64(op)); (op < 4 || op >= sdk.MaxKept) && got != want {
			t.Errorf("operation %d is %d, want %d", op, got, want)
		}
	}
	o.done(1)
	if !o.keep(o.latest) {
		t.Error("no other operation takes the place of one that is done")
	}
}

package gateway

import "cordon/plugins/sdk"

// operations remembers what became of the latest operations of one direction, and of older
// ones that are kept.
type operations struct {
	latest uint64
	states []opState // by number modulo its length, a power of two that grows to MaxOpen
	kept   map[uint64]opState
}

type opState uint8

const (
	opUnknown opState = iota
	opAllowed
	opOwed    // refused, and the asker has not been told
	opRefused // refused, and the asker has been told
)

func (o *operations) add(op uint64, state opState) {
	if n := len(o.states); n < sdk.MaxOpen && int(op) >= n {
		o.states = append(o.states, make([]opState, max(4, n))...) // numbers below n keep their place
	}
	o.latest = op
	o.states[int(op%uint64(len(o.states)))] = state
}

// at is where the state of op is, or nil if it is among the latest no more.
func (o *operations) at(op uint64) *opState {
	if op == 0 || op > o.latest || o.latest-op >= uint64(len(o.states)) {
		return nil
	}
	return &o.states[int(op%uint64(len(o.states)))]
}

func (o *operations) state(op uint64) opState {
	if state, kept := o.kept[op]; kept {
		return state
	}
	if at := o.at(op); at != nil {
		return *at
	}
	return opUnknown
}

func (o *operations) set(op uint64, state opState) {
	if _, kept := o.kept[op]; kept {
		o.kept[op] = state
	}
	if at := o.at(op); at != nil {
		*at = state
	}
}

// keep reports whether op is kept now.
func (o *operations) keep(op uint64) bool {
	at := o.at(op)
	if at == nil || len(o.kept) >= sdk.MaxKept {
		return false
	}
	if o.kept == nil {
		o.kept = map[uint64]opState{}
	}
	o.kept[op] = *at
	return true
}

func (o *operations) done(op uint64) { delete(o.kept, op) }

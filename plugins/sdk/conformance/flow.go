package conformance

import (
	"cordon/plugins/sdk"
)

// flow is one direction of a session in the gateway. Offsets count its bytes from 0:
// moved bytes are passed on or dropped, covered ones belong to a span, and covered may be
// ahead of what has arrived.
type flow struct {
	mode    sdk.Mode
	bytes   []byte // all that has arrived
	moved   int64
	covered int64
	parts   []part   // what covers the bytes from 0 on
	inserts []insert // refusals waiting for their place
	owed    int      // refusals still to be inserted; an observed flow is held meanwhile
	over    bool     // nothing more moves but refusals
	out     []byte
}

// part says whose the bytes up to end are.
type part struct {
	end int64
	op  sdk.OpID
}

type insert struct {
	at    int64
	bytes []byte
}

func (f *flow) arrived() int64 { return int64(len(f.bytes)) }

// room is how many bytes the window can still take.
func (f *flow) room() int { return sdk.WindowSize - int(f.arrived()-min(f.moved, f.covered)) }

// uncovered is what an inspector must be shown.
func (f *flow) uncovered() []byte {
	return f.bytes[min(f.covered, f.arrived()):]
}

func (f *flow) cover(op sdk.OpID, n int64) {
	f.covered += n
	if last := len(f.parts) - 1; last >= 0 && f.parts[last].op == op {
		f.parts[last].end = f.covered
		return
	}
	f.parts = append(f.parts, part{f.covered, op})
}

// insert gives a refusal its place.
func (f *flow) insert(at int64, b []byte) {
	f.inserts = append(f.inserts, insert{at, b})
}

// move passes on, drops and inserts what can be, in order.
func (f *flow) move(dropped func(sdk.OpID) bool) {
	for {
		for len(f.inserts) > 0 && f.inserts[0].at <= f.moved {
			f.out = append(f.out, f.inserts[0].bytes...)
			f.inserts = f.inserts[1:]
			f.owed--
		}
		end := f.arrived()
		if f.mode == sdk.Held || f.owed > 0 {
			end = min(end, f.covered)
		}
		if len(f.inserts) > 0 {
			end = min(end, f.inserts[0].at)
		}
		drop := false
		if p := f.part(f.moved); p != nil {
			end, drop = min(end, p.end), dropped(p.op)
		}
		if f.over || end <= f.moved {
			return
		}
		if !drop {
			f.out = append(f.out, f.bytes[f.moved:end]...)
		}
		f.moved = end
	}
}

// part returns what covers the byte at an offset, or nil.
func (f *flow) part(at int64) *part {
	for i := len(f.parts) - 1; i >= 0; i-- {
		if f.parts[i].end <= at {
			if i+1 < len(f.parts) {
				return &f.parts[i+1]
			}
			return nil
		}
	}
	if len(f.parts) > 0 {
		return &f.parts[0]
	}
	return nil
}

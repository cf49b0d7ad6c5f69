// Package timing counts how long things took, at the price of two atomic additions for each: for what
// happens with every operation. Whoever wants to know takes a Snapshot.
//
// It defends nothing, and knows nothing of whoever reads it.
package timing

import (
	"sync/atomic"
	"time"
)

// bounds are the upper bounds of the buckets, the last one's aside: from a decision out of the cache to
// a disk that has stalled.
var bounds = [...]time.Duration{
	time.Microsecond, 5 * time.Microsecond, 10 * time.Microsecond, 25 * time.Microsecond, 50 * time.Microsecond,
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond,
}

// Clock is a time that never steps: since the process began. It costs half of time.Now.
func Clock() time.Duration { return time.Since(began) }

var began = time.Now()

// Histogram counts durations by buckets. The zero Histogram is empty. It may be used concurrently.
type Histogram struct {
	counts [len(bounds) + 1]atomic.Uint64
	sum    atomic.Int64 // ns
}

// Observe counts d.
func (h *Histogram) Observe(d time.Duration) {
	i := 0
	for i < len(bounds) && d > bounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

// Snapshot is what a Histogram held at a moment.
type Snapshot struct {
	Count   uint64             // of all durations
	Sum     float64            // of all durations, in seconds
	Buckets map[float64]uint64 // how many took at most so many seconds; each contains the smaller ones
}

// Snapshot returns what h holds. What is observed meanwhile may be in Count and not in Sum.
func (h *Histogram) Snapshot() Snapshot {
	s := Snapshot{Buckets: make(map[float64]uint64, len(bounds))}
	for i, b := range bounds {
		s.Count += h.counts[i].Load()
		s.Buckets[b.Seconds()] = s.Count
	}
	s.Count += h.counts[len(bounds)].Load()
	s.Sum = time.Duration(h.sum.Load()).Seconds()
	return s
}

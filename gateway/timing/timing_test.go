package timing

import (
	"sync"
	"testing"
	"time"
)

func TestHistogram(t *testing.T) {
	var h Histogram
	for _, d := range []time.Duration{0, time.Microsecond, 2 * time.Microsecond, time.Second, time.Second + 1, time.Hour} {
		h.Observe(d)
	}
	s := h.Snapshot()
	for bound, want := range map[float64]uint64{1e-6: 2, 5e-6: 3, 0.5: 3, 1: 4, 2.5: 5} {
		if got := s.Buckets[bound]; got != want {
			t.Errorf("%d took at most %v s, want %d", got, bound, want)
		}
	}
	if s.Count != 6 || s.Sum < 3602 || s.Sum > 3603 || len(s.Buckets) != len(bounds) {
		t.Errorf("%d durations of %v s in %d buckets", s.Count, s.Sum, len(s.Buckets))
	}
}

func TestBoundsRise(t *testing.T) {
	for i := 1; i < len(bounds); i++ {
		if bounds[i] <= bounds[i-1] {
			t.Errorf("bound %v behind %v", bounds[i], bounds[i-1])
		}
	}
}

func TestConcurrent(t *testing.T) {
	var h Histogram
	var observing sync.WaitGroup
	for range 4 {
		observing.Go(func() {
			for range 1000 {
				h.Observe(time.Millisecond)
			}
		})
	}
	observing.Wait()
	if s := h.Snapshot(); s.Count != 4000 || s.Sum < 3.99 || s.Sum > 4.01 {
		t.Errorf("%d durations of %v s", s.Count, s.Sum)
	}
}

func BenchmarkObserve(b *testing.B) {
	var h Histogram
	for b.Loop() {
		h.Observe(70 * time.Microsecond)
	}
}

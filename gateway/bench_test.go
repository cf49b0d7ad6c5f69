package gateway

import (
	"strings"
	"testing"
	"time"
)

// BenchmarkOperation is one small operation through the whole path, client and device
// included, for profiles; deploy/bench compares.
func BenchmarkOperation(b *testing.B) {
	for _, connections := range []int{1, 32} {
		b.Run(map[int]string{1: "alone", 32: "of 32"}[connections], func(b *testing.B) {
			w := newWard(b, wardConfig{})
			message := "op " + strings.Repeat("x", 1000) + "\n"
			b.SetParallelism(connections)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				c := w.dial()
				c.SetDeadline(time.Now().Add(5 * time.Minute))
				for pb.Next() {
					c.send(message)
					c.line()
				}
			})
		})
	}
}

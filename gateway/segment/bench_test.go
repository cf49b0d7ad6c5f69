package segment

import (
	"context"
	"fmt"
	"testing"
)

func BenchmarkSetup(b *testing.B) {
	w := newWorld(b)
	for b.Loop() {
		w.setup()
		b.StopTimer()
		if err := w.local.Teardown(context.Background(), w.plan); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func BenchmarkSetupAgain(b *testing.B) {
	w := newWorld(b)
	w.setup()
	for b.Loop() {
		w.setup()
	}
}

func BenchmarkFindings(b *testing.B) {
	w := newWorld(b)
	w.setup()
	for b.Loop() {
		w.findings()
	}
}

func BenchmarkDial(b *testing.B) {
	w := newWorld(b)
	w.setup()
	w.echo(w.device, "tcp4", fmt.Sprintf("10.9.0.7:%d", servicePort))
	s := New(w.local, w.plan)
	for b.Loop() {
		c, err := s.Dial(context.Background(), ap(deviceAddr, servicePort))
		if err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
}

package audit

import (
	"context"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime is what the process has used, user and system.
func cpuTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkEncode is an entry's cost without the disk.
func BenchmarkEncode(b *testing.B) {
	l := openTest(b, Config{})
	e := sampleEntry()
	b.ReportAllocs()
	cpu := cpuTime(b)
	for b.Loop() {
		l.mu.Lock()
		if _, err := l.enqueue(&e); err != nil {
			b.Fatal(err)
		}
		l.spare = *l.pending // as after a commit
		l.pending = nil
		l.mu.Unlock()
	}
	b.ReportMetric(float64(cpuTime(b)-cpu)/1e3/float64(b.N), "cpu-µs/op")
}

func BenchmarkCode(b *testing.B) {
	l := openTest(b, Config{})
	b.ReportAllocs()
	i := int64(0)
	for b.Loop() {
		l.codes.code(i)
		i++
	}
}

// BenchmarkAppend appends from one goroutine and from 32, without Config.Prompt and with
// it, beside a bare write and fdatasync of as many bytes.
func BenchmarkAppend(b *testing.B) {
	for _, bench := range []struct {
		name   string
		n      int
		prompt time.Duration
	}{{"lone", 1, 0}, {"lone/prompt", 1, time.Second}, {"32", 32, 0}, {"32/prompt", 32, time.Second}} {
		b.Run(bench.name, func(b *testing.B) {
			d := &countingDisk{}
			l := openTest(b, Config{disk: d, Prompt: bench.prompt})
			ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
			defer cancel()
			measure(b, bench.n, func() {
				if _, err := l.Append(ctx, sampleEntry()); err != nil {
					b.Error(err)
				}
			})
			b.ReportMetric(float64(d.syncs.Load())/float64(b.N), "syncs/op")
		})
	}
	b.Run("bare", func(b *testing.B) {
		dir := b.TempDir()
		s, err := createSegment(osDisk{}, dir, "bare", 1, 0, 64<<20)
		if err != nil {
			b.Fatal(err)
		}
		defer s.f.Close()
		e := sampleEntry()
		line := sealLine(e.appendJSON(make([]byte, lineHead)), 0)
		measure(b, 1, func() {
			if !s.fits(len(line)) {
				s.end = 0
			}
			if err := s.write(line); err != nil {
				b.Error(err)
			}
		})
	})
}

// countingDisk counts syncs of files.
type countingDisk struct {
	osDisk
	syncs atomic.Int64
}

type countingFile struct {
	file
	d *countingDisk
}

func (d *countingDisk) OpenFile(name string, flag int, perm fs.FileMode) (file, error) {
	f, err := d.osDisk.OpenFile(name, flag, perm)
	return countingFile{f, d}, err
}

func (f countingFile) Sync() error { f.d.syncs.Add(1); return f.file.Sync() }

func measure(b *testing.B, n int, work func()) {
	took := make([][]time.Duration, n)
	b.ResetTimer()
	cpu := cpuTime(b)
	var wg sync.WaitGroup
	for g := range n {
		wg.Go(func() {
			for i := g; i < b.N; i += n {
				start := time.Now()
				work()
				took[g] = append(took[g], time.Since(start))
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(cpuTime(b)-cpu)/1e3/float64(b.N), "cpu-µs/op")
	all := slices.Sorted(slices.Values(slices.Concat(took...)))
	b.ReportMetric(float64(all[len(all)/2])/1e3, "p50-µs")
	b.ReportMetric(float64(all[len(all)*99/100])/1e3, "p99-µs")
}

// Command bench measures a gateway beside the least a TLS proxy can be: crypto/tls and
// io.Copy, which inspects nothing, decides nothing and records nothing. Both run as
// processes of their own, in turn, in one run, on loopback.
//
//	go run ./deploy/bench > figures.md
//
// Read main.go for what is measured, gateway.go and bare.go for the two that are, load.go
// and images.go for the clients and devices, proc.go for how CPU and memory are read.
//
// Compare the columns of one table only: machines differ, and other work on the same
// machine disturbs both columns alike. CPU time is user and system time of all processes
// of the proxy, which on loopback contains the kernel's work for both its connections.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
)

// proxy is one of the two that are measured.
type proxy struct {
	name   string
	hl7    string // addresses to connect to
	stream string
	dicom  string
	pids   func() []int
	stop   func()
}

// figure is one row: a value of each proxy and how it is compared.
type figure struct {
	name    string
	unit    string
	measure func(*bench, context.Context, *proxy) (float64, error)
	compare string // "difference" or "ratio"
	aim     string
}

type bench struct {
	world *world
	short time.Duration // one measurement of load
	idle  int           // sessions held
	bulk  int64         // bytes sent
}

func figures() []figure {
	return []figure{
		{"small operation, 1 connection, p50", "µs", (*bench).latency, "difference", "≤ +100 µs"},
		{"small operation, 1 connection, CPU", "µs", func(b *bench, c context.Context, p *proxy) (float64, error) { return b.operationCPU(c, p, 1) }, "difference", ""},
		{"small operation, 32 connections, CPU", "µs", func(b *bench, c context.Context, p *proxy) (float64, error) { return b.operationCPU(c, p, 32) }, "difference", "≤ +12 µs"},
		{"stream to the device, CPU per GiB", "s", func(b *bench, c context.Context, p *proxy) (float64, error) { return b.streamCPU(c, p, true) }, "ratio", "≤ 1.0 ×"},
		{"stream to the client, CPU per GiB", "s", func(b *bench, c context.Context, p *proxy) (float64, error) { return b.streamCPU(c, p, false) }, "ratio", "≤ 1.0 ×"},
		{"DICOM C-ECHO, 1 connection, p50", "µs", (*bench).echoLatency, "difference", "≤ +100 µs"},
		{"DICOM C-ECHO, 32 connections, CPU", "µs", (*bench).echoCPU, "difference", "≤ +12 µs"},
		{"DICOM C-STORE, PDUs of 16 KiB, CPU per GiB", "s", func(b *bench, c context.Context, p *proxy) (float64, error) { return b.storeCPU(c, p, 16<<10) }, "ratio", "≤ 1.25 ×"},
		{"DICOM C-STORE, PDUs of 128 KiB, CPU per GiB", "s", func(b *bench, c context.Context, p *proxy) (float64, error) { return b.storeCPU(c, p, 128<<10) }, "ratio", "≤ 1.25 ×"},
		{"DICOM C-GET, PDUs of 16 KiB, CPU per GiB", "s", func(b *bench, c context.Context, p *proxy) (float64, error) { return b.getCPU(c, p, 16<<10) }, "ratio", ""},
		{"DICOM C-GET, PDUs of 128 KiB, CPU per GiB", "s", func(b *bench, c context.Context, p *proxy) (float64, error) { return b.getCPU(c, p, 128<<10) }, "ratio", ""},
		{"handshake, connect decision, record, CPU", "µs", (*bench).handshakeCPU, "ratio", "≤ 1.5 ×"},
		{"idle session, all processes", "KiB", (*bench).idleMemory, "difference", "≤ 24 KiB in all"},
	}
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "bare" {
		if err := runBare(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "bench bare:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	reps := flag.Int("reps", 3, "repetitions; the table shows medians")
	seconds := flag.Duration("for", 2*time.Second, "length of one measurement under load")
	idle := flag.Int("idle", 1000, "idle sessions held")
	only := flag.String("only", "", "only rows whose name contains this")
	flag.Parse()
	w, err := newWorld(ctx)
	if err != nil {
		return err
	}
	defer w.close()
	b := &bench{world: w, short: *seconds, idle: *idle, bulk: 512 << 20}

	rows := slices.DeleteFunc(figures(), func(f figure) bool { return !strings.Contains(f.name, *only) })
	values := make([][2][]float64, len(rows))
	for rep := range *reps {
		for i, f := range rows {
			for j, start := range []func(context.Context) (*proxy, error){w.startBare, w.startGateway} {
				p, err := start(ctx)
				if err != nil {
					return err
				}
				fmt.Fprintf(os.Stderr, "%d/%d %s: %s\n", rep+1, *reps, f.name, p.name)
				v, err := f.measure(b, ctx, p)
				p.stop()
				if err != nil {
					return fmt.Errorf("measure %s of %s: %w", f.name, p.name, err)
				}
				values[i][j] = append(values[i][j], v)
			}
		}
	}
	fmt.Println("| | bare | cordon | compared | to reach |")
	fmt.Println("|---|---|---|---|---|")
	for i, f := range rows {
		bare, gw := median(values[i][0]), median(values[i][1])
		compared := fmt.Sprintf("%.2f ×", gw/bare)
		if f.compare == "difference" {
			compared = fmt.Sprintf("%+.1f %s", gw-bare, f.unit)
		}
		fmt.Printf("| %s | %.3g %s | %.3g %s | %s | %s |\n", f.name, bare, f.unit, gw, f.unit, compared, f.aim)
	}
	if *only == "" {
		cached, uncached, err := decisionCost(w.dir)
		if err != nil {
			return err
		}
		fmt.Printf("| decision, cached / evaluated | | %.2f / %.1f µs | | ≤ 1 / 40 µs |\n", cached, uncached)
	}
	return nil
}

func median(v []float64) float64 {
	slices.Sort(v)
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

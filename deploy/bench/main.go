// Command bench measures a gateway beside the least a TLS proxy can be: crypto/tls and
// io.Copy, which inspects nothing, decides nothing and records nothing; and for HTTP beside
// what a site would take today: nginx, alone and asking an OPA server about every request.
// All run as processes of their own, in turn, in one run, on loopback.
//
//	go run ./deploy/bench > figures.md
//	go run ./deploy/bench -decisions        # the policy alone, beside an OPA server
//
// Read main.go for what is measured, report.go for how it is compared, gateway.go, bare.go and today.go for those that are,
// small.go, load.go and images.go for the clients and devices, decisions.go for the policy alone, proc.go
// for how CPU and memory are read.
//
// Compare the columns of one table only: machines differ, and other work on the same
// machine disturbs all columns alike. CPU time is user and system time of all processes
// of the proxy, plugins and OPA included, which on loopback contains the kernel's work for
// all its connections.
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

// proxy is one of those that are measured.
type proxy struct {
	name    string
	address map[string]string // to connect to, by protocol
	pids    func() []int
	stop    func()
}

type measure func(*bench, context.Context, *proxy) (float64, error)

// figure is one row: a value of each proxy and how it is compared.
type figure struct {
	name    string
	unit    string
	measure measure
	compare string // "difference" or "ratio"; "today": a difference, and nginx is measured, too
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
		{"small operation, 1 connection, p50", "µs", latencyOf(hl7, 1), "difference", "≤ +100 µs"},
		{"small operation, 1 connection, CPU", "µs", cpuOf(hl7, 1), "difference", ""},
		{"small operation, 32 connections, CPU", "µs", cpuOf(hl7, 32), "difference", "≤ +12 µs"},
		{"modbus read, 1 connection, p50", "µs", latencyOf(modbus, 1), "difference", "≤ +100 µs"},
		{"modbus read, 1 connection, CPU", "µs", cpuOf(modbus, 1), "difference", ""},
		{"modbus read, 32 connections, p50", "µs", latencyOf(modbus, 32), "difference", ""},
		{"modbus read, 32 connections, CPU", "µs", cpuOf(modbus, 32), "difference", "≤ +12 µs"},
		{"http get 1 KiB, 1 connection, p50", "µs", latencyOf(web, 1), "today", "≤ +100 µs"},
		{"http get 1 KiB, 1 connection, CPU", "µs", cpuOf(web, 1), "today", ""},
		{"http get 1 KiB, 32 connections, p50", "µs", latencyOf(web, 32), "today", ""},
		{"http get 1 KiB, 32 connections, CPU", "µs", cpuOf(web, 32), "today", "≤ +12 µs"},
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
	decide := flag.Bool("decisions", false, "measure decisions alone, beside an OPA server that is asked over loopback")
	flag.Parse()
	if *decide {
		return decisions(ctx, *seconds)
	}
	w, err := newWorld(ctx)
	if err != nil {
		return err
	}
	defer w.close()
	b := &bench{world: w, short: *seconds, idle: *idle, bulk: 512 << 20}

	rows := slices.DeleteFunc(figures(), func(f figure) bool { return !strings.Contains(f.name, *only) })
	var missing error // what is not there to measure today's way
	if slices.ContainsFunc(rows, func(f figure) bool { return f.compare == "today" }) {
		missing = w.prepareToday(ctx)
	}
	medians, err := b.measureAll(ctx, rows, *reps, missing == nil)
	if err != nil {
		return err
	}
	printBesideBare(rows, medians)
	if *only == "" {
		cached, uncached, err := decisionCost(w.dir)
		if err != nil {
			return err
		}
		fmt.Printf("| decision, cached / evaluated | | %.2f / %.1f µs | | ≤ 1 / 40 µs |\n", cached, uncached)
	}
	if missing != nil {
		fmt.Println("\nnginx and OPA are not measured:", missing)
		return nil
	}
	printBesideToday(rows, medians)
	return nil
}

// measureAll measures every row of every proxy in turn, reps times, and returns the medians
// of each row by the proxy's name.
func (b *bench) measureAll(ctx context.Context, rows []figure, reps int, today bool) ([]map[string]float64, error) {
	samples := make([]map[string][]float64, len(rows))
	for rep := range reps {
		for i, f := range rows {
			starts := []func(context.Context) (*proxy, error){b.world.startBare, b.world.startGateway}
			if today && f.compare == "today" {
				starts = append(starts, b.world.startNginx, b.world.startNginxOPA)
			}
			if samples[i] == nil {
				samples[i] = map[string][]float64{}
			}
			for _, start := range starts {
				p, err := start(ctx)
				if err != nil {
					return nil, err
				}
				fmt.Fprintf(os.Stderr, "%d/%d %s: %s\n", rep+1, reps, f.name, p.name)
				v, err := f.measure(b, ctx, p)
				p.stop()
				if err != nil {
					return nil, fmt.Errorf("measure %s of %s: %w", f.name, p.name, err)
				}
				samples[i][p.name] = append(samples[i][p.name], v)
			}
		}
	}
	medians := make([]map[string]float64, len(rows))
	for i := range samples {
		medians[i] = map[string]float64{}
		for name, v := range samples[i] {
			medians[i][name] = median(v)
		}
	}
	return medians, nil
}

func median(v []float64) float64 {
	slices.Sort(v)
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

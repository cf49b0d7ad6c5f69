package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"cordon/policy"
	"cordon/policy/rego"
)

// A hospital: everybody may ask about every device. The shipped policy decides, with an AE
// title for everybody. A ward asks the same questions again and again; all of the hospital
// together asks half a million different ones, which is more than the cache holds.
const (
	users, devices         = 1000, 500
	wardUsers, wardDevices = 50, 20
)

// decisions compares one decision of the policy in the gateway, remembered and evaluated, with
// asking an OPA server over loopback, which has the same rules and data. All three are asked
// the same questions, and must answer alike.
func decisions(ctx context.Context, length time.Duration) error {
	dir, err := os.MkdirTemp("", "cordon-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	folder := filepath.Join(dir, "policy")
	if err := writeHospital(folder); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "building the OPA server")
	if err := installOPA(ctx, dir); err != nil {
		return err
	}
	server, address := exec.CommandContext(ctx, filepath.Join(dir, "opa"), "run", "--server", "--log-level", "error", "--skip-version-check"), freeAddress()
	server.Args = append(server.Args, "--addr", address)
	rules, err := filepath.Glob(filepath.Join(folder, "*.rego"))
	if err != nil {
		return err
	}
	rules = slices.DeleteFunc(rules, func(file string) bool { return strings.HasSuffix(file, "_test.rego") })
	server.Args = append(append(server.Args, rules...), filepath.Join(folder, "data.yaml"))
	stop, err := startAt(ctx, server, address)
	if err != nil {
		return err
	}
	defer stop()

	inWard := func(r *rand.Rand) *policy.Request { return hospital(r.IntN(wardUsers), r.IntN(wardDevices)) }
	anybody := func(r *rand.Rand) *policy.Request { return hospital(r.IntN(users), r.IntN(devices)) }
	warm, err := rego.Load(folder)
	if err != nil {
		return err
	}
	for u := range wardUsers {
		for d := range wardDevices {
			warm.Decide(ctx, hospital(u, d))
		}
	}
	cold, err := rego.Load(folder)
	if err != nil {
		return err
	}
	opa := &opaServer{url: "http://" + address + "/v1/data/cordon/allow", client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: 10 * time.Second}}
	if err := agree(ctx, cold, opa, anybody); err != nil {
		return err
	}
	fmt.Printf("| one decision of the shipped policy, %d users × %d devices | p50 | p99 | CPU | with 16 asking, p50 |\n|---|---|---|---|---|\n", users, devices)
	for _, row := range []struct {
		name string
		ask  func(context.Context, *policy.Request) (bool, error)
		draw func(*rand.Rand) *policy.Request
		pids []int
	}{
		{"cordon, asked before", decided(warm), inWard, nil},
		{"cordon, evaluated", decided(cold), anybody, nil},
		{"OPA server over loopback", opa.ask, anybody, []int{server.Process.Pid}},
	} {
		one, err := timed(ctx, 1, length, row.ask, drawn(1, row.draw), row.pids)
		if err != nil {
			return err
		}
		many, err := timed(ctx, 16, length, row.ask, drawn(2, row.draw), row.pids)
		if err != nil {
			return err
		}
		fmt.Printf("| %s | %s | %s | %s | %s |\n", row.name, amount(one.p50, "µs"), amount(one.p99, "µs"), amount(one.cpu, "µs"), amount(many.p50, "µs"))
	}
	return allAtOnce(ctx, folder)
}

// writeHospital writes the shipped policy, with AE titles.
func writeHospital(folder string) error {
	if err := rego.WriteShipped(folder); err != nil {
		return err
	}
	file := filepath.Join(folder, "data.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var titles strings.Builder
	titles.WriteString("ae_titles:\n")
	for u := range users {
		fmt.Fprintf(&titles, "  user/u-%d: [WS-%d]\n", u, u)
	}
	edited := strings.Replace(string(text), "ae_titles: {}\n", titles.String(), 1)
	if edited == string(text) {
		return fmt.Errorf("edit %s: it has no empty ae_titles", file)
	}
	return os.WriteFile(file, []byte(edited), 0o644)
}

// hospital is what user u asks of device d.
func hospital(u, d int) *policy.Request {
	roles := [...]string{"physician", "nurse", "radiologist", "biomed"}
	r := &policy.Request{
		Phase:   policy.PhaseOperation,
		Subject: policy.Subject{ID: fmt.Sprintf("u-%d", u), Kind: policy.KindUser, Roles: []string{roles[u%len(roles)]}, Groups: []string{fmt.Sprintf("ward-%d", u%40)}, MFA: true},
		Device:  policy.Device{ID: fmt.Sprintf("d-%d", d), Class: "monitor/bedside", Labels: map[string]string{"ward": fmt.Sprint(d % 40)}, State: policy.StateActive},
		Service: policy.Service{Name: "results", Protocol: "hl7"},
		Session: policy.Session{ID: "s-1", Direction: policy.Inbound, Client: "10.1.2.3", TLS: "1.3"},
		NowNs:   time.Now().UnixNano(),
	}
	r.Operation = policy.Operation{Name: "hl7:QRY^A19", Class: policy.ClassQuery}
	if d%2 == 0 {
		r.Device.Class, r.Service.Protocol = "imaging/ct", "dicom"
		r.Operation = policy.Operation{Name: "dicom:C-FIND", Class: policy.ClassQuery}
		r.Operation.Attributes.Set("calling_ae", fmt.Sprintf("WS-%d", u))
		r.Operation.Attributes.Set("sop_class_uid", "1.2.840.10008.5.1.4.1.2.2.1")
	}
	return r
}

func decided(e *rego.Engine) func(context.Context, *policy.Request) (bool, error) {
	return func(ctx context.Context, r *policy.Request) (bool, error) {
		for {
			// On a busy machine a decision may not come in time, which the gateway refuses. Here
			// it counts with the time that it takes.
			d := e.Decide(ctx, r)
			if d.Cause == policy.CausePolicy || ctx.Err() != nil {
				return d.Allow, ctx.Err()
			}
		}
	}
}

// opaServer is an OPA server that is asked over HTTP.
type opaServer struct {
	url    string
	client *http.Client
}

func (s *opaServer) ask(ctx context.Context, r *policy.Request) (bool, error) {
	body := append(r.AppendJSON([]byte(`{"input":`)), '}')
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return false, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
	if err != nil {
		return false, err
	}
	var answer struct{ Result *bool }
	if err := json.Unmarshal(text, &answer); err != nil || answer.Result == nil {
		return false, fmt.Errorf("ask OPA: %s: %.200s (%w)", response.Status, text, err)
	}
	return *answer.Result, nil
}

// agree reports an error unless both answer alike, and neither always the same: else the
// figures would be those of different things.
func agree(ctx context.Context, e *rego.Engine, opa *opaServer, draw func(*rand.Rand) *policy.Request) error {
	rnd, allowed := rand.New(rand.NewPCG(1, 1)), 0
	const n = 500
	for range n {
		r := draw(rnd)
		ours, err := decided(e)(ctx, r)
		if err != nil {
			return err
		}
		theirs, err := opa.ask(ctx, r)
		if err != nil {
			return err
		}
		if ours != theirs {
			return fmt.Errorf("cordon answers %v and OPA %v to %s", ours, theirs, r.AppendJSON(nil))
		}
		if ours {
			allowed++
		}
	}
	if allowed == 0 || allowed == n {
		return fmt.Errorf("%d of %d questions are allowed", allowed, n)
	}
	return nil
}

// cost is what a decision costs, in µs.
type cost struct{ p50, p99, cpu float64 }

// drawn draws more questions than are asked in a few seconds, so that drawing costs nothing.
func drawn(seed uint64, draw func(*rand.Rand) *policy.Request) []*policy.Request {
	rnd, list := rand.New(rand.NewPCG(seed, seed)), make([]*policy.Request, 1<<16)
	for i := range list {
		list[i] = draw(rnd)
	}
	return list
}

// timed asks questions for a while, askers at a time. The CPU time is of this process and of pids.
func timed(ctx context.Context, askers int, length time.Duration, ask func(context.Context, *policy.Request) (bool, error), questions []*policy.Request, pids []int) (cost, error) {
	pids = append(slices.Clone(pids), os.Getpid())
	runtime.GC()
	before, err := cpuTime(pids)
	if err != nil {
		return cost{}, err
	}
	took := make([][]time.Duration, askers)
	failed := make(chan error, askers)
	var all sync.WaitGroup
	end := time.Now().Add(length)
	for i := range askers {
		all.Go(func() {
			for n := i * len(questions) / askers; ctx.Err() == nil; n++ {
				start := time.Now()
				if _, err := ask(ctx, questions[n%len(questions)]); err != nil {
					failed <- err
					return
				}
				now := time.Now()
				took[i] = append(took[i], now.Sub(start))
				if now.After(end) {
					return
				}
			}
		})
	}
	all.Wait()
	select {
	case err := <-failed:
		return cost{}, err
	default:
	}
	after, err := cpuTime(pids)
	if err != nil {
		return cost{}, err
	}
	sorted := slices.Concat(took...)
	slices.SortFunc(sorted, func(a, b time.Duration) int { return cmp.Compare(a, b) })
	if len(sorted) == 0 {
		return cost{}, context.Cause(ctx)
	}
	µs := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
	return cost{µs(sorted[len(sorted)/2]), µs(sorted[len(sorted)*99/100]), µs(after-before) / float64(len(sorted))}, nil
}

// allAtOnce asks everything there is to ask once, and says what the cache holds then.
func allAtOnce(ctx context.Context, folder string) error {
	e, err := rego.Load(folder)
	if err != nil {
		return err
	}
	before := heap()
	order := rand.New(rand.NewPCG(7, 7)).Perm(users * devices)
	var next atomic.Int64
	var all sync.WaitGroup
	start := time.Now()
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(order) {
					return
				}
				if i%50_000 == 0 {
					fmt.Fprintf(os.Stderr, "%d of %d combinations\n", i, len(order))
				}
				e.Decide(ctx, hospital(order[i]/devices, order[i]%devices))
			}
		})
	}
	all.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	took, s := time.Since(start), e.Stats()
	fmt.Printf("\nAll %d combinations asked once, on %d processors: %.0f s, %d evaluated, %d remembered meanwhile; the cache keeps %.1f MiB, whatever is asked.\n",
		len(order), runtime.GOMAXPROCS(0), took.Seconds(), s.Misses, s.Hits, float64(heap()-before)/(1<<20))
	runtime.KeepAlive(e)
	return nil
}

// heap is the memory in use, in bytes.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

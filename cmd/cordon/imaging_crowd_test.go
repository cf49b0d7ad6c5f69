package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cordon/cmd/cordon/exit"
	"cordon/deploy/dimse"
)

// tellCrowd keeps 200 associations of people who may and people who may not in parallel,
// for CORDON_SOAK (default 5s). Every answer is the right one, nothing refused arrives, and
// once they are gone the gateway and its plugin hold no more than before.
func tellCrowd(t *testing.T, cordon string) {
	soak := 5 * time.Second
	if v := os.Getenv("CORDON_SOAK"); v != "" {
		var err error
		if soak, err = time.ParseDuration(v); err != nil {
			t.Fatalf("CORDON_SOAK: %v", err)
		}
	}
	allowed, refused := dimse.CTImage("1.2.3.4.1", "100123", 64<<10), dimse.CTImage("1.2.3.4.2", "100124", 64<<10)
	device := startSCP(t, allowed)
	s := newArchive(t, cordon, device.port())
	s.configure(t, "sessions_per_source: 256", "sessions_per_source: 1024") // all come from one address
	d := s.serve(t)

	keys := dimse.StudyKeys("100123")
	echo := dimse.Act{Name: "echo", Do: (*dimse.Association).Echo}
	store := func(o dimse.Object, want uint16) dimse.Act {
		return dimse.Act{Name: "store", Want: want, Do: func(a *dimse.Association) (dimse.Answer, error) { return a.Store(o) }}
	}
	find := dimse.Act{Name: "find", Do: func(a *dimse.Association) (dimse.Answer, error) {
		matches, answer, err := a.Find(dimse.StudyRootFind, keys)
		if err == nil && len(matches) != 1 {
			err = fmt.Errorf("%d matches, want 1", len(matches))
		}
		return answer, err
	}}
	move := func(destination string, want uint16) dimse.Act {
		return dimse.Act{Name: "move to " + destination, Want: want, Do: func(a *dimse.Association) (dimse.Answer, error) {
			return a.Move(dimse.StudyRootMove, destination, keys)
		}}
	}
	get := func(want uint16) dimse.Act {
		return dimse.Act{Name: "get", Want: want, Do: func(a *dimse.Association) (dimse.Answer, error) {
			images := 0
			answer, err := a.Get(dimse.StudyRootGet, keys, func(dimse.Stored) { images++ })
			if err == nil && (images == 1) != (want == dimse.Success) {
				err = fmt.Errorf("%d images came with %v", images, answer)
			}
			return answer, err
		}}
	}
	visitor := func(badge, calling string, acts ...dimse.Act) dimse.Visitor {
		return dimse.Visitor{
			Name: badge + " as " + calling, Acts: acts,
			Dial: s.dialer(t, badge),
			Request: dimse.Request{CalledAE: "PACS", CallingAE: calling, MaxPDU: 32 << 10,
				SOPClasses: []string{dimse.Verification, dimse.CTImageStorage, dimse.StudyRootFind, dimse.StudyRootMove, dimse.StudyRootGet}, Roles: []string{dimse.CTImageStorage}},
		}
	}
	visitors := []dimse.Visitor{
		visitor("ct", "CT2", echo, store(allowed, dimse.Success), store(allowed, dimse.Success), find),
		visitor("kim", "KIM", find, move("KIM", dimse.Success), move("CT2", moveDestination), echo),
		visitor("fox", "FOX", store(refused, notAuthorized), get(dimse.Success), store(refused, notAuthorized), find),
		visitor("ct", "CT2", get(notAuthorized), move("CT2", notAuthorized), store(allowed, dimse.Success)),
		visitor("kim", "FOX"),
		visitor("nurse", "NURSE"),
	}
	const size = 200
	crowd := func(how time.Duration) dimse.Outcome {
		ctx, cancel := context.WithTimeout(t.Context(), how)
		defer cancel()
		return dimse.Crowd(ctx, size, visitors)
	}
	crowd(soak / 5) // windows are made as they are needed, and kept
	before := s.settled(t, d)
	got := crowd(soak)
	t.Logf("%d associations, %d rejections and %d operations as they must be in %v", got.Associations, got.Rejections, got.Operations, soak)
	if got.Wrong > 0 || got.Associations < size/2 || got.Rejections < size/4 {
		t.Errorf("%d were not: %s", got.Wrong, strings.Join(got.Errors, "\n"))
	}
	var after holdings
	if !eventually(func() bool { after = s.holdings(t, d); return after.within(before) }) {
		t.Errorf("before, the gateway held %v; afterwards %v", before, after)
	}
	if code := d.stop(t); code != exit.Done {
		t.Errorf("the gateway exited with %d", code)
	}
	device.mu.Lock()
	defer device.mu.Unlock()
	for _, o := range device.stored {
		if o.SOPInstance == refused.SOPInstance {
			t.Fatal("a refused image arrived")
		}
	}
}

// holdings is what processes hold, by name.
type holdings map[string]int

// within reports whether h is no more than before, but for some windows that a busier moment
// may have taken.
func (h holdings) within(before holdings) bool {
	for what, n := range h {
		slack := 0
		if strings.HasPrefix(what, "windows") {
			slack = before[what] / 2
		}
		if n > before[what]+slack {
			return false
		}
	}
	return true
}

// settled returns what the gateway and its plugin hold once nobody is connected.
func (s *site) settled(t *testing.T, d *running) holdings {
	t.Helper()
	var held, last holdings
	if !eventually(func() bool {
		held, last = s.holdings(t, d), held
		return held["sockets of clients"] == 0 && maps.Equal(held, last)
	}) {
		t.Errorf("clients are gone, and the gateway holds %v", held)
	}
	return held
}

func (s *site) holdings(t *testing.T, d *running) holdings {
	t.Helper()
	_, port, _ := net.SplitHostPort(s.listen)
	held := holdings{"sockets of clients": len(connections(port, established))}
	for name, pid := range map[string]int{"the gateway": d.cmd.Process.Pid, "the plugin": children(t, d.cmd.Process.Pid)[0]} {
		descriptors, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range descriptors {
			target, _ := os.Readlink(link)
			kind, _, _ := strings.Cut(target, ":")
			if strings.Contains(target, "memfd:") {
				kind = "memfd"
			} else if strings.HasPrefix(target, "/") {
				kind = "file"
			}
			held["descriptors of "+name+", "+kind]++
		}
		maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
		if err != nil {
			t.Fatal(err)
		}
		held["windows of "+name] = strings.Count(string(maps), "memfd:")
	}
	return held
}

// dialer returns how a client with a certificate of the site connects to it.
func (s *site) dialer(t *testing.T, badge string) func(context.Context) (net.Conn, error) {
	t.Helper()
	d := tls.Dialer{Config: s.badge(t, badge)}
	return func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, "tcp", s.listen) }
}

package audit

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const writerEnv = "CORDON_AUDIT_TEST_WRITER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(writerEnv); dir != "" {
		writeUntilKilled(dir)
	}
	os.Exit(m.Run())
}

// writeUntilKilled acknowledges entries on standard output.
func writeUntilKilled(dir string) {
	lim := small()
	lim.segmentSize, lim.chunk = 64<<10, 16<<10
	l, err := Open(Config{Dir: dir, Origin: "cordon.test/kill", limits: lim})
	if err != nil {
		fmt.Println("open:", err)
		os.Exit(1)
	}
	for g := range 4 {
		go func() {
			for n := 0; ; n++ {
				e := sampleEntry()
				e.Note = fmt.Sprint(os.Getpid(), "/", g, "/", n)
				if r, err := l.Append(context.Background(), e); err == nil {
					os.Stdout.WriteString(fmt.Sprintf("%d %s\n", r.Index, e.Note)) // one write: a line is whole or absent
				}
			}
		}()
	}
	select {}
}

func TestKill(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	acked := map[int64]string{}
	var trusted []byte
	torn := 0
	for range 40 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), writerEnv+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for first := true; lines.Scan(); first = false {
			if first {
				time.AfterFunc(time.Duration(rand.Int64N(int64(150*time.Millisecond))), func() { cmd.Process.Kill() })
			}
			n, note, _ := strings.Cut(lines.Text(), " ")
			index, err := strconv.ParseInt(n, 10, 64)
			if err != nil {
				t.Fatalf("the writer says: %s", lines.Text())
			}
			if was, twice := acked[index]; twice {
				t.Fatalf("index %d acknowledged for %q and %q", index, was, note)
			}
			acked[index] = note
		}
		cmd.Wait()
		rep := mustVerify(t, dir, trusted)
		if rep.Torn > 0 {
			torn++
		}
		if trusted, err = os.ReadFile(filepath.Join(dir, fileCheckpoint)); err != nil {
			t.Fatal(err)
		}
	}
	checkNotes(t, dir, acked)
	l := openTest(t, Config{Dir: dir, Origin: "cordon.test/kill"})
	mustClose(t, l)
	rep := mustVerify(t, dir, trusted)
	t.Logf("40 kills, %d of them within a write; %d entries acknowledged, %d in the log", torn, len(acked), rep.Size)
}

package main

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"cordon/cmd/cordon/keeper"
)

// Pauses before a helper that ended is started again, each twice the one before.
const (
	firstRestart = 100 * time.Millisecond
	lastRestart  = 10 * time.Second
	steadyHelper = time.Minute // of life, after which its end is a new story
)

// restartHelper runs the segment helper, and again whenever that ends, until ctx is done. It keeps
// the listening socket meanwhile, so that requests wait instead of failing. Behind "cordon run"
// nobody else can: that process has given up what a helper needs. It does nothing else, in order
// to be what does not die.
func (a *app) restartHelper(ctx context.Context) error {
	socket := os.NewFile(firstInherited, "segment socket")
	defer socket.Close()
	runtime.LockOSThread() // whose end would be the end of the helper, by Pdeathsig (prctl(2))
	defer runtime.UnlockOSThread()
	log := a.newLogger(a.stderr)
	for pause := firstRestart; ; pause = min(2*pause, lastRestart) {
		began := time.Now()
		h := a.helperProcess(ctx, socket)
		h.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
		h.Cancel = func() error { return h.Process.Signal(syscall.SIGTERM) }
		h.WaitDelay = keeper.Patience
		err := h.Run()
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(began) >= steadyHelper {
			pause = firstRestart
		}
		log.Error("segment helper ended, started again", "error", err, "in", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// helperProcess is a segment helper that answers on a listening socket.
func (a *app) helperProcess(ctx context.Context, socket *os.File, more ...string) *exec.Cmd {
	args := append([]string{"segment-helper", "-c", a.config()}, more...)
	if a.json {
		args = append(args, "--json")
	}
	h := exec.CommandContext(ctx, "/proc/self/exe", args...)
	h.Args[0] = os.Args[0]
	h.ExtraFiles, h.Stderr = []*os.File{socket}, os.Stderr
	return h
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"cordon/deploy/guest"
)

// serve runs what the host asks for, as many programs at a time as it asks for.
func serve() error {
	tty, err := os.OpenFile("/dev/ttyS1", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	if err := raw(tty); err != nil {
		return err
	}
	var mu sync.Mutex
	say := func(a guest.Answer) {
		text, _ := json.Marshal(a)
		mu.Lock()
		defer mu.Unlock()
		tty.WriteString(guest.Mark + string(text) + "\n") // if nobody listens, nobody cares
	}
	say(guest.Answer{})
	lines := bufio.NewScanner(tty)
	lines.Buffer(nil, 8<<20)
	for lines.Scan() {
		var r guest.Request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil || len(r.Run) == 0 {
			continue
		}
		go func() { o := run(r, say); say(guest.Answer{ID: r.ID, End: &o}) }()
	}
	return lines.Err()
}

// raw takes the line discipline away.
func raw(tty *os.File) error {
	t, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		return err
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	return unix.IoctlSetTermios(int(tty.Fd()), unix.TCSETS, t)
}

// most is how many bytes of each output are told.
const most = 1 << 20

func run(r guest.Request, say func(guest.Answer)) guest.Outcome {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.Seconds)*time.Second)
	defer cancel()
	c := exec.CommandContext(ctx, r.Run[0], r.Run[1:]...)
	c.Dir = "/"
	c.Stdin = strings.NewReader(r.Stdin)
	c.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return unix.Kill(-c.Process.Pid, unix.SIGKILL) }
	c.WaitDelay = time.Second
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	var told sync.WaitGroup
	if r.Lines {
		read, write, err := os.Pipe()
		if err != nil {
			return guest.Outcome{Code: -1, Stderr: err.Error()}
		}
		c.Stdout = write
		told.Go(func() {
			defer read.Close()
			for lines := bufio.NewScanner(read); lines.Scan(); {
				say(guest.Answer{ID: r.ID, Line: lines.Text()})
			}
		})
		defer told.Wait()
		defer write.Close()
	}
	err := c.Run()
	if c.ProcessState == nil {
		return guest.Outcome{Code: -1, Stderr: err.Error()}
	}
	if c.ProcessState.ExitCode() < 0 {
		fmt.Fprintf(&stderr, "%s: %v\n", r.Run[0], err) // by which signal it ended
	}
	return guest.Outcome{Code: c.ProcessState.ExitCode(), Stdout: cut(&stdout), Stderr: cut(&stderr)}
}

func cut(b *bytes.Buffer) string { return string(b.Bytes()[:min(b.Len(), most)]) }

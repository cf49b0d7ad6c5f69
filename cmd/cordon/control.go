package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// controlName is the socket in gateway.state over which a running gateway is asked for
// something. Whoever may write that directory can do everything.
const controlName = "control.sock"

// Bounds of the control socket. What is asked may take long; others are served meanwhile.
const (
	controlTimeout = 5 * time.Second // to ask, and to take the answer
	controlAtOnce  = 16              // requests
	maxControl     = 64 << 20        // bytes of a request: a policy of maxArchive
	maxAnswer      = 32 << 20        // bytes of an answer
)

// A request over the control socket is one line, the verb and, behind a space, what it is to
// be done with, in JSON. The answer is a controlAnswer on one line.
type controlAnswer struct {
	Done    any
	Refused []failure // why nothing was done
}

// verb does what one kind of request asks for. by is who asks, as the kernel says.
type verb func(ctx context.Context, by string, asked json.RawMessage) (any, error)

// control serves the control socket of a running gateway.
type control struct {
	verbs    map[string]verb
	log      *slog.Logger
	dir      *os.File // gateway.state, which the socket's address goes by
	listener *net.UnixListener
	stop     context.CancelFunc
	running  sync.WaitGroup
}

// listenControl serves verbs until close.
func listenControl(state string, verbs map[string]verb, log *slog.Logger) (*control, error) {
	address, dir, err := controlAddress(state)
	if err != nil {
		return nil, fmt.Errorf("listen for control: %w", err)
	}
	c := &control{verbs: verbs, log: log, dir: dir}
	// Nobody else listens: there is one writer of the audit log. What lies there was left by one
	// that was killed.
	if err = os.Remove(address); err == nil || errors.Is(err, fs.ErrNotExist) {
		if c.listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: address, Net: "unix"}); err == nil {
			err = os.Chmod(address, 0o600)
		}
	}
	if err != nil {
		if c.listener != nil {
			c.listener.Close()
		}
		dir.Close()
		return nil, fmt.Errorf("listen for control in %q: %w", state, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	c.running.Go(func() { c.serve(ctx) })
	return c, nil
}

// close breaks off what is being done and waits for it.
func (c *control) close() {
	c.stop()
	c.listener.Close() // and removes the socket
	c.running.Wait()
	c.dir.Close()
}

// controlAddress is the socket's address by way of an open directory: a socket's path may be
// 107 bytes long at most (unix(7)), and a directory's may be longer.
func controlAddress(state string) (address string, dir *os.File, err error) {
	dir, err = os.Open(state)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), controlName), dir, nil
}

func (c *control) serve(ctx context.Context) {
	slots := make(chan struct{}, controlAtOnce)
	for {
		conn, err := c.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			c.log.Warn("accept on the control socket", "error", err)
			time.Sleep(100 * time.Millisecond) // not to spin when files run out
			continue
		}
		slots <- struct{}{}
		c.running.Go(func() {
			defer func() { <-slots }()
			c.answer(ctx, conn)
		})
	}
}

// answer serves one request.
func (c *control) answer(ctx context.Context, conn *net.UnixConn) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(controlTimeout))
	line, err := bufio.NewReader(io.LimitReader(conn, maxControl)).ReadString('\n')
	name, asked, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
	do := c.verbs[name]
	if err != nil || do == nil {
		return
	}
	by, err := peerName(conn)
	if err != nil {
		c.log.Warn("identify who asks on the control socket", "error", err)
		return
	}
	var answer controlAnswer
	if answer.Done, err = do(ctx, by, json.RawMessage(asked)); err != nil {
		answer.Done, answer.Refused = nil, failures(err)
		for i := range answer.Refused {
			answer.Refused[i].Err = nil // an interface does not cross the socket, and the text is in Message
		}
	}
	conn.SetDeadline(time.Now().Add(controlTimeout))
	if err := json.NewEncoder(conn).Encode(answer); err != nil {
		c.log.Warn("answer on the control socket", "error", err)
	}
}

// peerName is the user at the other end, unix(7) SO_PEERCRED.
func peerName(conn *net.UnixConn) (string, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return "", err
	}
	var cred *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) {
		cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return "", err
	}
	if failed != nil {
		return "", failed
	}
	return userName(int(cred.Uid)), nil
}

// userName is the name of a user of this machine, "uid 1000" if it has none.
func userName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return fmt.Sprintf("uid %d", uid)
}

// errNoGateway says that no gateway runs with a state directory.
var errNoGateway = errors.New("no gateway runs")

// askGateway has the gateway whose state directory this is do something, and reads into done what it
// did. What it refuses is a failure; that none runs is errNoGateway.
func askGateway(ctx context.Context, state, verb string, asked, done any, timeout time.Duration) error {
	address, dir, err := controlAddress(state)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", errNoGateway, err)
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	c, err := (&net.Dialer{Timeout: controlTimeout}).DialContext(ctx, "unix", address)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
			return fmt.Errorf("%w: %w", errNoGateway, err)
		}
		return failure{Code: "control.unreachable", Message: "ask the gateway: " + err.Error(), Exit: exitUnreachable, Err: err, Try: []string{"run this as the user the gateway runs as"}}
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	c.SetDeadline(time.Now().Add(timeout))
	line := []byte(verb)
	if asked != nil {
		text, err := json.Marshal(asked)
		if err != nil {
			return err
		}
		line = append(append(line, ' '), text...)
	}
	if _, err := c.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("ask the gateway: %w", err)
	}
	var answer struct {
		Done    json.RawMessage
		Refused []failure
	}
	err = json.NewDecoder(bufio.NewReader(io.LimitReader(c, maxAnswer))).Decode(&answer)
	if err == nil && len(answer.Refused) == 0 {
		err = json.Unmarshal(answer.Done, done)
	}
	if err != nil {
		return failure{Code: "control.unanswered", Message: "the gateway did not answer", Exit: exitUnreachable, Err: err, Try: []string{"its log says what became of it"}}
	}
	if len(answer.Refused) == 0 {
		return nil
	}
	f := answer.Refused[0]
	for _, more := range answer.Refused[1:] {
		f.Try = append(f.Try, more.Message)
	}
	return f
}

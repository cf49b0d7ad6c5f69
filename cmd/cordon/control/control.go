// Package control is the socket over which a running gateway is asked for something: one line with a verb and
// JSON, and one line back. It tells the gateway who asks, as the kernel says, and trusts whoever may
// write gateway.state, as everything does.
package control

import (
	"bufio"
	"bytes"
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

	"cordon/cmd/cordon/exit"

	"golang.org/x/sys/unix"
)

// Name is the socket in gateway.state over which a running gateway is asked for
// something. Whoever may write that directory can do everything.
const Name = "control.sock"

// Bounds of the control socket. What is asked may take long; others are served meanwhile.
const (
	Timeout    = 5 * time.Second // to ask, and to take the answer
	atOnce     = 16              // requests
	maxRequest = 64 << 20        // bytes of a request: a policy of maxArchive
	maxAnswer  = 32 << 20        // bytes of an answer
)

// A request over the control socket is one line, the verb and, behind a space, what it is to
// be done with, in JSON. The answer is a answer on one line.
type answer struct {
	Done    any
	Refused []exit.Error // why nothing was done
	Moved   bool         // nothing was done: another process is the gateway now, which the same request reaches
}

// ErrMoved is what a verb returns when another process has taken over while it waited.
var ErrMoved = errors.New("another process of the gateway has taken over")

// Verb does what one kind of request asks for. by is who asks, as the kernel says.
type Verb func(ctx context.Context, by string, asked json.RawMessage) (any, error)

// Asked is a verb that reads what it is asked into a Q. What no Q has refuses the request: a newer command may mean
// something that this gateway would leave out.
func Asked[Q any](do func(ctx context.Context, by string, q *Q) (any, error)) Verb {
	return func(ctx context.Context, by string, asked json.RawMessage) (any, error) {
		q := new(Q)
		d := json.NewDecoder(bytes.NewReader(asked))
		d.DisallowUnknownFields()
		if err := d.Decode(q); err != nil {
			return nil, fmt.Errorf("read what is asked: %w", err)
		}
		return do(ctx, by, q)
	}
}

// Server serves the control socket of a running gateway, in the process that has the log.
type Server struct {
	log      *slog.Logger
	dir      *os.File // gateway.state, which the socket's address goes by
	Listener *net.UnixListener
	stop     context.CancelFunc
	running  sync.WaitGroup
}

// Listen opens the control socket, or takes over the one that is given. Requests wait until
// serve.
func Listen(state string, taken net.Listener, log *slog.Logger) (*Server, error) {
	address, dir, err := socketAddress(state)
	if err != nil {
		return nil, fmt.Errorf("listen for control: %w", err)
	}
	c := &Server{log: log, dir: dir}
	if taken != nil {
		c.Listener, _ = taken.(*net.UnixListener)
		if c.Listener == nil {
			err = fmt.Errorf("what was taken over is a %T", taken)
		}
	} else if err = os.Remove(address); err == nil || errors.Is(err, fs.ErrNotExist) {
		// Nobody else listens: there is one writer of the audit log. What lay there was left by one
		// that was killed.
		if c.Listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: address, Net: "unix"}); err == nil {
			err = os.Chmod(address, 0o600)
		}
	}
	if err != nil {
		if c.Listener != nil {
			c.Listener.Close()
		}
		dir.Close()
		return nil, fmt.Errorf("listen for control in %q: %w", state, err)
	}
	c.Listener.SetUnlinkOnClose(false) // its place may be another process's by then
	return c, nil
}

// Serve serves verbs until close or hush.
func (c *Server) Serve(verbs map[string]Verb) {
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	c.running.Go(func() { c.accept(ctx, verbs) })
}

// Hush leaves further requests to the process that has the socket too. Those that are being
// served go on.
func (c *Server) Hush() { c.Listener.Close() }

// Close breaks off what is being done and waits for it. last says that no other process has the
// socket.
func (c *Server) Close(last bool) {
	if last {
		os.Remove(fmt.Sprintf("/proc/self/fd/%d/%s", c.dir.Fd(), Name))
	}
	c.Listener.Close()
	if c.stop != nil {
		c.stop()
	}
	c.running.Wait()
	c.dir.Close()
}

// socketAddress is the socket's address by way of an open directory: a socket's path may be
// 107 bytes long at most (unix(7)), and a directory's may be longer.
func socketAddress(state string) (address string, dir *os.File, err error) {
	dir, err = os.Open(state)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), Name), dir, nil
}

func (c *Server) accept(ctx context.Context, verbs map[string]Verb) {
	slots := make(chan struct{}, atOnce)
	for {
		conn, err := c.Listener.AcceptUnix()
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
			c.answer(ctx, conn, verbs)
		})
	}
}

// answer serves one request.
func (c *Server) answer(ctx context.Context, conn *net.UnixConn, verbs map[string]Verb) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(Timeout))
	line, err := bufio.NewReader(io.LimitReader(conn, maxRequest)).ReadString('\n')
	name, asked, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
	do := verbs[name]
	if err != nil || do == nil {
		return
	}
	by, err := peerName(conn)
	if err != nil {
		c.log.Warn("identify who asks on the control socket", "error", err)
		return
	}
	var reply answer
	if reply.Done, err = do(ctx, by, json.RawMessage(asked)); errors.Is(err, ErrMoved) {
		reply = answer{Moved: true}
	} else if err != nil {
		reply = answer{Refused: Crossing(err)}
	}
	conn.SetDeadline(time.Now().Add(Timeout))
	if err := json.NewEncoder(conn).Encode(reply); err != nil {
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
	return UserName(int(cred.Uid)), nil
}

// UserName is the name of a user of this machine, "uid 1000" if it has none.
func UserName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return fmt.Sprintf("uid %d", uid)
}

// ErrNoGateway says that no gateway runs with a state directory.
var ErrNoGateway = errors.New("no gateway runs")

// Ask has the gateway whose state directory this is do something, and reads into done what it
// did. What it refuses is a failure; that none runs is ErrNoGateway.
func Ask(ctx context.Context, state, verb string, asked, done any, timeout time.Duration) error {
	for {
		err := askProcess(ctx, state, verb, asked, done, timeout)
		if !errors.Is(err, ErrMoved) || ctx.Err() != nil {
			return err
		} // and each time a process has taken over meanwhile
	}
}

// askProcess asks the process that has the control socket; ErrMoved: it has passed it on since.
func askProcess(ctx context.Context, state, verb string, asked, done any, timeout time.Duration) error {
	address, dir, err := socketAddress(state)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrNoGateway, err)
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	c, err := (&net.Dialer{Timeout: Timeout}).DialContext(ctx, "unix", address)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
			return fmt.Errorf("%w: %w", ErrNoGateway, err)
		}
		return exit.Error{Code: "control.unreachable", Message: "ask the gateway: " + err.Error(), Exit: exit.Unreachable, Err: err, Try: []string{"run this as the user the gateway runs as"}}
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
		Refused []exit.Error
		Moved   bool
	}
	err = json.NewDecoder(bufio.NewReader(io.LimitReader(c, maxAnswer))).Decode(&answer)
	if err == nil && answer.Moved {
		return ErrMoved
	}
	if err == nil && len(answer.Refused) == 0 {
		err = json.Unmarshal(answer.Done, done)
	}
	if err != nil {
		return exit.Error{Code: "control.unanswered", Message: "the gateway did not answer", Exit: exit.Unreachable, Err: err, Try: []string{"its log says what became of it"}}
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

// Crossing is err as another process is told it.
func Crossing(err error) []exit.Error {
	list := exit.Errors(err)
	for i := range list {
		list[i].Err = nil // an interface does not cross a socket, and the text is in Message
	}
	return list
}

// Operator is who runs this command.
func Operator() string { return UserName(os.Getuid()) }

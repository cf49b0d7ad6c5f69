package plugins

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc/status"

	"cordon/plugins/control"
	"cordon/plugins/sdk"
	"cordon/plugins/wire"
)

// Config describes one plugin.
type Config struct {
	Protocol   string            // the name the plugin must describe itself with
	Command    []string          // program and arguments; default: this very program with "plugin", Protocol
	SHA256     string            // which the program must have, in hexadecimal; "": it is not checked
	Services   map[uint32][]byte // number → settings, a JSON object each
	RuntimeDir string            // for the control socket; default os.TempDir()
	Windows    int               // most windows at a time, of sdk.WindowSize each; default 512
	Patience   time.Duration     // longest silence while an answer is owed; default 2 s
	Logger     *slog.Logger      // default slog.Default()

	// Ended is told that the plugin's process has ended although it was wanted, how often that was
	// since New, and how long it takes until the next one is started; nil: nobody is. It must return
	// at once.
	Ended func(cause error, times int, pause time.Duration)
}

func (c Config) withDefaults() Config {
	if len(c.Command) == 0 {
		// Not by path: the file may have been replaced since this process started, and
		// its directory may be closed to the plugin's user.
		c.Command = []string{"/proc/self/exe", "plugin", c.Protocol}
	}
	if c.RuntimeDir == "" {
		c.RuntimeDir = os.TempDir()
	}
	if c.Windows == 0 {
		c.Windows = 512
	}
	if c.Patience == 0 {
		c.Patience = 2 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// Measure is one measure of confinement.
type Measure struct {
	Name    string `json:"name"`
	Applied bool   `json:"applied"`
	Detail  string `json:"detail,omitempty"`
}

// startTimeout bounds a process's start up to its description; configureTimeout one
// service's configuration.
const (
	startTimeout     = 10 * time.Second
	configureTimeout = 5 * time.Second
)

// What a description may hold.
const (
	maxVersion  = 128 // bytes
	maxMeasures = 64
)

// launch starts the plugin's process and configures its services. The calling goroutine
// must be locked to its thread and stay so while the process lives: the parent-death
// signal is sent when that thread ends.
func launch(ctx context.Context, c Config) (*process, error) {
	p, err := launchConfined(ctx, c, true)
	if err == nil || !errors.Is(err, errNoStart) {
		return p, err
	}
	// The kernel or the site forbids namespaces to us. The plugin still locks itself in
	// from the inside; what is missing is in its measures.
	p, second := launchConfined(ctx, c, false)
	if second != nil {
		return nil, err
	}
	for i := range p.measures {
		if m := &p.measures[i]; !m.Applied && m.Detail == "" {
			m.Detail = strings.TrimPrefix(err.Error(), errNoStart.Error()+": ")
		}
	}
	return p, nil
}

// errNoStart marks a process that could not be started at all, as opposed to one that
// started and misbehaved or was ended: that is no reason to confine the next one less.
var errNoStart = errors.New("start")

func launchConfined(ctx context.Context, c Config, namespaces bool) (*process, error) {
	steps, theirSteps, err := wire.SocketPair("step")
	if err != nil {
		return nil, err
	}
	windows, theirWindows, err := wire.SocketPair("window")
	if err != nil {
		steps.Close()
		theirSteps.Close()
		return nil, err
	}
	dir, err := os.MkdirTemp(c.RuntimeDir, "plugin-")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make the control socket's directory: %w", err),
			steps.Close(), windows.Close(), theirSteps.Close(), theirWindows.Close())
	}
	program := c.Command[0]
	if c.SHA256 != "" {
		pinned, err := sealed(program, c.SHA256)
		if err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir),
				steps.Close(), windows.Close(), theirSteps.Close(), theirWindows.Close())
		}
		defer pinned.Close() // the process has it by then
		program = fmt.Sprintf("/proc/self/fd/%d", pinned.Fd())
	}
	cmd := exec.Command(program, c.Command[1:]...)
	cmd.ExtraFiles = []*os.File{theirSteps, theirWindows}
	// No environment but this: fewer wake-ups, and no periodic look at files it may not open.
	cmd.Env = []string{"GODEBUG=updatemaxprocs=0"}
	measures, err := confine(cmd, dir, namespaces)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir),
			steps.Close(), windows.Close(), theirSteps.Close(), theirWindows.Close())
	}
	stderr, theirStderr := io.Pipe()
	client := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  control.Handshake,
		Plugins:          plugin.PluginSet{control.Name: &control.Plugin{}},
		Cmd:              cmd,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		SkipHostEnv:      true,
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: dir},
		StartTimeout:     startTimeout,
		Logger:           hclog.NewNullLogger(),
		Stderr:           theirStderr,
	})
	p := &process{
		config: c, cmd: cmd, client: client, stderr: theirStderr, dir: dir, measures: measures,
		steps: steps, pool: newPool(windows, c.Windows),
		sessions: map[uint64]*Inspection{}, done: make(chan struct{}),
	}
	p.linger = time.AfterFunc(time.Hour, func() {
		p.queue.Lock()
		p.flush() // an error has ended the process
	})
	var last string
	p.readers.Go(func() { last = logLines(stderr, c.Logger.With("plugin", c.Protocol)) })
	err = p.start(ctx)
	theirSteps.Close()
	theirWindows.Close()
	if err != nil {
		p.kill(err)
		p.bury() // and what it wrote is read
		if _, answered := errors.AsType[*SettingsError](err); !answered && last != "" {
			err = fmt.Errorf("%w; it said last: %q", err, last)
		}
		return nil, err
	}
	return p, nil
}

// start launches the process and takes it through description and configuration.
func (p *process) start(ctx context.Context) error {
	name := strings.Join(p.config.Command, " ")
	if _, err := p.client.Start(); err != nil {
		if p.cmd.Process != nil {
			return fmt.Errorf("start plugin %q: %w", name, firstLine(err))
		}
		return fmt.Errorf("%w plugin %q: %w", errNoStart, name, firstLine(err))
	}
	rpc, err := p.client.Client()
	if err != nil {
		return fmt.Errorf("connect to plugin %q: %w", name, firstLine(err))
	}
	raw, err := rpc.Dispense(control.Name)
	if err != nil {
		return fmt.Errorf("connect to plugin %q: %w", name, firstLine(err))
	}
	c := raw.(control.ControlClient)
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	d, err := c.Describe(ctx, &control.DescribeRequest{})
	if err != nil {
		return fmt.Errorf("describe plugin %q: %w", name, err)
	}
	if d.Name != p.config.Protocol {
		return fmt.Errorf("describe plugin %q: it speaks %q, want %q", name, d.Name, p.config.Protocol)
	}
	if d.ForwardMode > uint32(sdk.Unseen) || d.ReverseMode > uint32(sdk.Unseen) {
		return fmt.Errorf("describe plugin %q: modes %d and %d are unknown", name, d.ForwardMode, d.ReverseMode)
	}
	if len(d.Version) > maxVersion || len(d.Confinement) > maxMeasures {
		return fmt.Errorf("describe plugin %q: its version or its list of measures is larger than maximal", name)
	}
	p.modes = [2]sdk.Mode{sdk.Mode(d.ForwardMode), sdk.Mode(d.ReverseMode)}
	p.version = d.Version
	for _, m := range d.Confinement {
		p.measures = append(p.measures, Measure{m.Name, m.Applied, m.Detail})
	}
	for number, settings := range p.config.Services {
		ctx, cancel := context.WithTimeout(ctx, configureTimeout)
		_, err := c.Configure(ctx, &control.ConfigureRequest{Service: number, Settings: settings})
		cancel()
		if err != nil {
			return &SettingsError{Service: number, Message: status.Convert(err).Message()}
		}
	}
	p.readers.Go(p.receive)
	p.readers.Go(p.watch)
	return nil
}

// SettingsError is a service's settings refused by its plugin.
type SettingsError struct {
	Service uint32
	Message string
}

func (e *SettingsError) Error() string {
	return fmt.Sprintf("configure service %d: %s", e.Service, e.Message)
}

// firstLine keeps go-plugin's advice for plugin authors out of an operator's terminal.
func firstLine(err error) error {
	line, _, more := strings.Cut(strings.TrimSpace(err.Error()), "\n")
	if !more {
		return err
	}
	return errors.New(strings.TrimRight(line, ": "))
}

// stderrLines is how much of what a plugin writes to its standard error is logged: a plugin
// cannot fill the disk.
const stderrLines = 200

// logLines logs what comes from r, a line each, drops the rest, and returns the last line that was logged.
func logLines(r io.Reader, log *slog.Logger) (last string) {
	s := bufio.NewScanner(r)
	for n := 0; s.Scan(); n++ {
		if n < stderrLines {
			last = truncate(s.Text(), 300)
			log.Warn("plugin says", "line", last)
		}
	}
	io.Copy(io.Discard, r)
	return last
}

func truncate(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}

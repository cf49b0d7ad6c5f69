// Command cordon is the gateway and its operator's tool. The gateway itself is package daemon; this one has a
// file for each command.
//
// Read root.go for how a command is found and what all of them share, failure.go and
// output.go for what they say, then the file of each command. Data goes to standard
// output, everything else to standard error; with --json both are machine-readable.
// Exit codes are in package exit.
//
// The command trusts who runs it: whoever may write the configuration or the state
// directory can do everything.
package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/exit"
)

// app is what every command is given: where it reads and writes, and the flags that
// mean the same everywhere. A command is a function from an app to a *cobra.Command
// whose RunE returns an error (best a failure, see failure.go) and prints nothing
// about it. The flags are set by the time RunE is called, not before.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	json    bool // --json: objects with a schema, also for errors
	quiet   bool // -q: no remarks, no table heads
	verbose int  // -v: more of them

	file string // -c
	dir  string // --dir
}

// config returns the configuration's path: -c FILE, or DIR/cordon.yaml for --dir DIR,
// or cordon.yaml here.
func (a *app) config() string {
	if a.file != "" {
		return a.file
	}
	return filepath.Join(a.dir, config.FileName)
}

// remark tells the person something that is not the command's data.
func (a *app) remark(format string, args ...any) {
	if !a.quiet && !a.json {
		fmt.Fprintf(a.stderr, format+"\n", args...)
	}
}

// run runs one command line and returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	root := newRoot(a)
	began := false
	for c := range commands(root) {
		if work := c.RunE; work != nil {
			c.RunE = func(c *cobra.Command, args []string) error {
				began = true
				return work(c, args)
			}
		}
	}
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exit.Done
	}
	if !began { // what cobra itself refuses is the command line
		err = usageFailure(err)
		a.json = a.json || slices.Contains(args, "--json")
	}
	return a.fail(err)
}

func newRoot(a *app) *cobra.Command {
	root := group("cordon", "A zero-trust gateway for medical devices that cannot protect themselves")
	root.Long = root.Short + `.

Clients speak mutual TLS to the gateway, which asks a policy about every operation,
records the answer and only then lets the operation reach the device.`
	root.Version = daemon.Build().Version
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetVersionTemplate("cordon {{.Version}}\n")

	flags := root.PersistentFlags()
	flags.BoolVar(&a.json, "json", false, "write JSON, also for errors")
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "write data only, without remarks and table heads")
	flags.CountVarP(&a.verbose, "verbose", "v", "say more; may be repeated")
	flags.StringVarP(&a.file, "config", "c", "", "the configuration `FILE` (default cordon.yaml)")
	flags.StringVar(&a.dir, "dir", "", "the configuration's directory: --dir `DIR` means -c DIR/cordon.yaml")
	root.MarkFlagsMutuallyExclusive("config", "dir")
	mustComplete(root.MarkPersistentFlagFilename("config", "yaml"))
	mustComplete(root.MarkPersistentFlagDirname("dir"))
	root.SetFlagErrorFunc(nearFlag)

	root.AddCommand(demoCommand(a), initCommand(a), certCommand(a), deviceCommand(a), accessCommand(a), breakGlassCommand(a), alarmCommand(a), profileCommand(a), policyCommand(a), checkCommand(a), runCommand(a), reloadCommand(a), statusCommand(a), applyCommand(a), confirmCommand(a), segmentCommand(a), segmentHelperCommand(a),
		whyCommand(a), auditCommand(a), backupCommand(a), restoreCommand(a), doctorCommand(a), healthCommand(a), manualCommand(a), versionCommand(a))
	return root
}

// group returns a command that only holds others. Without one it shows its help; a name
// it does not know is an error that suggests those like it.
func group(use, short string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short,
		Args:                       cobra.ArbitraryArgs,
		SuggestionsMinimumDistance: 2,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			f := exit.Error{Code: "usage.command", Exit: exit.Usage, Message: fmt.Sprintf("unknown command %q", c.CommandPath()+" "+args[0])}
			for _, near := range c.SuggestionsFor(args[0]) {
				f.Try = append(f.Try, c.CommandPath()+" "+near)
			}
			if f.Try == nil {
				f.Try = []string{c.CommandPath() + " --help"}
			}
			return f
		},
	}
}

// commands yields c and every command below it.
func commands(c *cobra.Command) func(yield func(*cobra.Command) bool) {
	return func(yield func(*cobra.Command) bool) { walk(c, yield) }
}

func walk(c *cobra.Command, yield func(*cobra.Command) bool) bool {
	if !yield(c) {
		return false
	}
	for _, sub := range c.Commands() {
		if !walk(sub, yield) {
			return false
		}
	}
	return true
}

// nearFlag suggests a flag for one that is not known.
func nearFlag(c *cobra.Command, err error) error {
	f := exit.Error{Code: "usage.flag", Exit: exit.Usage, Message: err.Error(), Try: []string{c.CommandPath() + " --help"}}
	if name, unknown := strings.CutPrefix(err.Error(), "unknown flag: --"); unknown {
		var names []string
		c.Flags().VisitAll(func(flag *pflag.Flag) { names = append(names, flag.Name) })
		if near := config.Nearest(name, names); near != "" {
			f.Message += fmt.Sprintf(", did you mean --%s?", near)
		}
	}
	return f
}

// mustComplete checks what can only fail when a command names a flag it does not have.
func mustComplete(err error) {
	if err != nil {
		panic(err)
	}
}

func versionCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Show which build this is",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b := daemon.Build()
			if a.json {
				return a.object(b)
			}
			text := fmt.Sprintf("cordon %s %s %s", b.Version, b.Go, b.Platform)
			if b.Revision != "" {
				text += " " + b.Revision
			}
			if b.Modified {
				text += " (modified)"
			}
			_, err := fmt.Fprintln(a.stdout, text)
			return err
		},
	}
}

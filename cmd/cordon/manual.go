package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/exit"
)

// manualCommand is for whoever makes a package. Hidden: a reader of its help has the pages.
func manualCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "manual DIR", Short: "Write the manual pages into a directory",
		Long: `Write cordon(1), a page for each command and cordon.yaml(5) into DIR, which must exist. The
pages are of the time that SOURCE_DATE_EPOCH says, in seconds since 1970, or of now.`,
		Args: cobra.ExactArgs(1), Hidden: true,
		RunE: func(c *cobra.Command, args []string) error {
			return cannot("write the manual", writeManual(c.Root(), args[0]))
		},
	}
}

// exitMeanings are the exit codes, as cordon(1) explains them.
var exitMeanings = []struct {
	code  int
	means string
}{
	{exit.Done, "It worked."},
	{exit.Failed, "It did not."},
	{exit.Usage, "The command line is wrong, or an answer is needed and nobody can be asked."},
	{exit.Denied, "Policy or role does not allow it."},
	{exit.NotFound, "What was named is not there."},
	{exit.Checks, "Checks or tests failed: a configuration or a policy is faulty."},
	{exit.Conflict, "It conflicts with what is there, or with what someone did meanwhile."},
	{exit.Unreachable, "Something could not be reached, or took too long."},
	{exit.Findings, "It worked, and there is something to look at."},
	{exit.Login, "Login is needed and cannot be asked for."},
}

func writeManual(root *cobra.Command, dir string) error {
	at := time.Now()
	if text := os.Getenv("SOURCE_DATE_EPOCH"); text != "" {
		seconds, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("SOURCE_DATE_EPOCH %q: expected seconds since 1970", text)
		}
		at = time.Unix(seconds, 0)
	}
	write := func(name string, text []byte) error { return os.WriteFile(filepath.Join(dir, name), text, 0o644) }
	for c := range commands(root) {
		if hidden(c) {
			continue
		}
		if err := write(pageName(c)+".1", commandPage(c, at)); err != nil {
			return err
		}
	}
	text, err := configPage(at)
	if err != nil {
		return err
	}
	return write("cordon.yaml.5", text)
}

func pageName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// hidden reports whether help does not show a command, or what it belongs to.
func hidden(c *cobra.Command) bool { return c.Hidden || c.HasParent() && hidden(c.Parent()) }

// page is a manual page in the macros of man(7).
type page struct{ bytes.Buffer }

func newPage(name string, section int, at time.Time, short string) *page {
	p := &page{}
	fmt.Fprintf(p, ".TH %s %d %s Cordon \"Cordon manual\"\n", quote(strings.ToUpper(name)), section, at.UTC().Format(time.DateOnly))
	p.section("NAME")
	fmt.Fprintf(p, "%s \\- %s\n", roff(name), roff(short))
	return p
}

func (p *page) section(name string) { fmt.Fprintf(p, ".SH %s\n", quote(name)) }

// item is a term, in bold, and its explanation.
func (p *page) item(term, text string) {
	fmt.Fprintf(p, ".TP\n.B %s\n", quote(term))
	p.text(text)
}

// text writes paragraphs, which blank lines part; indented lines stay as they are.
func (p *page) text(s string) {
	begun := false
	for block := range strings.SplitSeq(strings.Trim(s, "\n"), "\n\n") {
		if begun {
			p.WriteString(".PP\n")
		}
		begun = true
		asIs := strings.HasPrefix(block, "  ") || strings.HasPrefix(block, "\t")
		if asIs {
			p.WriteString(".nf\n")
		}
		for line := range strings.Lines(block) {
			p.WriteString(roff(strings.TrimSuffix(line, "\n")) + "\n")
		}
		if asIs {
			p.WriteString(".fi\n")
		}
	}
}

// roff makes a line of text one that troff writes as it stands: man(7), groff_char(7).
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, `-`, `\-`, `'`, `\(aq`, "`", `\(ga`, `^`, `\(ha`, `~`, `\(ti`).Replace(s)
	if strings.HasPrefix(s, ".") {
		s = `\&` + s
	}
	return s
}

// quote makes it one argument of a macro.
func quote(s string) string { return `"` + strings.ReplaceAll(roff(s), `"`, `\(dq`) + `"` }

func commandPage(c *cobra.Command, at time.Time) []byte {
	p := newPage(pageName(c), 1, at, c.Short)
	p.section("SYNOPSIS")
	fmt.Fprintf(p, ".B %s\n", quote(c.UseLine()))
	p.section("DESCRIPTION")
	if c.Long != "" {
		p.text(c.Long)
	} else {
		p.text(c.Short + ".")
	}
	var also []string
	if subs := c.Commands(); len(subs) > 0 {
		p.section("COMMANDS")
		for _, sub := range subs {
			if hidden(sub) {
				continue
			}
			p.item(sub.Name(), sub.Short+".")
			also = append(also, pageName(sub)+"(1)")
		}
	}
	p.section("OPTIONS")
	if c.NonInheritedFlags().HasAvailableFlags() {
		c.NonInheritedFlags().VisitAll(p.flag)
		if c.HasParent() {
			p.WriteString(".PP\n")
		}
	}
	if c.HasParent() {
		p.text("The options of cordon(1) apply too.")
		also = append([]string{"cordon(1)", "cordon.yaml(5)"}, also...)
	}
	if c.Example != "" {
		p.section("EXAMPLES")
		p.text(c.Example)
	}
	if !c.HasParent() {
		p.general()
		also = append(also, "cordon.yaml(5)")
	}
	p.section("SEE ALSO")
	p.text(strings.Join(also, ",\n"))
	return p.Bytes()
}

// flag writes an option: "-c, --config FILE", what it is for and its default.
func (p *page) flag(f *pflag.Flag) {
	if f.Hidden {
		return
	}
	name := "--" + f.Name
	if f.Shorthand != "" {
		name = "-" + f.Shorthand + ", " + name
	}
	value, usage := pflag.UnquoteUsage(f)
	if value != "" && value != "count" {
		name += " " + value
	}
	switch f.DefValue {
	case "", "0", "0s", "false", "[]":
	default:
		usage += " (default " + f.DefValue + ")"
	}
	p.item(name, usage+".")
}

// general is what holds for every command.
func (p *page) general() {
	p.section("EXIT STATUS")
	for _, e := range exitMeanings {
		p.item(strconv.Itoa(e.code), e.means)
	}
	p.section("FILES")
	p.item("/etc/cordon/"+config.FileName, "The configuration that the package's units read: cordon.yaml(5).")
	p.item("/etc/cordon/policy", "The policy, in Rego, with its tests.")
	p.item("/var/lib/cordon", "The authority, the keys, the audit log and what stands for a time. To be backed up, and to be read by nobody else.")
	p.item("/usr/share/doc/cordon", "README, SECURITY, the operation of a gateway, examples of configurations.")
}

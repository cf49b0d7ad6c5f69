package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/disk"
	"cordon/cmd/cordon/exit"
)

// restorePlan is where the files of a backup go: the configuration to the directory that is asked for, the
// rest to where that configuration says. Nothing goes outside that directory that was not
// named on the command line, for the configuration is as foreign as the rest.
type restorePlan struct {
	dir   string // of the configuration
	state string
	log   string
	rules string // policy.dir

	gateway  string // of the configuration: trust domain and name
	name     string
	text     []byte // of the configuration; another than in the backup if it was relocated
	config   *config.Config
	programs []config.Plugin

	outside []string // files elsewhere that the configuration names and that are missing, by their absolute paths
	mayAdd  []string // those, and what is there
	roots   []restoreRoot
}

// restoreRoot is a directory that a restore writes to, by way of a folder in it.
type restoreRoot struct {
	dir string
	own bool // all that is in it is the gateway's
}

// whither is what somebody said about places.
type whither struct {
	state, log string
	outside    bool
}

func (x *examined) plan(dir string, to whither) (*restorePlan, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	p := &restorePlan{dir: dir, text: x.small[inConfig+"/"+config.FileName]}
	c, err := p.relocated(x, to)
	if err != nil {
		return nil, err
	}
	p.config = c
	p.gateway, p.name, p.programs = c.ID(), c.Gateway.Name, c.Plugins
	if p.gateway != x.Gateway {
		return nil, notGateway(fmt.Errorf("it is of %q, and its configuration of %q", x.Gateway, p.gateway))
	}
	p.state, p.log, p.rules = c.Gateway.State, c.Audit.Dir, c.Policy.Dir
	if err := checkLayout(filepath.Join(dir, config.FileName), c); err != nil {
		return nil, err
	}
	if err := p.consented(to); err != nil {
		return nil, err
	}
	if err := p.named(x, c, to); err != nil {
		return nil, err
	}
	p.roots = []restoreRoot{{dir, false}}
	for _, d := range []string{p.state, p.log, p.rules} {
		if !slices.ContainsFunc(p.roots, func(r restoreRoot) bool { _, inside := within(r.dir, d); return inside }) {
			p.roots = append(p.roots, restoreRoot{d, true})
		}
	}
	return p, nil
}

// relocated reads the configuration as it will lie in p.dir, with its profiles, and puts into its
// text where somebody wants the state and the log.
func (p *restorePlan) relocated(x *examined, to whither) (*config.Config, error) {
	c, err := p.parse(x)
	if err != nil {
		return nil, err
	}
	for _, want := range []struct {
		dir  *string
		to   string
		keys []string
	}{{&c.Gateway.State, to.state, []string{"gateway", "state"}}, {&c.Audit.Dir, to.log, []string{"audit", "dir"}}} {
		if want.to == "" {
			continue
		}
		dir, err := filepath.Abs(want.to)
		if err != nil {
			return nil, err
		}
		if dir == *want.dir {
			continue
		}
		if p.text, err = config.Relocate(config.FileName, p.text, dir, want.keys...); err != nil {
			return nil, exit.Error{Code: "restore.place", Exit: exit.Usage, Message: err.Error(), Err: err, Try: []string{"the same command without that flag: it goes into --dir"}}
		}
	}
	c, err = p.parse(x)
	if err == nil && (to.state != "" && !sameDir(c.Gateway.State, to.state) || to.log != "" && !sameDir(c.Audit.Dir, to.log)) {
		err = exit.Error{Code: "restore.place", Exit: exit.Conflict, Message: "the configuration cannot be changed to name other directories", Try: []string{"restore to where it says, and edit it"}}
	}
	return c, err
}

func sameDir(a, b string) bool {
	b, err := filepath.Abs(b)
	return err == nil && a == b
}

// parse reads the configuration from a folder of its own, because profiles are looked for
// beside it, and says where everything is when it lies in p.dir.
func (p *restorePlan) parse(x *examined) (*config.Config, error) {
	base, err := os.MkdirTemp("", "cordon-restore-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(base)
	scratch := filepath.Join(base, strings.Repeat("d/", 16)) // so deep that what begins with .. is still told from what is absolute
	for name, text := range x.folder(inConfig) {
		if name != config.FileName && !strings.HasPrefix(name, config.ProfileDir+"/") {
			continue
		}
		if name == config.FileName {
			text = p.text
		}
		file := filepath.Join(scratch, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return nil, err
		}
		if err := disk.Create(file, text, 0o600); err != nil {
			return nil, err
		}
	}
	c, err := config.Load(filepath.Join(scratch, config.FileName))
	if faults, ok := errors.AsType[config.Faults](err); ok {
		for i := range faults {
			faults[i].File = "the backup's " + filepath.Base(faults[i].File)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the configuration in the backup: %w", err)
	}
	b, w := &c.Policy.Bundle, &c.Alarms.Webhook
	for _, path := range []*string{&c.Gateway.State, &c.Audit.Dir, &c.Policy.Dir, &c.Identity.CA.TrustFile, &c.Identity.CA.CRLFile, &b.Key, &b.Signer, &b.TrustFile, &b.Certificate, &b.CertificateKey, &w.SecretFile, &w.TrustFile} {
		if *path == "" {
			continue
		}
		if _, relative := within(base, *path); relative {
			inside, err := filepath.Rel(scratch, *path)
			if err != nil {
				return nil, err
			}
			*path = filepath.Join(p.dir, inside)
		}
	}
	return c, nil
}

// consented wants directories outside p.dir named.
func (p *restorePlan) consented(to whither) error {
	outside := func(dir string, others ...string) bool {
		return !slices.ContainsFunc(append(others, p.dir), func(d string) bool { _, inside := within(d, dir); return inside })
	}
	var missing []string
	if outside(p.state) && to.state == "" {
		missing = append(missing, "--state "+p.state)
	}
	if outside(p.log, p.state) && to.log == "" {
		missing = append(missing, "--audit "+p.log)
	}
	if outside(p.rules) && !to.outside {
		missing = append(missing, "--outside, for the policy in "+p.rules)
	}
	if len(missing) > 0 {
		return exit.Error{Code: "restore.outside", Exit: exit.Usage, Message: "the configuration keeps something outside " + p.dir + ", and nothing is written there unasked",
			Try: append(missing, "or another directory with --state and --audit, which is then what the configuration says")}
	}
	return nil
}

// named sees to files that the configuration names: none but those may be outside p.dir, and only
// where they are missing are they written.
func (p *restorePlan) named(x *examined, c *config.Config, to whither) error {
	wanted := map[string]bool{}
	for _, file := range namedFiles(c) {
		name, err := namedPlace(p.dir, c, file)
		if err != nil {
			return err
		}
		if strings.HasPrefix(name, inOutside+"/") {
			wanted[strings.TrimPrefix(name, inOutside+"/")] = true
		}
	}
	for name, text := range x.folder(inOutside) {
		file := "/" + name
		if !wanted[name] {
			return notGateway(fmt.Errorf("its configuration does not name %s", file))
		}
		p.mayAdd = append(p.mayAdd, file)
		is, err := disk.Read(file, maxExamined)
		switch {
		case err == nil && string(is) == string(text):
		case err == nil && file == c.Identity.CA.CRLFile && newerLists(is, text): // as it should be
		case err == nil:
			return exit.Error{Code: "restore.outside", Exit: exit.Conflict, Message: fmt.Sprintf("%s is another file than in the backup, and is not the gateway's alone", file), Try: []string{"move it away, or give it its old content"}}
		case !errors.Is(err, fs.ErrNotExist):
			return err
		case !to.outside:
			return exit.Error{Code: "restore.outside", Exit: exit.Usage, Message: fmt.Sprintf("the configuration names %s, which is missing", file), Try: []string{"--outside writes it", "install it"}}
		default:
			p.outside = append(p.outside, file)
		}
	}
	slices.Sort(p.outside)
	return nil
}

package rego

import (
	"fmt"
	"path"
	"slices"
	"strings"

	yamlast "github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"cordon/policy"
)

// The checks of the tables look at the names that the shipped policy gives them. A policy with
// other tables is not judged by them.

// spot is where a value of the data is written.
type spot struct {
	file         string
	line, column int
}

// placesOf returns where each key and each element of a list is, by its path. Of JSON files
// only the file is known.
func placesOf(files []Source) map[string]spot {
	places := map[string]spot{}
	for _, f := range files {
		var under []string
		if folder := path.Dir(f.Name); folder != "." {
			under = strings.Split(folder, "/")
		}
		if path.Ext(f.Name) != ".yaml" {
			facts, _ := parseJSON(f.Text)
			for name := range facts {
				places[joined(append(slices.Clone(under), name))] = spot{file: f.Name}
			}
			continue
		}
		if tree, err := parser.ParseBytes(f.Text, 0); err == nil && len(tree.Docs) == 1 {
			notePlaces(places, f.Name, under, tree.Docs[0].Body)
		}
	}
	return places
}

func notePlaces(places map[string]spot, file string, at []string, node yamlast.Node) {
	note := func(name string, n yamlast.Node) []string {
		below := append(slices.Clone(at), name)
		p := n.GetToken().Position
		places[joined(below)] = spot{file, p.Line, p.Column}
		return below
	}
	switch n := node.(type) {
	case *yamlast.MappingNode:
		for _, v := range n.Values {
			notePlaces(places, file, note(keyOf(v), v.Key), v.Value)
		}
	case *yamlast.SequenceNode:
		for _, v := range n.Values {
			if s, ok := v.(*yamlast.StringNode); ok {
				note(s.Value, s)
			}
		}
	}
}

func joined(path []string) string { return strings.Join(path, "\x00") }

// inData reports something about a value of the data.
func (l *linter) inData(path []string, hint, format string, args ...any) {
	p := Problem{Message: fmt.Sprintf(format, args...), Hint: hint}
	for n := len(path); n > 0; n-- { // its file at least
		if at, ok := l.places[joined(path[:n])]; ok {
			p.File, p.Line, p.Column = at.file, at.line, at.column
			break
		}
	}
	l.add(p)
}

// table returns a table of the data, and its names in order.
func (l *linter) table(path ...string) (map[string]any, []string) {
	m, _ := valueAt(l.document, path).(map[string]any)
	return m, sortedNames(m)
}

// strings returns the strings of a list in the data.
func (l *linter) strings(path ...string) (out []string) {
	list, _ := valueAt(l.document, path).([]any)
	for _, v := range list {
		if s, ok := v.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// permissions calls f with every list of classes of operation.
func (l *linter) permissions(f func(table, role, device string, classes []string)) {
	for _, table := range []string{"roles", "maintenance"} {
		_, roles := l.table(table)
		for _, role := range roles {
			_, devices := l.table(table, role)
			for _, device := range devices {
				f(table, role, device, l.strings(table, role, device))
			}
		}
	}
}

func (l *linter) roles() {
	kinds, known := l.table("kinds")
	if kinds == nil {
		return
	}
	for _, table := range []string{"roles", "maintenance", "dicom_services"} {
		_, roles := l.table(table)
		for _, role := range roles {
			if kinds[role] == nil {
				l.inData([]string{table, role}, didYouMean(role, known), "role %s has no kind of subject, so nobody acts in it", role)
			}
		}
	}
}

func (l *linter) kinds() {
	kinds, names := l.table("kinds")
	for _, role := range names {
		if kind, _ := kinds[role].(string); !slices.Contains(tableKinds[:], kind) {
			l.inData([]string{"kinds", role}, didYouMean(kind, tableKinds[:]), "role %s is for kind %q, which no subject is of", role, kind)
		}
	}
}

func (l *linter) classes() {
	l.permissions(func(table, role, device string, classes []string) {
		for _, c := range classes {
			at := []string{table, role, device, c}
			switch {
			case !policy.Class(c).Valid():
				l.inData(at, didYouMean(c, classWords()[1:]), "%q is no class of operation", c)
			case c == string(policy.ClassUnknown):
				l.inData(at, "name the operation in allow_unknown of the service", "an operation of class unknown is not permitted by a table")
			}
		}
	})
}

func (l *linter) services() {
	var known []string
	for _, s := range dicomServices {
		if s.class != policy.ClassSession && !slices.Contains(known, s.name) {
			known = append(known, s.name)
		}
	}
	_, roles := l.table("dicom_services")
	for _, role := range roles {
		for _, s := range l.strings("dicom_services", role) {
			if !slices.Contains(known, s) {
				l.inData([]string{"dicom_services", role, s}, didYouMean(s, known), "%q is no service of DICOM", s)
			}
		}
	}
}

func (l *linter) titles() {
	_, holders := l.table("ae_titles")
	for _, holder := range holders {
		if kind, id, ok := strings.Cut(holder, "/"); !ok || id == "" || !slices.Contains(tableKinds[:], kind) {
			l.inData([]string{"ae_titles", holder}, "user/dr.kim, device/ct-2", "%q is nobody: a holder of AE titles is kind/id", holder)
		}
		for _, title := range l.strings("ae_titles", holder) {
			if !isTitle(title) {
				l.inData([]string{"ae_titles", holder, title}, "1 to 16 characters of ASCII without backslash", "%q is no AE title", title)
			}
		}
	}
}

// isTitle reports whether s can be an AE title: up to 16 characters of the default repertoire
// without backslash and control characters (PS3.5 6.2). Blanks around it do not count, so they
// are no part of one.
func isTitle(s string) bool {
	return s != "" && len(s) <= 16 && s == strings.TrimSpace(s) && !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c > '~' || c == '\\' })
}

func (l *linter) broad() {
	l.permissions(func(table, role, device string, classes []string) {
		for _, c := range classes {
			if table == "roles" && device == "*" && slices.Contains([]policy.Class{policy.ClassWrite, policy.ClassControl, policy.ClassAdmin}, policy.Class(c)) {
				l.inData([]string{table, role, device, c}, "name the classes of device, or permit it in maintenance only", "role %s may %s on every device at any time", role, c)
			}
		}
	})
	_, holders := l.table("ae_titles")
	for _, holder := range holders {
		if slices.Contains(l.strings("ae_titles", holder), "*") {
			l.inData([]string{"ae_titles", holder, "*"}, "list its AE titles", "%s may call from any AE title", holder)
		}
	}
}

func (l *linter) covered() {
	wider := func(device string) []string {
		all := []string{"*"}
		if above, _, ok := strings.Cut(device, "/"); ok && device != above+"/*" {
			all = append(all, above+"/*")
		}
		return slices.DeleteFunc(all, func(w string) bool { return w == device })
	}
	l.permissions(func(table, role, device string, classes []string) {
		for i, c := range classes {
			at := []string{table, role, device, c}
			if slices.Contains(classes[:i], c) {
				l.inData(at, "once is enough", "%s is listed twice", c)
			}
			if table == "maintenance" && slices.Contains(l.strings("roles", role, device), c) {
				l.inData(at, "leave it out", "role %s may %s on %s at any time already", role, c, device)
			}
			for _, w := range wider(device) {
				if slices.Contains(l.strings(table, role, w), c) {
					l.inData(at, "leave it out", "role %s may %s on %s already", role, c, w)
				}
			}
		}
	})
}

func (l *linter) devices() {
	if len(l.site.Devices) == 0 {
		return
	}
	has := func(class string) bool {
		return slices.ContainsFunc(l.site.Devices, func(d SiteDevice) bool {
			above, _, _ := strings.Cut(d.Class, "/")
			return class == "*" || class == d.Class || class == above+"/*"
		})
	}
	seen := map[string]bool{}
	l.permissions(func(table, role, device string, _ []string) {
		if strings.HasSuffix(device, "*") || has(device) || seen[device] {
			return // a pattern is a provision for what may come
		}
		seen[device] = true
		l.inData([]string{table, role, device}, "", "the site has no device of class %s", device)
	})
	_, ids := l.table("move_destinations")
	for _, id := range ids {
		if !slices.ContainsFunc(l.site.Devices, func(d SiteDevice) bool { return d.ID == id }) {
			l.inData([]string{"move_destinations", id}, "", "the site has no device %s", id)
		}
	}
}

func (l *linter) unbound() {
	titles, holders := l.table("ae_titles")
	if titles == nil || len(holders) > 0 {
		return
	}
	for _, d := range l.site.Devices {
		if slices.Contains(d.Protocols, "dicom") {
			l.inData([]string{"ae_titles"}, "ae_titles: {user/dr.kim: [KIM-WS]}", "device %s speaks DICOM, and nobody has an AE title to call it from", d.ID)
			return
		}
	}
}

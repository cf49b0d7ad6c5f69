package rego

import (
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	yamlast "github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// writeEdit returns the data files with an edit of a list made in the file that has its table,
// and notes in x which line it is. A file it cannot edit line by line stays as it is.
func writeEdit(files []Source, x *Edit) []Source {
	if x.Kind != EditData {
		return files
	}
	for i, f := range files {
		where := x.Path
		if folder := path.Dir(f.Name); folder != "." {
			names := strings.Split(folder, "/")
			if !hasPrefix(where, names) {
				continue
			}
			where = where[len(names):]
		}
		if path.Ext(f.Name) != ".yaml" || len(where) == 0 {
			continue
		}
		tree, err := parser.ParseBytes(f.Text, 0)
		if err != nil || len(tree.Docs) != 1 {
			continue
		}
		text, ok := editYAML(string(f.Text), tree.Docs[0].Body, where, x)
		if !ok {
			continue
		}
		x.File = f.Name
		files = slices.Clone(files)
		files[i] = Source{f.Name, []byte(text)}
		return files
	}
	return files
}

// editYAML adds a value to the list at path below node, with as little change as can be: in a
// list on one line there, as a last line of a longer list, or as a new first entry of the table
// that lacks it.
func editYAML(text string, node yamlast.Node, path []string, x *Edit) (string, bool) {
	lines := strings.SplitAfter(text, "\n")
	put := func(line int, added string) (string, bool) {
		x.Line, x.Before, x.After = line, "", added
		return strings.Join(slices.Insert(lines, line-1, added+"\n"), ""), true
	}
	within := func(line, column int, added string) (string, bool) {
		runes := []rune(lines[line-1])
		if column < 1 || column > len(runes) {
			return "", false
		}
		x.Line, x.Before = line, strings.TrimRight(lines[line-1], "\r\n")
		lines[line-1] = string(runes[:column-1]) + added + string(runes[column-1:])
		x.After = strings.TrimRight(lines[line-1], "\r\n")
		return strings.Join(lines, ""), true
	}
	for depth, name := range path {
		table, ok := node.(*yamlast.MappingNode)
		if !ok || len(table.Values) == 0 && !table.IsFlowStyle {
			return "", false
		}
		i := slices.IndexFunc(table.Values, func(v *yamlast.MappingValueNode) bool { return keyOf(v) == name })
		if i >= 0 {
			node = table.Values[i].Value
			continue
		}
		if depth == 0 {
			return "", false // another file's table
		}
		if table.IsFlowStyle {
			added := inFlow(path[depth:], x.Value)
			if len(table.Values) > 0 {
				added = ", " + added
			}
			return within(table.End.Position.Line, table.End.Position.Column, added)
		}
		at := table.Values[0].Key.GetToken().Position
		added := strings.Repeat(" ", at.Column-1) + inFlow(path[depth:], x.Value)
		return put(at.Line, added)
	}
	list, ok := node.(*yamlast.SequenceNode)
	if !ok {
		return "", false
	}
	if list.IsFlowStyle {
		added := scalar(x.Value)
		if len(list.Values) > 0 {
			added = ", " + added
		}
		return within(list.End.Position.Line, list.End.Position.Column, added)
	}
	last, ok := list.Values[len(list.Values)-1].(*yamlast.StringNode)
	if !ok {
		return "", false
	}
	return put(last.Token.Position.Line+1, strings.Repeat(" ", list.Start.Position.Column-1)+"- "+scalar(x.Value))
}

func keyOf(v *yamlast.MappingValueNode) string {
	if s, ok := v.Key.(*yamlast.StringNode); ok {
		return s.Value
	}
	return v.Key.String()
}

// inFlow writes tables within each other and a list on one line.
func inFlow(path []string, value string) string {
	if len(path) == 1 {
		return scalar(path[0]) + ": [" + scalar(value) + "]"
	}
	return scalar(path[0]) + ": {" + inFlow(path[1:], value) + "}"
}

var plain = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_./*+-]*$`)

// scalar writes a string so that YAML reads it as that string.
func scalar(s string) string {
	if plain.MatchString(s) && !slices.Contains([]string{"true", "false", "null", "yes", "no", "on", "off", "y", "n"}, strings.ToLower(s)) {
		return s
	}
	return strconv.Quote(s)
}

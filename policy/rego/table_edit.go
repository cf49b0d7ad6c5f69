package rego

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	yamlast "github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// tableEdit puts one value more into a list of a data file, and makes the list if it is not
// there.
type tableEdit struct {
	path  []string // "roles", "nurse", "monitor/bedside"
	value string   // "" for none: the list is there afterwards, be it empty
}

func (e tableEdit) String() string {
	words := strings.Join(e.path, ".")
	if e.value == "" {
		return words
	}
	return words + ": " + e.value
}

func (e tableEdit) equal(o tableEdit) bool { return e.value == o.value && slices.Equal(e.path, o.path) }

// apply makes the edit in a document, and reports whether that changed anything. It fails where the
// path leads through something else.
func (e tableEdit) apply(document map[string]any) (changed bool, err error) {
	at := document
	last := len(e.path) - 1
	for _, name := range e.path[:last] {
		next, ok := at[name].(map[string]any)
		if !ok && at[name] != nil {
			return false, fmt.Errorf("%s is not a table", e)
		}
		if next == nil {
			next = map[string]any{}
			at[name] = next
		}
		at = next
	}
	list, ok := at[e.path[last]].([]any)
	if !ok && at[e.path[last]] != nil {
		return false, fmt.Errorf("%s is not a list", e)
	}
	if e.value != "" && slices.Contains(list, any(e.value)) || e.value == "" && list != nil {
		return false, nil
	}
	list = append([]any{}, list...)
	if e.value != "" {
		list = append(list, e.value)
	}
	at[e.path[last]] = list
	return true, nil
}

// write makes the edit in the text of a YAML file, with notes as comments above. Every other byte stays. What the file
// means afterwards is compared with what apply makes of it; an edit that would mean
// anything else is an error.
func (e tableEdit) write(text []byte, notes ...string) ([]byte, error) {
	want, p := parseYAML(text)
	if p != nil {
		return nil, fmt.Errorf("edit %s: %s", e, p.Message)
	}
	if changed, err := e.apply(want); err != nil || !changed {
		return text, err
	}
	crlf := bytes.Count(text, []byte("\r\n"))
	if crlf > 0 && crlf < bytes.Count(text, []byte("\n")) {
		return nil, fmt.Errorf("edit %s: lines end in two ways", e)
	}
	out, err := e.splice(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), notes) // the parser counts in LF
	if err != nil {
		return nil, err
	}
	if crlf > 0 {
		out = bytes.ReplaceAll(out, []byte("\n"), []byte("\r\n"))
	}
	if got, p := parseYAML(out); p != nil || !reflect.DeepEqual(got, want) {
		return nil, fmt.Errorf("edit %s: the file cannot be edited without changing what other lines mean", e)
	}
	return out, nil
}

func (e tableEdit) splice(text []byte, notes []string) ([]byte, error) {
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, err
	}
	var at yamlast.Node
	if len(file.Docs) > 0 {
		at = file.Docs[0].Body
	}
	if at == nil || len(pairsOf(at)) == 0 {
		return insertBelow(text, bytes.Count(text, []byte("\n"))+1, lines(0, e.path, e.value, notes)), nil
	}
	depth := 0 // of the keys that are there
	var entry *yamlast.MappingValueNode
	for depth < len(e.path) {
		found := slices.IndexFunc(pairsOf(at), func(v *yamlast.MappingValueNode) bool { return keyOf(v) == e.path[depth] })
		if found < 0 {
			break
		}
		entry = pairsOf(at)[found]
		at = entry.Value
		depth++
	}
	list, isList := at.(*yamlast.SequenceNode)
	flow, isMap := at.(*yamlast.MappingNode)
	switch {
	case depth == len(e.path) && isList && list.IsFlowStyle:
		more := yamlText(e.value)
		if len(list.Values) > 0 {
			more = ", " + more
		}
		out := slices.Insert(slices.Clone(text), offsetOf(text, list.End.Position.Line, list.End.Position.Column), []byte(more)...)
		above := entry.Key.GetToken().Position.Line - 1
		return insertBelow(out, above, comments(indentOf(text, above), notes)), nil
	case depth == len(e.path) && isList:
		column := list.Start.Position.Column - 1
		return insertBelow(text, lastLine(list), append(comments(column, notes), strings.Repeat(" ", column)+"- "+yamlText(e.value))), nil
	case isMap && flow.IsFlowStyle && len(flow.Values) == 0 && entry != nil:
		from, to := offsetOf(text, flow.Start.Position.Line, flow.Start.Position.Column), offsetOf(text, flow.End.Position.Line, flow.End.Position.Column)+1
		out := slices.Concat(bytes.TrimRight(text[:from], " "), text[to:])
		return insertBelow(out, flow.Start.Position.Line, lines(columnOf(entry)+2, e.path[depth:], e.value, notes)), nil
	case isMap && flow.IsFlowStyle:
		more := flowText(e.path[depth:], e.value)
		if len(flow.Values) > 0 {
			more = ", " + more
		}
		out := slices.Insert(slices.Clone(text), offsetOf(text, flow.End.Position.Line, flow.End.Position.Column), []byte(more)...)
		above := flow.Start.Position.Line - 1
		return insertBelow(out, above, comments(indentOf(text, above), notes)), nil
	case len(pairsOf(at)) > 0:
		return insertBelow(text, lastLine(at), lines(columnOf(pairsOf(at)[0]), e.path[depth:], e.value, notes)), nil
	case at.Type() == yamlast.NullType && entry != nil && depth < len(e.path):
		return insertBelow(text, entry.Key.GetToken().Position.Line, lines(columnOf(entry)+2, e.path[depth:], e.value, notes)), nil
	}
	return nil, fmt.Errorf("edit %s: %s is written in a way that is not edited", e, strings.Join(e.path[:depth], "."))
}

// noteBelow puts a comment where an edit of path would go: below what there is of it.
func noteBelow(text []byte, path []string, notes []string) []byte {
	file, err := parser.ParseBytes(text, 0)
	if err != nil || len(file.Docs) == 0 || file.Docs[0].Body == nil {
		return insertBelow(text, bytes.Count(text, []byte("\n"))+1, comments(0, notes))
	}
	at, line, column := file.Docs[0].Body, lastLine(file.Docs[0].Body), 0
	for _, name := range path {
		found := slices.IndexFunc(pairsOf(at), func(v *yamlast.MappingValueNode) bool { return keyOf(v) == name })
		if found < 0 {
			break
		}
		entry := pairsOf(at)[found]
		at, line, column = entry.Value, lastLine(entry), columnOf(entry)
		if len(pairsOf(at)) > 0 {
			column = columnOf(pairsOf(at)[0])
		}
	}
	return insertBelow(text, line, comments(column, notes))
}

func keyOf(v *yamlast.MappingValueNode) string {
	if s, ok := v.Key.(*yamlast.StringNode); ok {
		return s.Value
	}
	return v.Key.String()
}

func pairsOf(n yamlast.Node) []*yamlast.MappingValueNode {
	switch n := n.(type) {
	case *yamlast.MappingNode:
		return n.Values
	case *yamlast.MappingValueNode:
		return []*yamlast.MappingValueNode{n}
	}
	return nil
}

// columnOf is how far an entry is indented.
func columnOf(v *yamlast.MappingValueNode) int { return v.Key.GetToken().Position.Column - 1 }

// lastLine is the last line that a node reaches.
func lastLine(n yamlast.Node) int {
	last := 0
	yamlast.Walk(inspect(func(n yamlast.Node) {
		if t := n.GetToken(); t != nil {
			last = max(last, t.Position.Line)
		}
		switch n := n.(type) {
		case *yamlast.SequenceNode:
			if n.End != nil {
				last = max(last, n.End.Position.Line)
			}
		case *yamlast.MappingNode:
			if n.End != nil {
				last = max(last, n.End.Position.Line)
			}
		}
	}), n)
	return last
}

// lines writes a new list below path, indented by column.
func lines(column int, path []string, value string, notes []string) (out []string) {
	for _, name := range path[:len(path)-1] {
		out = append(out, strings.Repeat(" ", column)+yamlText(name)+":")
		column += 2
	}
	out = append(out, comments(column, notes)...)
	return append(out, strings.Repeat(" ", column)+flowText(path[len(path)-1:], value))
}

func flowText(path []string, value string) string {
	text := "[]"
	if value != "" {
		text = "[" + yamlText(value) + "]"
	}
	for i, name := range slices.Backward(path) {
		text = yamlText(name) + ": " + text
		if i > 0 {
			text = "{" + text + "}"
		}
	}
	return text
}

// comments are lines of comment, indented by column.
func comments(column int, notes []string) (out []string) {
	for _, n := range notes {
		out = append(out, strings.TrimRight(strings.Repeat(" ", column)+"# "+line(n), " "))
	}
	return out
}

// insertBelow puts lines below the n-th, from 1; 0 is above the first.
func insertBelow(text []byte, n int, more []string) []byte {
	if len(more) == 0 {
		return text
	}
	at := 0
	for range n {
		end := bytes.IndexByte(text[at:], '\n')
		if end < 0 {
			at = len(text)
			break
		}
		at += end + 1
	}
	block := strings.Join(more, "\n") + "\n"
	if at > 0 && text[at-1] != '\n' {
		block = "\n" + block
	}
	return slices.Insert(slices.Clone(text), at, []byte(block)...)
}

// offsetOf turns line and column, from 1, the column in characters, into an offset.
func offsetOf(text []byte, line, column int) int {
	at := 0
	for range line - 1 {
		end := bytes.IndexByte(text[at:], '\n')
		if end < 0 {
			return len(text)
		}
		at += end + 1
	}
	for range column - 1 {
		_, n := utf8.DecodeRune(text[at:])
		at += n
	}
	return min(at, len(text))
}

// indentOf is how far the line below the n-th is indented.
func indentOf(text []byte, n int) int {
	rest := text[offsetOf(text, n+1, 1):]
	return len(rest) - len(bytes.TrimLeft(rest, " "))
}

var plainYAML = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_./-]*(/\*)?$`)

// yamlText writes a string so that it is read as one, in block and flow alike.
func yamlText(s string) string {
	reserved := []string{"true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"}
	if plainYAML.MatchString(s) && !slices.Contains(reserved, strings.ToLower(s)) {
		return s
	}
	b, err := json.Marshal(s)
	if err != nil {
		return `""` // never: a string has a JSON form
	}
	return string(b)
}

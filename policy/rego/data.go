package rego

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/goccy/go-yaml"
	yamlast "github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// readData merges the data files into one document. A file in a subfolder is put
// under the subfolder's name, as OPA does for bundles.
func readData(list []Source) (map[string]any, []Problem) {
	document := map[string]any{}
	var problems []Problem
	for _, s := range list {
		parse := parseJSON
		if path.Ext(s.Name) == ".yaml" {
			parse = parseYAML
		}
		facts, p := parse(s.Text)
		if p == nil {
			p = place(document, path.Dir(s.Name), facts)
		}
		if p != nil {
			p.File, p.Code = s.Name, "policy.data"
			problems = append(problems, *p)
		}
	}
	if _, taken := document[entryPackage]; taken && len(problems) == 0 {
		problems = append(problems, Problem{File: list[0].Name, Code: "policy.data",
			Message: "data." + entryPackage + " belongs to the rules; no data file may define it", Hint: "use another name"})
	}
	return document, problems
}

// place merges facts into document under the folder's name.
func place(document map[string]any, folder string, facts map[string]any) *Problem {
	at := document
	if folder != "." {
		for name := range strings.SplitSeq(folder, "/") {
			next, ok := at[name].(map[string]any)
			if !ok && at[name] != nil {
				return &Problem{Message: fmt.Sprintf("folder %q has the name of a value in another data file", folder)}
			}
			if !ok {
				next = map[string]any{}
				at[name] = next
			}
			at = next
		}
	}
	return merge(at, facts, "data")
}

func merge(into, from map[string]any, where string) *Problem {
	for k, v := range from {
		old, taken := into[k]
		a, isMap := old.(map[string]any)
		b, both := v.(map[string]any)
		switch {
		case !taken:
			into[k] = v
		case isMap && both:
			if p := merge(a, b, where+"."+k); p != nil {
				return p
			}
		default:
			return &Problem{Message: fmt.Sprintf("%s.%s is defined in another data file too", where, k)}
		}
	}
	return nil
}

func parseJSON(text []byte) (map[string]any, *Problem) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var facts map[string]any
	err := d.Decode(&facts)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			line, column := position(text, int(d.InputOffset()))
			return nil, &Problem{Line: line, Column: column, Message: "more after the end of the document"}
		}
		return facts, nil
	}
	offset := len(text)
	var syntax *json.SyntaxError
	var mismatch *json.UnmarshalTypeError
	if errors.As(err, &syntax) {
		offset = int(syntax.Offset) - 1
	}
	if errors.As(err, &mismatch) {
		return nil, &Problem{Line: 1, Message: "not an object", Hint: `begin with {`}
	}
	line, column := position(text, offset)
	return nil, &Problem{Line: line, Column: column, Message: err.Error()}
}

func parseYAML(text []byte) (map[string]any, *Problem) {
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, yamlProblem(err)
	}
	var body yamlast.Node
	for i, d := range file.Docs {
		if i > 0 {
			return nil, &Problem{Message: "more than one document", Hint: "remove the lines ---"}
		}
		body = d.Body
	}
	if body == nil || body.Type() == yamlast.CommentType || body.Type() == yamlast.NullType {
		return map[string]any{}, nil
	}
	var p *Problem
	yamlast.Walk(inspect(func(n yamlast.Node) {
		if t := n.Type(); p == nil && (t == yamlast.AliasType || t == yamlast.AnchorType) {
			// A few lines of aliases can stand for gigabytes.
			at := n.GetToken().Position
			p = &Problem{Line: at.Line, Column: at.Column, Message: "anchors and aliases are not read", Hint: "write the value out"}
		}
	}), body)
	if p != nil {
		return nil, p
	}
	var value any
	if err := yaml.NodeToValue(body, &value); err != nil {
		return nil, yamlProblem(err)
	}
	// The rules see JSON, so numbers and keys take JSON's form here.
	plain, err := json.Marshal(value)
	if err != nil {
		return nil, &Problem{Message: err.Error()}
	}
	if plain[0] != '{' {
		return nil, &Problem{Line: 1, Message: "not a mapping", Hint: `begin with "name: value"`}
	}
	return parseJSON(plain)
}

func yamlProblem(err error) *Problem {
	var at yaml.Error
	if errors.As(err, &at) && at.GetToken() != nil {
		pos := at.GetToken().Position
		return &Problem{Line: pos.Line, Column: pos.Column, Message: at.GetMessage()}
	}
	return &Problem{Message: err.Error()}
}

type inspect func(yamlast.Node)

func (f inspect) Visit(n yamlast.Node) yamlast.Visitor {
	f(n)
	return f
}

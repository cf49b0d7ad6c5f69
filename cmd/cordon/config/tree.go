package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds of the text itself. The YAML parser is recursive and takes time with the
// square of a mapping's length; within these bounds it needs neither a deep stack
// nor more than some seconds.
const (
	maxLine   = 4096  // bytes of a line
	maxIndent = 64    // columns a line may be indented by
	maxFlow   = 16    // brackets and braces inside each other
	maxDepth  = 32    // values inside each other, however they are written
	maxKeys   = 20000 // keys in the file, or some 1,500 devices
)

type kind string

// The kinds of YAML's core schema (YAML 1.2.2, section 10.3), named as a person is
// told them.
const (
	mapping kind = "a mapping"
	list    kind = "a list"
	text    kind = "text"
	number  kind = "the number"
	boolean kind = "the truth value"
	null    kind = "nothing"
)

// node is one value of the file, or one key.
type node struct {
	kind             kind
	text             string // scalars: the value; numbers as they are written
	plain            bool   // scalars: without quotes
	line, col, width int    // where it begins; width in characters of that line
	flow             bool   // a mapping in braces
	endLine, endCol  int    // where a mapping in braces ends: the brace
	key              *node  // the key it stands under, nil at the root and in lists
	path             string // "devices.mon-7.address"; "" at the root
	depth            int    // 0 at the root
	entries          []*node
}

// get returns the value under a key of a mapping, or nil.
func (n *node) get(key string) *node {
	for _, e := range n.entries {
		if e.key != nil && e.key.text == key {
			return e
		}
	}
	return nil
}

// tree turns the file's bytes into the value at its root, a mapping. It returns nil
// if that is not possible; why is among the faults then.
func (s *source) tree(src []byte) *node {
	s.checkBytes(src)
	if len(s.faults) > 0 {
		return nil
	}
	tokens := lexer.Tokenize(strings.Join(s.lines, "\n"))
	s.checkTokens(tokens)
	if len(s.faults) > 0 {
		return nil
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey()) // we report duplicates, all of them
	if err != nil {
		s.syntax(err)
		return nil
	}
	var root *node
	for _, doc := range file.Docs {
		if doc.Body != nil {
			root = s.node(doc.Body, nil, nil, "")
		}
	}
	if root == nil && len(s.faults) == 0 {
		s.whole("config.file.empty", "the configuration says nothing", "cordon init DIR")
	}
	return root
}

func (s *source) checkBytes(src []byte) {
	const reencode = "save the file as UTF-8 text without byte order mark"
	switch {
	case len(src) > MaxSize:
		s.whole("config.file.size", fmt.Sprintf("the configuration is larger than %d bytes", MaxSize), "name the right file with -c FILE")
		return
	case strings.HasPrefix(s.lines[0], "\uFEFF"):
		s.fault(&node{line: 1, col: 1}, "config.file.encoding", "the configuration begins with a byte order mark", reencode)
		return
	}
	for i, line := range s.lines {
		at := &node{line: i + 1, col: 1}
		if !utf8.ValidString(line) {
			valid := strings.IndexRune(strings.ToValidUTF8(line, "\uFFFD"), utf8.RuneError)
			at.col = utf8.RuneCountInString(line[:max(valid, 0)]) + 1
			s.fault(at, "config.file.encoding", "the configuration is not UTF-8", reencode)
			return
		}
		if len(line) > maxLine {
			s.fault(at, "config.yaml.size", fmt.Sprintf("the line has %d bytes, at most %d are read", len(line), maxLine), "break the line")
			continue
		}
		if indent := indentOf(line); indent > maxIndent {
			at.col = indent + 1
			s.fault(at, "config.yaml.nesting", fmt.Sprintf("the line is indented by %d columns, at most %d are read", indent, maxIndent), "indent by two spaces for each level")
		}
		comment := false
		for j, r := range []rune(line) {
			at.col = j + 1
			comment = comment || r == '#'
			switch {
			case r == '\t' && !comment:
				s.fault(at, "config.yaml.tab", "a tab, where YAML wants spaces", "indent by two spaces for each level; inside quotes write \\t")
			case r < ' ' && r != '\t', r == 0x7f:
				s.fault(at, "config.file.encoding", fmt.Sprintf("the control character U+%04X", r), "remove it; inside quotes write an escape such as \\n")
			case hidesText(r):
				s.fault(at, "config.file.encoding", fmt.Sprintf("the invisible character U+%04X, which makes text look like other text", r), "remove it")
			default:
				continue
			}
			break
		}
	}
}

// hidesText reports whether a character changes how its neighbours are shown, so that
// a reviewer sees another file than the gateway (Unicode TR36, bidirectional spoofing;
// CVE-2021-42574).
func hidesText(r rune) bool {
	return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x2028 || r == 0x2029 || r == 0x85 || r == 0xfeff || r >= 0x200b && r <= 0x200f
}

// checkTokens refuses what is YAML but not plain data, before the parser follows it.
func (s *source) checkTokens(tokens token.Tokens) {
	flow, dashes, keys, content, alias := 0, 0, 0, false, false
	for _, tk := range tokens {
		at := positioned(tk)
		switch tk.Type {
		case token.AnchorType, token.AliasType, token.MergeKeyType:
			if !alias {
				s.fault(at, "config.yaml.alias", "anchors, aliases and merges are not read: a line must show its own value", "write the value out where it is meant")
			}
			alias = true
		case token.TagType:
			s.fault(at, "config.yaml.tag", "tags are not read", "remove the tag; put text in quotes")
		case token.DirectiveType:
			s.fault(at, "config.yaml.directive", "directives are not read", "remove the line")
		case token.MappingKeyType:
			s.fault(at, "config.yaml.key", "a key that is written with a question mark", "write key: value")
		case token.DocumentEndType:
			s.fault(at, "config.yaml.document", "the end of a document inside the file", "remove the line")
		case token.DocumentHeaderType:
			if content {
				s.fault(at, "config.yaml.document", "a second document in the file", "keep everything in one document")
			}
		case token.SequenceStartType, token.MappingStartType:
			if flow++; flow == maxFlow+1 {
				s.fault(at, "config.yaml.nesting", fmt.Sprintf("more than %d brackets inside each other", maxFlow), "write it on lines of their own")
			}
		case token.SequenceEntryType: // "- - - x" is lists inside each other, too
			if dashes++; dashes == maxFlow+1 {
				s.fault(at, "config.yaml.nesting", fmt.Sprintf("more than %d dashes on one line", maxFlow), "give each item its own line")
			}
		case token.SequenceEndType, token.MappingEndType:
			flow--
		case token.MappingValueType:
			if keys++; keys == maxKeys+1 {
				s.fault(at, "config.yaml.size", fmt.Sprintf("more than %d keys", maxKeys), "give some of the devices to another gateway")
			}
		}
		if tk.Type != token.SequenceEntryType {
			dashes = 0
		}
		content = content || tk.Type != token.CommentType
	}
}

func positioned(tk *token.Token) *node {
	if tk == nil || tk.Position == nil {
		return &node{line: 1, col: 1}
	}
	first, _, _ := strings.Cut(strings.TrimSpace(tk.Origin), "\n")
	return &node{line: tk.Position.Line, col: tk.Position.Column, width: utf8.RuneCountInString(first)}
}

// syntax reports the parser's error in words that fit the others.
func (s *source) syntax(err error) {
	at, message := &node{line: 1, col: 1}, "cannot be read"
	var syntax *yaml.SyntaxError
	if errors.As(err, &syntax) {
		at, message = positioned(syntax.Token), syntax.Message
		at.width = 1
	}
	if line := min(max(at.line, 1), len(s.lines)); s.secret(line) {
		message = "cannot be read" // the parser may quote what it saw
	}
	try := "compare its indentation and quotes with the lines around it"
	if strings.Contains(message, "mapping value is not allowed") {
		try = "give each key its own line, keys of one level the same indentation, and quote text that contains \": \""
	}
	s.fault(at, "config.yaml.syntax", "not valid YAML: "+message, try)
}

// node converts what the parser made, under a key or, in a list, a number as name.
func (s *source) node(n ast.Node, parent, key *node, name string) *node {
	out := positioned(n.GetToken())
	out.key, out.path = key, name
	if parent != nil {
		out.depth = parent.depth + 1
		if parent.path != "" {
			out.path = parent.path + "." + name
		}
	}
	if out.depth > maxDepth {
		s.fault(out, "config.yaml.nesting", fmt.Sprintf("more than %d values inside each other", maxDepth), "write it less deep")
		out.kind = null
		return out
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		s.entries(out, n.Values)
		out.flow = n.IsFlowStyle
		if n.End != nil && n.End.Position != nil {
			out.endLine, out.endCol = n.End.Position.Line, n.End.Position.Column
		}
	case *ast.MappingValueNode:
		s.entries(out, []*ast.MappingValueNode{n})
	case *ast.SequenceNode:
		out.kind = list
		for i, item := range n.Values {
			out.entries = append(out.entries, s.node(item, out, nil, fmt.Sprint(i+1)))
		}
	case *ast.LiteralNode:
		out.kind, out.text = text, n.Value.Value
	case *ast.NullNode:
		out.kind, out.plain, out.text = null, true, n.Token.Value
		if n.Token.Type == token.ImplicitNullType {
			out.text = ""
			if key != nil {
				out.line, out.col, out.width = key.line, key.col, key.width
			}
		}
	case ast.ScalarNode:
		tk := n.GetToken()
		out.text = tk.Value
		out.kind = text
		if out.plain = tk.Type != token.SingleQuoteType && tk.Type != token.DoubleQuoteType; out.plain {
			out.kind = coreKind(tk.Value)
		}
	default:
		s.fault(out, "config.yaml.syntax", "not valid YAML: a value is missing here", "write key: value")
		out.kind = null
	}
	return out
}

func (s *source) entries(out *node, values []*ast.MappingValueNode) {
	out.kind = mapping
	seen := make(map[string]*node, len(values))
	for i, v := range values {
		key := positioned(v.Key.GetToken())
		key.kind, key.text = text, v.Key.GetToken().Value
		if i == 0 && !out.flow && v.Start != nil && out.line == v.Start.Position.Line {
			out.line, out.col, out.width = key.line, key.col, key.width // the parser points at the colon
		}
		if first := seen[key.text]; first != nil {
			s.note(key, "config.key.duplicate", fmt.Sprintf("key %q is given twice", key.text), fmt.Sprintf("first given at line %d", first.line), "keep one of the two")
			continue
		}
		seen[key.text] = key
		out.entries = append(out.entries, s.node(v.Value, out, key, key.text))
	}
}

var (
	coreInt   = regexp.MustCompile(`^([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$`)
	coreFloat = regexp.MustCompile(`^([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$`)
)

// coreKind resolves a plain scalar by the core schema alone: no, 1:30 and 1_000 are
// text.
func coreKind(s string) kind {
	switch s {
	case "", "~", "null", "Null", "NULL":
		return null
	case "true", "True", "TRUE", "false", "False", "FALSE":
		return boolean
	}
	if coreInt.MatchString(s) || coreFloat.MatchString(s) {
		return number
	}
	return text
}

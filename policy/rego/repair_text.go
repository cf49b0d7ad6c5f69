package rego

import (
	"bytes"
	"path"
	"slices"
	"strings"
)

// writeEdits makes edits of lists in the data files of a policy, and notes in each which lines those are. Where a file cannot
// be edited line by line, or would not mean what was tried, no edit has a place.
func writeEdits(files []Source, edits []Edit) {
	document, problems := readData(files)
	if len(problems) > 0 {
		return
	}
	for i := range edits {
		files = edits[i].write(files)
		if x := &edits[i]; x.Kind == EditData && !x.There {
			document, _ = addTo(document, x.Path, x.Value).(map[string]any)
		}
	}
	if written, problems := readData(files); len(problems) > 0 || !sameJSON(written, document) {
		for i := range edits {
			edits[i].Place = Place{}
		}
	}
}

// write makes x in the file that has its table, if one of them is YAML.
func (x *Edit) write(files []Source) []Source {
	x.Place = Place{}
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
		if tables, p := parseYAML(f.Text); p != nil || tables[where[0]] == nil {
			continue // another file's table
		}
		text, err := tableEdit{where, x.Value}.write(f.Text)
		if err != nil {
			continue
		}
		if x.There = bytes.Equal(text, f.Text); !x.There {
			x.Place = placeOf(string(f.Text), string(text))
		}
		x.File = f.Name
		files = slices.Clone(files)
		files[i] = Source{f.Name, text}
		return files
	}
	return files
}

// placeOf is where after differs from before: in lines that follow each other.
func placeOf(before, after string) Place {
	plain := func(text string) []string {
		return strings.Split(strings.TrimSuffix(strings.ReplaceAll(text, "\r\n", "\n"), "\n"), "\n")
	}
	a, b := plain(before), plain(after)
	same := 0
	for same < len(a) && same < len(b) && a[same] == b[same] {
		same++
	}
	for len(a) > same && len(b) > same && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	return Place{Line: same + 1, Before: strings.Join(a[same:], "\n"), After: strings.Join(b[same:], "\n")}
}

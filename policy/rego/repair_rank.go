package rego

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"cordon/policy"
)

// mildest is the order in which the classes of operation are proposed where several would do.
var mildest = [...]policy.Class{policy.ClassSession, policy.ClassQuery, policy.ClassRead, policy.ClassNotify, policy.ClassWrite, policy.ClassAdmin, policy.ClassControl}

// narrowest keeps one repair for each set of places: that with the mildest values.
func narrowest(found []trial) []trial {
	value := func(v string) int {
		i := slices.Index(mildest[:], policy.Class(v))
		switch {
		case v == "*":
			return 100
		case i < 0:
			return 50
		}
		return i
	}
	weight := func(t trial) (w int) {
		for _, x := range t.edits {
			if x.Kind == EditData {
				w += value(x.Value)
			}
		}
		return w
	}
	slices.SortStableFunc(found, func(a, b trial) int {
		return cmp.Or(cmp.Compare(breadth(a.edits), breadth(b.edits)), cmp.Compare(weight(a), weight(b)))
	})
	seen := map[string]bool{}
	var out []trial
	for _, t := range found {
		var places []string
		for _, x := range t.edits {
			place := x.Kind + "\x00" + strings.Join(x.Path, "\x00")
			if x.Kind != EditData {
				place += "\x00" + x.Value
			}
			places = append(places, place)
		}
		slices.Sort(places)
		if key := strings.Join(places, "\x01"); !seen[key] {
			seen[key] = true
			out = append(out, t)
		}
	}
	return out
}

// breadth orders repairs by what they are about: less, or fewer, comes first.
func breadth(edits []Edit) (n int) {
	for _, x := range edits {
		n += 10 * len(edits)
		for _, name := range append(slices.Clone(x.Path), x.Value) {
			n += strings.Count(name, "*")
			if name == "*" {
				n += 2
			}
		}
		switch x.Kind {
		case EditState:
			n += 30
		case EditRole:
			n += 31
		}
	}
	return n
}

// repairs writes the edits of data into the files, and decides once more.
func (s *search) repairs(ctx context.Context, found []trial) ([]Repair, error) {
	out := []Repair{}
	for _, t := range found {
		if len(out) == maxRepairs {
			break
		}
		e, _, err := s.made(t.edits)
		if err != nil {
			return nil, err
		}
		p := Repair{Edits: slices.Clone(t.edits), engine: e}
		files := s.engine.folder.data
		if w := s.around.Workspace; w != nil {
			files = w.folder.data
		}
		writeEdits(files, p.Edits)
		r := *s.request
		for _, x := range p.Edits {
			assume(&r, x)
		}
		if d := p.engine.Decide(ctx, &r); !d.Allow {
			continue
		}
		out = append(out, p)
	}
	return out, ctx.Err()
}

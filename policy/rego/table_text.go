package rego

import (
	"fmt"
	"slices"
	"strings"

	"cordon/policy"
)

// TableFile is the truth table's name inside a policy folder. It decides nothing.
const TableFile = "TABLE.md"

// TableRow is cells that stand side by side: what one role may do on some classes of device.
type TableRow struct {
	Role      string
	Devices   []string
	Protocols string
	Cells     []string // one for each operation of the section, in words
}

// TableSection is rows with the same operations.
type TableSection struct {
	Title      string
	Operations []string // heads of the cells
	Rows       []TableRow
}

// tableRemark says what the words in the cells mean, and what is not there.
const tableRemark = "`yes`: while the device is active and in maintenance. `maintenance`, `active`: only then. `always`: even while it is quarantined.\n" +
	"A role, a device or a protocol without a row may do nothing there. `imaging/*` is any class below imaging that has no row of its\n" +
	"own, `*` any other device. A subject has AE titles of its own; virtual patches, labels and other facts are not in the table."

// Sections arranges a table for people. Rows in which nothing is ever allowed are left out, and
// protocols that are treated alike share one.
func Sections(cells []Cell) []TableSection {
	var sections []TableSection
	for _, s := range []struct {
		title, from string
		dicom       bool
	}{
		{"What a client may do", FromClient, false},
		{"What a client may do over DICOM", FromClient, true},
		{"What a device may send on a client's session", FromDevice, false},
		{"What a device may send on a client's DICOM association", FromDevice, true},
		{"What a device may do on a connection it opens by itself", FromCallOut, false},
		{"What a device may do on a DICOM association it opens by itself", FromCallOut, true},
	} {
		of := slices.DeleteFunc(slices.Clone(cells), func(c Cell) bool { return c.From != s.from || (c.Protocol == "dicom") != s.dicom })
		if rows, operations := arrange(of); len(rows) > 0 {
			sections = append(sections, TableSection{s.title, operations, rows})
		}
	}
	return sections
}

// arrange makes rows of the cells of one section, and returns the heads of their columns.
// Devices that are treated alike share a row, and so do protocols.
func arrange(cells []Cell) (rows []TableRow, operations []string) {
	type line struct {
		role               string
		devices, protocols []string
		words              []string
	}
	var byProtocol, lines []*line
	join := func(lines []*line, l *line, same func(a, b *line) bool, add func(to *line)) []*line {
		i := slices.IndexFunc(lines, func(m *line) bool { return m.role == l.role && slices.Equal(m.words, l.words) && same(m, l) })
		if i < 0 {
			return append(lines, l)
		}
		add(lines[i])
		return lines
	}
	for _, row := range rowsOf(cells) {
		if operations == nil {
			for _, c := range row {
				operations = append(operations, c.Operation)
			}
		}
		l := &line{role: row[0].Role, devices: []string{row[0].Device}, protocols: []string{row[0].Protocol}}
		for _, c := range row {
			l.words = append(l.words, inStates(c.States))
		}
		if !slices.ContainsFunc(row, func(c Cell) bool { return len(c.States) > 0 }) {
			continue
		}
		byProtocol = join(byProtocol, l, func(a, b *line) bool { return slices.Equal(a.devices, b.devices) }, func(to *line) {
			if !slices.Contains(to.protocols, l.protocols[0]) { // two kinds of subject may hold the role
				to.protocols = append(to.protocols, l.protocols[0])
			}
		})
	}
	for _, l := range byProtocol {
		lines = join(lines, l, func(a, b *line) bool { return slices.Equal(a.protocols, b.protocols) }, func(to *line) { to.devices = append(to.devices, l.devices...) })
	}
	for _, l := range lines {
		rows = append(rows, TableRow{l.role, l.devices, protocolsInWords(l.protocols), l.words})
	}
	return rows, operations
}

// rowsOf cuts cells where anything but the operation changes.
func rowsOf(cells []Cell) (rows [][]Cell) {
	for len(cells) > 0 {
		first, n := cells[0], 1
		for n < len(cells) && cells[n].Role == first.Role && cells[n].Kind == first.Kind && cells[n].Device == first.Device && cells[n].Protocol == first.Protocol {
			n++
		}
		rows, cells = append(rows, cells[:n]), cells[n:]
	}
	return rows
}

func protocolsInWords(list []string) string {
	if len(list) == len(tableProtocols) {
		return "any"
	}
	if len(list) == len(tableProtocols)-1 && !slices.Contains(list, "dicom") {
		return "any but dicom"
	}
	return strings.Join(list, ", ")
}

// inStates says in a word when something is allowed.
func inStates(states []string) string {
	switch strings.Join(states, " ") {
	case "":
		return "–"
	case policy.StateActive + " " + policy.StateMaintenance:
		return "yes"
	case strings.Join(tableStates[:], " "):
		return "always"
	}
	return strings.Join(states, ", ")
}

// TableChange is cells that changed alike, in words.
type TableChange struct {
	Role, Device, From, Protocols, Operation string
	Before, After                            string
}

// ChangesInWords joins the changes that differ in nothing but the protocol.
func ChangesInWords(changed []CellChange) (out []TableChange) {
	protocols := map[TableChange][]string{}
	var order []TableChange
	for _, c := range changed {
		k := TableChange{c.Role, c.Device, c.From, "", c.Operation, inStates(c.Before), inStates(c.States)}
		if protocols[k] == nil {
			order = append(order, k)
		}
		if !slices.Contains(protocols[k], c.Protocol) {
			protocols[k] = append(protocols[k], c.Protocol)
		}
	}
	for _, k := range order {
		words := k
		words.Protocols = protocolsInWords(protocols[k])
		out = append(out, words)
	}
	return out
}

// TableMarkdown is the truth table as it is kept beside the policy.
func TableMarkdown(cells []Cell) []byte {
	var b strings.Builder
	b.WriteString("# Who may do what\n\nWhat the policy answers, asked about every role, class of device, class of operation, state and direction.\n" +
		"`cordon policy table -w` writes this page, and `cordon policy check` says if it is not what the policy does.\n\n" + tableRemark + "\n")
	for _, s := range Sections(cells) {
		fmt.Fprintf(&b, "\n## %s\n\n", s.Title)
		heads := append([]string{"role", "device", "protocol"}, s.Operations...)
		fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(heads, " | "), strings.Repeat("---|", len(heads)))
		for _, r := range s.Rows {
			fmt.Fprintf(&b, "| %s |\n", strings.Join(append([]string{r.Role, "`" + strings.Join(r.Devices, "` `") + "`", r.Protocols}, r.Cells...), " | "))
		}
	}
	return []byte(b.String())
}

package hl7

// writer writes segments. Whatever it is given, it writes printable ASCII and no delimiter
// that was not asked for.
type writer struct {
	b []byte
	d delimiters
}

func (w *writer) segment(name string) { w.b = append(append(w.b, name...), w.d.field) }
func (w *writer) field()              { w.b = append(w.b, w.d.field) }
func (w *writer) end()                { w.b = append(w.b, cr) }

// location writes an error's place, segment, number and field, with "^" between them.
func (w *writer) location(at string) {
	for _, c := range []byte(at) {
		if c == '^' {
			c = w.d.component
		}
		w.b = append(w.b, c)
	}
}

// echo writes a field of the message, whose components stay what they are; flat says that
// its delimiters are not the answer's.
func (w *writer) echo(field string, flat bool) {
	for _, c := range []byte(field[:min(len(field), maxValue)]) {
		if c < ' ' || c > '~' || c == w.d.field || flat && w.d.is(c) {
			c = '?'
		}
		w.b = append(w.b, c)
	}
}

// text writes text of the gateway's, at most limit characters of it.
func (w *writer) text(s string, limit int) {
	for _, c := range []byte(s[:min(len(s), limit)]) {
		name := byte(0)
		switch c {
		case w.d.field:
			name = 'F'
		case w.d.component:
			name = 'S'
		case w.d.sub:
			name = 'T'
		case w.d.repetition:
			name = 'R'
		case w.d.escape:
			name = 'E'
		}
		switch {
		case c < ' ' || c > '~':
			w.b = append(w.b, '?')
		case name == 0:
			w.b = append(w.b, c)
		case w.d.escape == 0:
			w.b = append(w.b, ' ')
		default:
			w.b = append(w.b, w.d.escape, name, w.d.escape)
		}
	}
}

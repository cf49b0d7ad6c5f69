package http

// body follows a message's body without reading it.
type body struct {
	chunked  bool
	trailers bool  // allowed
	limit    int64 // of a chunked body
	left     int64 // bytes until the end, or until the end of the chunk
	total    int64 // of the chunks begun
	started  bool  // there was a chunk: the next size follows a line end
	final    bool  // only the trailer section is left
	scan     scan  // in it
}

// trailerLimits are those of a trailer section.
var trailerLimits = limits{line: 8 << 10, head: 8 << 10, fields: 64}

// take covers what b begins with, as far as it is understood, and returns how many bytes that
// is. Content is covered beyond b if ahead says so. done says that the body ends there.
func (t *body) take(b []byte, ahead bool) (n int64, done bool, wrong *fault) {
	for {
		here := t.left
		if !ahead {
			here = min(here, int64(len(b))-n)
		}
		n += here
		t.left -= here
		switch {
		case !t.chunked:
			return n, t.left == 0, nil
		case t.left > 0, n > int64(len(b)):
			return n, false, nil
		}
		var used int
		if t.final {
			used, done, wrong = t.trailer(b[n:])
		} else {
			used, wrong = t.size(b[n:])
		}
		n += int64(used)
		if used == 0 || done || wrong != nil {
			return n, done, wrong
		}
	}
}

// maxSize is the length of the longest chunk size: 60 bits.
const maxSize = 15

// size reads the line with a chunk's size, and the line end of the chunk before it. Each byte
// is judged as it comes: where it is wrong does not depend on how much has arrived.
func (t *body) size(b []byte) (used int, wrong *fault) {
	if t.started {
		if used, wrong = lineEnd(b, badChunkEnd); used == 0 || wrong != nil {
			return 0, wrong
		}
	}
	var n int64
	for i := used; i < len(b); i++ {
		digit := hexDigit(b[i])
		switch {
		case digit >= 0 && i-used < maxSize:
			n = n<<4 | int64(digit)
			continue
		case b[i] == ';' && i > used:
			return 0, chunkExtension
		case digit >= 0 || b[i] != '\r' || i == used:
			return 0, badChunk
		}
		end, wrong := lineEnd(b[i:], badChunk)
		if end == 0 || wrong != nil {
			return 0, wrong
		}
		if t.total += n; t.total > t.limit {
			return 0, bodyLong
		}
		t.left, t.started, t.final = n, true, n == 0
		return i + end, nil
	}
	return 0, nil
}

// lineEnd expects CR LF, and returns 0 as long as it is not all there.
func lineEnd(b []byte, otherwise *fault) (int, *fault) {
	switch {
	case len(b) > 0 && b[0] != '\r', len(b) > 1 && b[1] != '\n':
		return 0, otherwise
	case len(b) < 2:
		return 0, nil
	}
	return 2, nil
}

// trailer takes the section behind the last chunk.
func (t *body) trailer(b []byte) (used int, done bool, wrong *fault) {
	if len(b) == 0 || b[0] == '\r' && t.scan.lines == 0 {
		used, wrong = lineEnd(b, bareLF)
		return used, used > 0, wrong
	}
	if !t.trailers {
		return 0, false, hasTrailer
	}
	n, wrong := t.scan.find(b, &trailerLimits, func([]byte) bool { return true }, false)
	if n == 0 || wrong != nil {
		return 0, false, wrong
	}
	return n, true, checkTrailer(string(b[:n]))
}

// checkTrailer refuses fields that would change what the message is (RFC 9110 section 6.5.1).
func checkTrailer(rest string) *fault {
	for {
		var line string
		if line, rest = nextLine(rest); line == "" {
			return nil
		}
		name, _, wrong := splitField(line)
		if wrong != nil {
			return wrong
		}
		for _, f := range [...]string{"authorization", "cookie", "set-cookie", "content-type", "content-range", "cache-control"} {
			if sameName(name, f) {
				return badTrailer
			}
		}
		if framing(name) {
			return badTrailer
		}
	}
}

package conformance

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"cordon/plugins/sdk"
)

// piece is what arrives at once: a part of a turn, numbered from 1.
type piece struct {
	turn int
	dir  sdk.Direction
	data []byte
	end  bool
}

// cutting is one way a dialogue may arrive.
type cutting struct {
	name   string
	pieces []piece
}

// turns joins adjacent chunks of one direction, and lets both directions end. What
// follows an end is left out.
func (d Dialogue) turns() []chunk {
	var list []chunk
	var ended [2]bool
	add := func(c chunk) {
		if ended[c.dir] || len(c.data) == 0 && !c.end {
			return
		}
		ended[c.dir] = c.end
		if last := len(list) - 1; last >= 0 && list[last].dir == c.dir {
			list[last].data = append(slices.Clip(list[last].data), c.data...)
			list[last].end = c.end
			return
		}
		list = append(list, c)
	}
	for _, c := range d.chunks {
		add(c)
	}
	add(chunk{dir: sdk.Forward, end: true})
	add(chunk{dir: sdk.Reverse, end: true})
	return list
}

// boundaries are the offsets where chunks end.
func (d Dialogue) boundaries() [2][]int64 {
	var ends [2][]int64
	var at [2]int64
	for _, c := range d.chunks {
		at[c.dir] += int64(len(c.data))
		ends[c.dir] = append(ends[c.dir], at[c.dir])
	}
	return ends
}

// whole shows each turn at once, and its end after it.
func whole(turns []chunk) cutting {
	return cutting{"whole", cut(turns, func(int, []byte) []int { return nil }, false)}
}

// inTwo cuts one turn at one offset.
func inTwo(turns []chunk, n, at int) cutting {
	return cutting{
		fmt.Sprintf("turn %d (%s) cut at its byte %d", n+1, turns[n].dir, at),
		cut(turns, func(turn int, _ []byte) []int {
			if turn == n {
				return []int{at}
			}
			return nil
		}, true),
	}
}

// even cuts every turn into pieces of size bytes.
func even(turns []chunk, size int) cutting {
	return cutting{
		fmt.Sprintf("pieces of %d", size),
		cut(turns, func(_ int, data []byte) []int {
			var at []int
			for i := size; i < len(data); i += size {
				at = append(at, i)
			}
			return at
		}, true),
	}
}

// atRandom cuts every turn at up to most places.
func atRandom(turns []chunk, rnd *rand.Rand, most int) cutting {
	return cutting{
		"cut at random",
		cut(turns, func(_ int, data []byte) []int {
			if len(data) < 2 {
				return nil
			}
			var at []int
			for range rnd.IntN(most + 1) {
				at = append(at, 1+rnd.IntN(len(data)-1))
			}
			slices.Sort(at)
			return slices.Compact(at)
		}, rnd.IntN(2) == 0),
	}
}

// cut makes pieces. endWithData says whether a turn's end comes with its last bytes or
// after them.
func cut(turns []chunk, places func(turn int, data []byte) []int, endWithData bool) []piece {
	var list []piece
	for n, t := range turns {
		from := 0
		for _, at := range append(places(n, t.data), len(t.data)) {
			if at > from {
				list = append(list, piece{n + 1, t.dir, t.data[from:at], false})
			}
			from = at
		}
		switch {
		case !t.end:
		case endWithData && len(t.data) > 0:
			list[len(list)-1].end = true
		default:
			list = append(list, piece{n + 1, t.dir, nil, true})
		}
	}
	return list
}

// interrupted lets a Forward turn arrive in the middle of the Reverse turn before it, as it
// does from a client that does not wait for its replies.
func interrupted(turns []chunk, n, at int) cutting {
	list := slices.Clone(turns)
	rest := list[n]
	list[n].data, rest.data = rest.data[:at], rest.data[at:]
	list[n].end = false
	list = slices.Insert(list, n+2, rest)
	c := whole(list)
	c.name = fmt.Sprintf("turn %d (%s) interrupted at its byte %d by turn %d", n+1, rest.dir, at, n+2)
	return c
}

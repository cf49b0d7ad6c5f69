package audit

import (
	"fmt"
	"io"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// tree is the Merkle tree of a growing log, reduced to what the next leaf needs: the
// roots of the complete subtrees along its right edge.
type tree struct {
	size int64
	edge [63]tlog.Hash // edge[l] is meaningful where bit l of size is set
}

// add appends a leaf, and appends to stored the nodes it completes, in tlog's storage
// order. It is tlog.StoredHashes without the reads and allocations.
func (t *tree) add(leaf tlog.Hash, stored []tlog.Hash) []tlog.Hash {
	h, level := leaf, 0
	stored = append(stored, h)
	for ; t.size>>level&1 == 1; level++ {
		h = tlog.NodeHash(t.edge[level], h)
		stored = append(stored, h)
	}
	t.edge[level] = h
	t.size++
	return stored
}

func (t *tree) root() tlog.Hash {
	if t.size == 0 {
		h, _ := tlog.TreeHash(0, nil) // reads nothing
		return h
	}
	level := bits.TrailingZeros64(uint64(t.size))
	h := t.edge[level]
	for level++; level < len(t.edge); level++ {
		if t.size>>level&1 == 1 {
			h = tlog.NodeHash(t.edge[level], h)
		}
	}
	return h
}

// loadTree reads the edge of the tree of the given size from stored nodes.
func loadTree(size int64, r tlog.HashReader) (tree, error) {
	t := tree{size: size}
	for level := range t.edge {
		if n := size >> level; n&1 == 1 {
			h, err := r.ReadHashes([]int64{tlog.StoredHashIndex(level, n-1)})
			if err != nil {
				return tree{}, err
			}
			t.edge[level] = h[0]
		}
	}
	return t, nil
}

// storedHashes reads nodes from the hashes file.
func storedHashes(f io.ReaderAt) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			if _, err := f.ReadAt(out[i][:], x*tlog.HashSize); err != nil {
				return nil, fmt.Errorf("read node %d of the hash file: %w", x, err)
			}
		}
		return out, nil
	})
}

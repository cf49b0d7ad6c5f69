package guest

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// A power cut takes only what was not flushed, some of it; and the image under the disk stays.
func TestDiskCut(t *testing.T) {
	dir := t.TempDir()
	image := filepath.Join(dir, "image")
	const size = 64 * block
	if err := os.WriteFile(image, bytes.Repeat([]byte{'0'}, size), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := NewDisk(image, filepath.Join(dir, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	fill := func(c byte, offset, n int64) {
		if err := d.write(bytes.Repeat([]byte{c}, int(n)), offset); err != nil {
			t.Fatal(err)
		}
	}
	fill('a', 512, 32*block) // not at a block's begin
	d.flush()
	fill('b', 512, 32*block)
	pending, lost := d.Cut(1)
	if pending != 33 || lost == 0 || lost == pending {
		t.Errorf("%d blocks were not flushed, %d of them lost", pending, lost)
	}
	got := make([]byte, size)
	if err := d.read(got, 0); err != nil {
		t.Fatal(err)
	}
	is := map[byte]int{}
	for i, c := range got {
		within := i >= 512 && i < 512+32*block
		if within != (c == 'a' || c == 'b') {
			t.Fatalf("byte %d is %q", i, c)
		}
		is[c]++
	}
	if is['a'] == 0 || is['b'] == 0 {
		t.Errorf("the disk holds %v", is)
	}
	if b, err := os.ReadFile(image); err != nil || bytes.Count(b, []byte{'0'}) != size {
		t.Errorf("the image was written to, %v", err)
	}
}

package envelope

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"cordon/cmd/cordon/exit"
)

func TestSealed(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	set, codes, err := Seal(4, 2, "dana", now)
	if err != nil {
		t.Fatal(err)
	}
	spend := func(want string, codes ...string) {
		t.Helper()
		got := ""
		if numbers, err := set.Spend(codes, now); err != nil {
			got = exit.Errors(err)[0].Code
		} else {
			got = set.Name(numbers)
		}
		if got != want {
			t.Errorf("%q: %s, want %s", codes, got, want)
		}
	}
	const wrong = "break_glass.codes"
	spend(wrong)
	spend(wrong, codes[0])
	set.Wrong = 0
	spend(wrong, codes[0], codes[0])
	spend(wrong, codes[0], codes[1][:16])
	set.Wrong = 0
	spend("sealed codes 2, 4 of 2026-11-22T12:00:00Z", "nonsense", " "+strings.ToLower(codes[3]), strings.ReplaceAll(strings.ReplaceAll(codes[1], "-", ""), "0", "O"))
	if set.Unused() != 2 {
		t.Errorf("%d are left", set.Unused())
	}
	spend(wrong, codes[1], codes[3])
	spend(wrong, codes[0], codes[3])
	set.Wrong = 0
	spend("sealed codes 1, 3 of 2026-11-22T12:00:00Z", codes...)
	spend(wrong, codes...)

	// Another set knows nothing of these.
	other, _, err := Seal(4, 2, "dana", now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Spend(codes, now); err == nil {
		t.Error("codes of another set are taken")
	}
	for _, n := range [][2]int{{0, 0}, {5, 0}, {5, 6}, {maxCodes + 1, 2}, {-1, -1}} {
		if _, _, err := Seal(n[0], n[1], "dana", now); err == nil {
			t.Errorf("sealed %v", n)
		}
	}
}

// Whoever guesses waits ever longer, up to a minute; the right codes do not help meanwhile.
func TestSealedWait(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	set, codes, err := Seal(2, 1, "dana", now)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []time.Duration{0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60} {
		if got := set.wait(now); got != want*time.Second {
			t.Errorf("after %d wrong tries the wait is %v, want %v s", i, got, int(want))
		}
		if want > 0 {
			now = now.Add(want*time.Second - 1)
			if _, err := set.Spend(codes, now); err == nil || exit.Errors(err)[0].Code != "break_glass.wait" {
				t.Errorf("before the wait is over: %v", err)
			}
			now = now.Add(1)
		}
		if _, err := set.Spend([]string{"GUESS"}, now); err == nil || exit.Errors(err)[0].Code != "break_glass.codes" {
			t.Errorf("a guess: %v", err)
		}
	}
	// A clock that was set back does not lock everybody out.
	if got := set.wait(now.Add(-24 * time.Hour)); got != 0 {
		t.Errorf("with the clock a day back the wait is %v", got)
	}
	if _, err := set.Spend(codes, now.Add(LongestWait)); err != nil || set.Wrong != 0 {
		t.Errorf("behind the wait: %v, %d wrong", err, set.Wrong)
	}
}

func TestSealedFile(t *testing.T) {
	state := t.TempDir()
	if _, err := Read(state); err != ErrNone {
		t.Errorf("none: %v", err)
	}
	set, codes, err := Seal(3, 2, "dana", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := set.Write(state); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(state, File)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range codes {
		for _, part := range append(strings.Split(c, "-"), readCode(c)) {
			if strings.Contains(string(text), part) {
				t.Errorf("%s is in the file", part)
			}
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
	if back, err := Read(state); err != nil || !reflect.DeepEqual(back, set) {
		t.Errorf("read back %+v, %v", back, err)
	}
	for _, bad := range []string{"", "{}", string(text[:len(text)/2]), strings.Replace(string(text), `"need":2`, `"need":0`, 1), strings.Replace(string(text), `"need":2`, `"need":4`, 1),
		strings.Replace(string(text), `"need"`, `"needs"`, 1), strings.Repeat(" ", maxFile+1)} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(state); err == nil || err == ErrNone {
			t.Errorf("%.40q is taken: %v", bad, err)
		}
	}
}

package envelope

import (
	"testing"
	"time"
)

// TestRestored: no code is good again that was used after the backup.
func TestRestored(t *testing.T) {
	now := time.Now()
	set, codes, err := Seal(4, 2, "local/root", now)
	if err != nil {
		t.Fatal(err)
	}
	since := *set
	since.Codes = append([]sealedCode{}, set.Codes...)
	if _, err := since.Spend([]string{codes[0], codes[2]}, now); err != nil {
		t.Fatal(err)
	}
	since.Wrong = 2
	back, same := set.Restored(&since)
	if !same || back.Unused() != 2 || back.Wrong != 2 || set.Unused() != 4 {
		t.Errorf("known: same is %v, %+v", same, back)
	}
	if _, err := back.Spend([]string{codes[0], codes[1]}, now); err == nil {
		t.Error("a used code is good again")
	}
	if back, same := since.Restored(set); !same || back.Unused() != 2 {
		t.Errorf("used before the backup: same is %v, %+v", same, back)
	}
	other, _, err := Seal(4, 2, "local/root", now)
	if err != nil {
		t.Fatal(err)
	}
	for name, since := range map[string]*Set{"another set": other, "none": nil} {
		if _, same := set.Restored(since); same {
			t.Errorf("%s is taken for the same", name)
		}
	}
	void := set.Void(now)
	if void.Unused() != 0 || set.Unused() != 4 {
		t.Errorf("void are %+v", void)
	}
	if _, err := void.Spend(codes, now); err == nil {
		t.Error("void codes open")
	}
}

package audit

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

// A log that neither records nor refuses is stuck; one that refuses is not.
func TestTurns(t *testing.T) {
	disk := &gate{}
	l := openTest(t, Config{disk: disk})
	ask := func(wait time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		defer cancel()
		return l.Turns(ctx)
	}
	const short = 100 * time.Millisecond // for what does not answer at all
	if err := ask(patience); err != nil {
		t.Errorf("at rest: %v", err)
	}
	shut := make(chan struct{})
	disk.set(shut)
	var appending sync.WaitGroup
	appending.Go(func() { l.Append(t.Context(), Entry{Kind: "test"}) })
	for ask(short) == nil {
		time.Sleep(time.Millisecond) // until the entry is on its way
	}
	if err := ask(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a disk that hangs: %v", err)
	}
	disk.set(nil)
	close(shut)
	appending.Wait()
	if err := ask(patience); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	disk.fail(errors.New("no space"))
	if _, err := l.Append(t.Context(), Entry{Kind: "test"}); !errors.Is(err, ErrUnwritable) {
		t.Fatal(err)
	}
	if err := ask(patience); err != nil {
		t.Errorf("with a disk that fails: %v", err)
	}
	disk.fail(nil)
}

package certs

import "sync"

// maxKnown bounds the leaves remembered: at some 10 KiB each with the chains above them, 40 MiB.
const maxKnown = 4096

// known remembers findings by the SHA-256 of the leaf, all of them of one epoch.
// Only verified leaves get in, so nobody without a certificate can fill it. It says
// nothing of time and revocation: those are looked at every time.
type known struct {
	mu    sync.Mutex
	epoch uint64
	byKey map[[32]byte]finding
}

func (k *known) get(key [32]byte, epoch uint64) (finding, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if epoch > k.epoch {
		k.epoch, k.byKey = epoch, nil
	}
	if epoch != k.epoch {
		return finding{}, false // the caller read it before a change it has yet to see
	}
	f, ok := k.byKey[key]
	return f, ok
}

func (k *known) put(key [32]byte, epoch uint64, f finding) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if epoch != k.epoch {
		return
	}
	if k.byKey == nil {
		k.byKey = make(map[[32]byte]finding)
	}
	if len(k.byKey) >= maxKnown {
		for other := range k.byKey { // an arbitrary one: a miss costs one verification
			delete(k.byKey, other)
			break
		}
	}
	k.byKey[key] = f
}

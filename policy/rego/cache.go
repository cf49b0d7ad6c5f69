package rego

import (
	"math"
	"sync"

	"cordon/policy"
)

// Limits of the cache: with the longest keys it holds some 20 MiB.
const (
	maxEntries = 16384
	maxKey     = 1024 // bytes; a request with a longer key is decided each time
)

// cache keeps decisions by the key of what they depend on. It belongs to one
// Engine, so an edited policy begins with an empty one.
type cache struct {
	mu      sync.RWMutex
	entries map[string]entry
}

// entry is a decision and the instants it holds for: [from, until).
type entry struct {
	decision    policy.Decision
	from, until int64
}

func (c *cache) get(key []byte, now int64) (policy.Decision, bool) {
	c.mu.RLock()
	e, ok := c.entries[string(key)]
	c.mu.RUnlock()
	return e.decision, ok && e.from <= now && now < e.until
}

// put keeps d, decided at now. ends says that d may change as time passes, which
// only d.ValidUntil can bound.
func (c *cache) put(key []byte, d policy.Decision, now int64, ends bool) {
	e := entry{d, math.MinInt64, math.MaxInt64}
	switch {
	case d.ValidUntil != 0:
		e.from, e.until = now, d.ValidUntil
	case ends:
		return
	}
	if len(key) > maxKey || now >= e.until {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, replace := c.entries[string(key)]; !replace && len(c.entries) >= maxEntries {
		for victim := range c.entries { // any one: map order is random enough
			delete(c.entries, victim)
			break
		}
	}
	c.entries[string(key)] = e
}

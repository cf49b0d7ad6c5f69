package demo

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

const ioTimeout = 10 * time.Second

// Serve plays the devices until ctx is done. It returns their addresses at once, by id,
// and a function that waits for the end.
func Serve(ctx context.Context, devices []Device) (map[string]string, func(), error) {
	var listeners []net.Listener
	var playing sync.WaitGroup
	addresses := map[string]string{}
	stop := func() {
		for _, l := range listeners {
			l.Close()
		}
		playing.Wait()
	}
	for _, d := range devices {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			stop()
			return nil, nil, fmt.Errorf("simulate device %q: %w", d.ID, err)
		}
		listeners = append(listeners, l)
		addresses[d.ID] = l.Addr().String()
		speak := voices[d.Protocol].speak
		playing.Go(func() { accept(ctx, l, &playing, speak) })
	}
	return addresses, stop, nil
}

func accept(ctx context.Context, l net.Listener, playing *sync.WaitGroup, speak func(net.Conn) error) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		hangUp := context.AfterFunc(ctx, func() { c.Close() })
		playing.Go(func() {
			defer c.Close()
			defer hangUp()
			speak(c) // a client that goes away in the middle is its own business
		})
	}
}

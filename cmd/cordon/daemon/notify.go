package daemon

import (
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// notifier tells a service manager what state the gateway is in (sd_notify(3)): one datagram
// for each. The zero notifier tells nobody.
type notifier struct{ socket string }

// serviceManager is who started this process, if it wants to be told.
func serviceManager() notifier { return notifier{os.Getenv("NOTIFY_SOCKET")} }

// tell sends one state: "READY=1". That nobody takes it changes nothing for the gateway.
func (n notifier) tell(state string) error {
	if n.socket == "" {
		return nil
	}
	c, err := net.Dial("unixgram", n.socket) // "@" begins an abstract address, in both worlds
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetWriteDeadline(time.Now().Add(time.Second))
	_, err = c.Write([]byte(state))
	return err
}

// reloading says that a change begins. READY=1 is its end.
func (n notifier) reloading() {
	if n.socket == "" {
		return
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return
	}
	n.tell(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", now.Nano()/1000))
}

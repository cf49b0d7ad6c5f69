package keeper

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// LifelineEnv names the descriptor that a helper which "cordon run" started lives by.
const LifelineEnv = "CORDON_SEGMENT_LIFELINE"

// Lifeline is that descriptor; nil: the helper is not ours. Nothing that this process starts
// may come by it unasked.
func Lifeline() (*os.File, error) {
	text, found := os.LookupEnv(LifelineEnv)
	if !found {
		return nil, nil
	}
	os.Unsetenv(LifelineEnv)
	fd, err := strconv.Atoi(text)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("%s=%q is no descriptor", LifelineEnv, text)
	}
	unix.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), LifelineName), nil
}

// Names of files that are passed on, besides those of listeners.
const LifelineName = "lifeline"

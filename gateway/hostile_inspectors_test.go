package gateway

import (
	"encoding/json"
	"os"
	"runtime"
	"strings"
	"time"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// hostileProtocol is what an inspector is served as.
func hostileProtocol(inspector func() sdk.Inspector) sdk.Protocol {
	return sdk.Protocol{
		Name: "hostile", Version: "test", Modes: [2]sdk.Mode{sdk.Held, sdk.Observed},
		Configure: func(json.RawMessage) (func() sdk.Inspector, error) { return inspector, nil },
	}
}

// misled is an inspector made of two functions.
type misled struct {
	inspect func(dir sdk.Direction, data []byte, out *sdk.Steps)
	refuse  func(op sdk.OpID, out *sdk.Steps)
}

func (m *misled) Inspect(dir sdk.Direction, data []byte, end bool, out *sdk.Steps) {
	if len(data) > 0 && m.inspect != nil {
		m.inspect(dir, data, out)
	}
}

func (m *misled) Refuse(op sdk.OpID, why sdk.Refusal, out *sdk.Steps) {
	if m.refuse != nil {
		m.refuse(op, out)
	}
}

// hostileInspectors misbehave within the sdk's runtime, locked in as every inspector is.
func hostileInspectors() []hostile {
	asked := func(name string) policy.Operation {
		return policy.Operation{Name: "hostile:" + name, Class: policy.ClassWrite}
	}
	// forward is an inspector that acts on the client's bytes.
	forward := func(do func(data []byte, out *sdk.Steps)) func() sdk.Inspector {
		return func() sdk.Inspector {
			return &misled{inspect: func(dir sdk.Direction, data []byte, out *sdk.Steps) {
				if dir == sdk.Forward {
					do(data, out)
				}
			}}
		}
	}
	// refusing is one that has its operation refused and acts then.
	refusing := func(do func(op sdk.OpID, out *sdk.Steps)) func() sdk.Inspector {
		return func() sdk.Inspector {
			return &misled{
				inspect: func(dir sdk.Direction, data []byte, out *sdk.Steps) {
					out.Span(out.Operation(asked("no")), int64(len(data)))
				},
				refuse: do,
			}
		}
	}
	big := []string{strings.Repeat("never a line", sdk.WindowSize/10)}
	return []hostile{
		served("inspector panics", forward(func([]byte, *sdk.Steps) { panic("crash") }), hostile{ends: "plugin hostile"}),
		served("inspector overflows its stack", forward(func(b []byte, _ *sdk.Steps) { endless(b) }), hostile{ends: "plugin hostile", owes: true}),
		served("inspector exits", forward(func([]byte, *sdk.Steps) { os.Exit(0) }), hostile{ends: "plugin hostile"}),
		served("inspector sleeps", forward(func([]byte, *sdk.Steps) { time.Sleep(time.Hour) }), hostile{ends: "no answer for 2s", owes: true}),
		served("inspector spins", forward(func([]byte, *sdk.Steps) {
			for range runtime.GOMAXPROCS(0) {
				go spin()
			}
			spin()
		}), hostile{ends: "no answer for 2s", owes: true}),
		served("inspector deadlocks", forward(func([]byte, *sdk.Steps) { select {} }), hostile{ends: "no answer for 2s", owes: true}),
		served("inspector writes to the window", forward(func(b []byte, out *sdk.Steps) {
			b[0] = 'X'
			out.Span(out.Operation(asked("one")), int64(len(b)))
		}), hostile{ends: "plugin hostile"}),
		served("inspector covers nothing", forward(func([]byte, *sdk.Steps) {}), hostile{ends: stuck}),
		served("inspector leaves a window full", forward(func([]byte, *sdk.Steps) {}), hostile{lines: big, ends: "no operation in a full window"}),
		served("inspector covers with nothing", forward(func(b []byte, out *sdk.Steps) { out.Span(0, int64(len(b))) }), hostile{ends: "a span of operation 0"}),
		served("inspector covers with what is to come", forward(func(b []byte, out *sdk.Steps) {
			out.Span(7, int64(len(b)))
			out.Operation(asked("one"))
		}), hostile{ends: "a span of operation 7"}),
		served("inspector refuses what is allowed", forward(func(b []byte, out *sdk.Steps) {
			id := out.Operation(asked("one"))
			out.Refusal(id, []byte("EVIL\n"))
			out.Span(id, int64(len(b)))
		}), hostile{ends: "to which none is owed"}),
		served("inspector says too much", forward(func(b []byte, out *sdk.Steps) {
			for range sdk.MaxSteps {
				out.Operation(asked("one"))
			}
			out.Span(1, int64(len(b)))
		}), hostile{ends: "answer is too long"}),
		served("inspector gives a fact of no type", forward(func(b []byte, out *sdk.Steps) {
			o := asked("one")
			o.Attributes.Set("now", time.Now())
			out.Span(out.Operation(o), int64(len(b)))
		}), hostile{ends: "malformed frame"}),
		served("inspector ends and goes on", forward(func(b []byte, out *sdk.Steps) {
			out.End("enough")
			out.Span(out.Operation(asked("one")), int64(len(b)))
		}), hostile{ends: "the inspector ended the session"}),
		served("inspector covers for ever what is refused", forward(func(b []byte, out *sdk.Steps) { out.Span(out.Operation(asked("no")), sdk.Unlimited) }),
			hostile{lines: big, ends: stuck}),
		served("inspector covers when it should refuse", refusing(func(op sdk.OpID, out *sdk.Steps) { out.Span(op, sdk.WindowSize) }),
			hostile{ends: "step kind 2 in the answer to a refusal"}),
		served("inspector asks again when it should refuse", refusing(func(op sdk.OpID, out *sdk.Steps) { out.Span(out.Operation(asked("one")), 4) }),
			hostile{ends: "step kind 1 in the answer to a refusal"}),
		served("inspector refuses twice", refusing(func(op sdk.OpID, out *sdk.Steps) {
			out.Refusal(op, []byte("refused\n"))
			out.Refusal(op, []byte("EVIL\n"))
		}), hostile{client: "refused\n", ends: "to which none is owed"}),
		served("inspector refuses with too much", refusing(func(op sdk.OpID, out *sdk.Steps) { out.Refusal(op, make([]byte, sdk.MaxRefusal+1)) }),
			hostile{ends: "malformed frame"}),
		served("inspector writes steps behind its runtime's back", func() sdk.Inspector {
			return &misled{inspect: func(dir sdk.Direction, data []byte, out *sdk.Steps) {
				begun := make(chan struct{})
				go func() {
					out.Span(1, 1)
					for close(begun); ; {
						out.Span(1, 1)
						out.Refusal(1, []byte("EVIL\n"))
					}
				}()
				<-begun
				time.Sleep(10 * time.Millisecond)
			}}
		}, hostile{ends: "plugin|too long|malformed|span"}),
	}
}

func spin() {
	//lint:ignore SA5002 it is meant to
	for {
	}
}

func endless(b []byte) int {
	//lint:ignore SA5007 it is meant to
	return len(b) + endless(append(b, b...)[:1])
}

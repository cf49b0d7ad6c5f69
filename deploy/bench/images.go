package main

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"cordon/deploy/dimse"
)

// imageSize is the length of an object's pixel data: larger than any buffer on its way.
const imageSize = 256 << 20

// archive takes PDUs of up to 128 KiB, and sends them as long as its client takes them. It
// holds one object.
func archive(c net.Conn) {
	device := dimse.SCP{MaxPDU: 128 << 10, Objects: []dimse.Object{image(0)}}
	device.Serve(c)
}

func image(number int) dimse.Object {
	return dimse.CTImage(fmt.Sprintf("2.25.4.%d", number), "100123", imageSize)
}

// associate opens an association whose PDUs are no longer than pdu.
func (w *world) associate(ctx context.Context, address string, pdu uint32) (*dimse.Association, net.Conn, error) {
	c, err := w.dial(ctx, address)
	if err != nil {
		return nil, nil, err
	}
	c.SetDeadline(time.Now().Add(2 * time.Minute))
	a, err := dimse.Associate(c, dimse.Request{
		CalledAE: "PACS-1", CallingAE: "LOAD", MaxPDU: pdu, Roles: []string{dimse.CTImageStorage},
		SOPClasses: []string{dimse.Verification, dimse.CTImageStorage, dimse.StudyRootGet},
	})
	if err != nil {
		c.Close()
		return nil, nil, err
	}
	return a, c, nil
}

// echo asks on one association until the time is up, and returns how long each answer took.
func (w *world) echo(ctx context.Context, address string, until time.Time) ([]time.Duration, error) {
	a, c, err := w.associate(ctx, address, 16<<10)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var took []time.Duration
	for time.Now().Before(until) {
		began := time.Now()
		if err := succeeded(a.Echo()); err != nil {
			return nil, err
		}
		took = append(took, time.Since(began))
	}
	return took, a.Release()
}

func succeeded(answer dimse.Answer, err error) error {
	if err == nil && answer.Status != dimse.Success {
		err = fmt.Errorf("the archive answers %v", answer)
	}
	return err
}

func (b *bench) echoLatency(ctx context.Context, p *proxy) (float64, error) {
	took, err := b.world.echo(ctx, p.address["dicom"], time.Now().Add(b.short))
	if err != nil {
		return 0, err
	}
	return middle(took), nil
}

func (b *bench) echoCPU(ctx context.Context, p *proxy) (float64, error) {
	var count atomic.Int64
	cpu, err := b.cpu(p, func() error {
		return parallel(32, func() error {
			took, err := b.world.echo(ctx, p.address["dicom"], time.Now().Add(b.short))
			count.Add(int64(len(took)))
			return err
		})
	})
	return float64(cpu.Nanoseconds()) / 1000 / float64(count.Load()), err
}

// storeCPU stores objects on one association, one after the other.
func (b *bench) storeCPU(ctx context.Context, p *proxy, pdu uint32) (float64, error) {
	return b.imageCPU(ctx, p, pdu, func(a *dimse.Association, number int) error {
		return succeeded(a.Store(image(number)))
	})
}

// getCPU retrieves the archive's object on one association, again and again.
func (b *bench) getCPU(ctx context.Context, p *proxy, pdu uint32) (float64, error) {
	return b.imageCPU(ctx, p, pdu, func(a *dimse.Association, _ int) error {
		answer, err := a.Get(dimse.StudyRootGet, dimse.StudyKeys("100123"), nil)
		if err == nil && answer.Completed != 1 {
			err = fmt.Errorf("%d objects were retrieved, not 1", answer.Completed)
		}
		return succeeded(answer, err)
	})
}

// imageCPU is CPU time per GiB of pixel data while objects move, each by a call of move,
// until the time is up.
func (b *bench) imageCPU(ctx context.Context, p *proxy, pdu uint32, move func(a *dimse.Association, number int) error) (float64, error) {
	moved := 0
	cpu, err := b.cpu(p, func() error {
		a, c, err := b.world.associate(ctx, p.address["dicom"], pdu)
		if err != nil {
			return err
		}
		defer c.Close()
		for until := time.Now().Add(b.short); moved == 0 || time.Now().Before(until); moved++ {
			if err := move(a, moved); err != nil {
				return err
			}
		}
		return a.Release()
	})
	if err != nil {
		return 0, err
	}
	return cpu.Seconds() / (float64(moved) * imageSize / (1 << 30)), nil
}

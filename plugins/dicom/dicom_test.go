package dicom

import (
	"slices"
	"testing"

	"cordon/plugins/sdk"
	"cordon/plugins/sdk/conformance"
	"cordon/policy"
)

// associated begins a dialogue with an association.
func associated(name string, ids ...byte) conformance.Dialogue {
	return conformance.Named(name).Forward(associateRQ(ids...)).Reverse(associateAC(ids...)).
		WantOperation("dicom:A-ASSOCIATE", policy.ClassSession)
}

// after begins a dialogue of an association that stands.
func after(name string) conformance.Dialogue {
	return conformance.Named(name).WantOperation("dicom:A-ASSOCIATE", policy.ClassSession)
}

// TestManyOpen: a request stays open while more follow than a step may name.
func TestManyOpen(t *testing.T) {
	p := play(t, `{}`, associateRQ(1, 5), associateAC(1, 5), findRQ(1), findRSP(1, statusPending))
	for range 2 * sdk.MaxOpen {
		p.show(sdk.Forward, echoRQ(2))
		p.show(sdk.Reverse, echoRSP(2))
	}
	p.show(sdk.Reverse, findRSP(1, statusPending))
	p.show(sdk.Reverse, findRSP(1, 0))
	var kept, done []sdk.OpID
	for _, s := range p.steps {
		switch s.Kind {
		case sdk.StepKeep:
			kept = append(kept, s.Op)
		case sdk.StepDone:
			done = append(done, s.Op)
		}
	}
	if !slices.Equal(kept, []sdk.OpID{1, 2}) || !slices.Equal(done, []sdk.OpID{2}) || p.inspector.violation != nil {
		t.Errorf("kept %v, done %v, %v", kept, done, p.inspector.violation)
	}

	p = play(t, `{}`, associateRQ(1, 5), associateAC(1, 5))
	most := 0
	for p.inspector.violation == nil && most < 1000 {
		p.show(sdk.Forward, findRQ(1))
		most++
	}
	if most != sdk.MaxOpen-1+sdk.MaxKept || len(p.inspector.sides[0].open) > sdk.MaxOpen+sdk.MaxKept {
		t.Errorf("%d requests are open at a time", most)
	}
}

// TestGet has a C-GET with more sub-operations than a step may name.
func TestGet(t *testing.T) {
	p := play(t, `{}`, associateRQ(3, 9), associateAC(3, 9), getRQ(1))
	for range 2 * sdk.MaxOpen {
		p.show(sdk.Reverse, storeRQ(7, image(ex)))
		p.show(sdk.Forward, storeRSP(7, 0))
		p.show(sdk.Reverse, getRSP(1, statusPending))
	}
	p.show(sdk.Reverse, getRSP(1, 0))
	if n := len(p.inspector.sides[0].open) + len(p.inspector.sides[1].open); p.inspector.violation != nil || n != 0 {
		t.Errorf("%d operations are open, %v", n, p.inspector.violation)
	}
}

func TestStore(t *testing.T) {
	const name, write = "dicom:C-STORE", policy.ClassWrite
	set := image(ex)
	conformance.Run(t, Protocol(), `{}`,
		associated("allowed").
			Forward(echoRQ(1)).Reverse(echoRSP(1)).
			Forward(storeRQ(2, set)).Reverse(storeRSP(2, 0)).
			Forward(releaseRQ).Reverse(releaseRP).
			WantOperation("dicom:C-ECHO", policy.ClassSession, "message_id", 1, "called_ae", "PACS").
			WantOperation(name, write, imageFacts...).
			WantForward(associateRQ()+echoRQ(1)+storeRQ(2, set)+releaseRQ).
			WantReverse(associateAC()+echoRSP(1)+storeRSP(2, 0)+releaseRP),
		associated("refused between two").
			Forward(storeRQ(1, set)).Reverse(storeRSP(1, 0)).
			Forward(storeRQ(2, set)).Forward(storeRQ(3, set)).Reverse(storeRSP(3, 0)).Refused(3).
			WantOperation(name, write).WantOperation(name, write).WantOperation(name, write).
			WantRefusal(3, storeRefused(2)).
			WantForward(associateRQ()+storeRQ(1, set)+storeRQ(3, set)).
			WantReverse(associateAC()+storeRSP(1, 0)+storeRefused(2)+storeRSP(3, 0)),
	)
}

package sdk_test

import (
	"testing"

	"cordon/plugins/sdk/conformance"
	"cordon/policy"
)

// How the author of a plugin tests it: with recorded dialogues, and with arbitrary ones.
var lineDialogues = []conformance.Dialogue{
	conformance.Named("one after the other").
		Forward("get pulse\n").Reverse("72\n").Forward("set limit 90\n").Refused(2).
		WantOperation("line:get", policy.ClassRead, "key", "pulse").
		WantOperation("line:set", policy.ClassWrite, "key", "limit").
		WantRefusal(2, "refused 7QF-21\n").
		WantForward("get pulse\n").
		WantReverse("72\nrefused 7QF-21\n"),
	conformance.Named("a refusal waits for the reply before it").
		Forward("get pulse\n").Forward("set limit 90\n").Forward("get limit\n").Refused(2).
		Reverse("72\n").Reverse("80\n").
		WantForward("get pulse\nget limit\n").
		WantReverse("72\nrefused 7QF-21\n80\n"),
	conformance.Named("malformed").
		Forward("got pulse\n").
		WantInvalid("line:other", policy.ClassUnknown).
		WantRefusal(1, "refused 7QF-21\n").
		WantForward(""),
	conformance.Named("a reply to nothing").
		Reverse("72\n").
		WantEnd(),
}

func TestLineProtocol(t *testing.T) {
	conformance.Run(t, lineProtocol(), `{}`, lineDialogues...)
}

func FuzzLineProtocol(f *testing.F) {
	conformance.Fuzz(f, lineProtocol(), `{}`, lineDialogues...)
}

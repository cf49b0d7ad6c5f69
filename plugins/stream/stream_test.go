package stream

import (
	"encoding/json"
	"strings"
	"testing"

	"cordon/plugins/sdk"
	"cordon/plugins/sdk/conformance"
	"cordon/policy"
)

var dialogues = []conformance.Dialogue{
	conformance.Named("allowed").
		Forward("any").Reverse("thing\x00").Forward("\xff goes").ForwardEnds().Reverse(" both ways").
		WantOperation("stream:session", policy.ClassControl).
		WantForward("any\xff goes").
		WantReverse("thing\x00 both ways"),
	conformance.Named("the device speaks first").
		Reverse("220 ready").Forward("hello").ReverseEnds().Forward("late").
		WantOperation("stream:session", policy.ClassControl).
		WantForward("hellolate").
		WantReverse("220 ready"),
	conformance.Named("refused").
		Forward("any").Reverse("thing").Refused(1).
		WantOperation("stream:session", policy.ClassControl).
		WantRefusal(1, "").
		WantEnd().
		WantForward("").
		WantReverse(""),
	conformance.Named("silent").
		WantOperation("stream:session", policy.ClassControl),
}

func TestConformance(t *testing.T) {
	conformance.Run(t, Protocol(), `{"class":"control"}`, dialogues...)
}

func FuzzConformance(f *testing.F) {
	conformance.Fuzz(f, Protocol(), `{"class":"control"}`, dialogues...)
}

// The operation is there before a byte is: a device that speaks first is not heard by who
// may not use it.
func TestOpening(t *testing.T) {
	open, err := Protocol().Configure(json.RawMessage(`{"class":"read"}`))
	if err != nil {
		t.Fatal(err)
	}
	var steps sdk.Steps
	steps.Begin(sdk.Forward)
	open().Inspect(sdk.Forward, nil, false, &steps)
	list := steps.List()
	if len(list) != 2 || list[0].Operation.Class != policy.ClassRead || list[1].Kind != sdk.StepSpan {
		t.Errorf("steps = %+v, want an operation of class read and its span", list)
	}
	if got := steps.Covered(sdk.Forward); got != sdk.Unlimited {
		t.Errorf("forward is covered up to %d, want to the end", got)
	}
}

func TestSettings(t *testing.T) {
	for _, c := range policy.Classes {
		_, err := configure(json.RawMessage(`{"class":"` + string(c) + `"}`))
		known := c != policy.ClassSession && c != policy.ClassUnknown
		if (err == nil) != known {
			t.Errorf("class %s: error %v", c, err)
		}
	}
	for settings, want := range map[string]string{
		`{}`:                       "class is not set",
		`{"class":""}`:             `"" is not one of`,
		`{"class":"anything"}`:     `"anything" is not one of`,
		`{"class":"read","x":1}`:   `setting "x": there is no such setting`,
		`{"class":["read"]}`:       "is not one of",
		`{"class":"read"} {"x":1}`: "more behind",
		``:                         "class is not set",
	} {
		_, err := configure(json.RawMessage(settings))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", settings, err, want)
		}
	}
}

package poct1a

import (
	"strings"
	"testing"

	"cordon/plugins/sdk/conformance"
	"cordon/policy"
)

// TestTwoReadings has documents in which a program that searches for texts finds another
// message, or another value, than one that parses.
func TestTwoReadings(t *testing.T) {
	kpa := func(inner ...string) string { return doc("KPA.R01", "7", inner...) }
	vendor := in("DTV.ACME.UPDATE", in("ACME", f("ACME.image", "1")))
	dtv := func(inner ...string) string { return doc("DTV.R01", "7", in("DTV", inner...)) }
	start := f("DTV.command_cd", "START_CONTINUOUS")
	for _, test := range []struct{ name, message, reason string }{
		{"the end tag of the root inside of it", kpa("<KPA.R01></KPA.R01>" + vendor), messageInside.reason},
		{"the beginning of its end tag inside of it", kpa("<KPA.R01.X></KPA.R01.X>"), messageInside.reason},
		{"its end tag in another case", kpa("<kpa.r01></kpa.r01>"), messageInside.reason},
		{"a code system longer than policy is told", dtv(`<DTV.command_cd V="START_CONTINUOUS" SN="` + strings.Repeat("x", 201) + `"/>`), longValue.reason},
		{"a message inside of another", kpa(in("END.R01")), messageInside.reason},
		{"a directive of a vendor's inside of another message", kpa(vendor), messageInside.reason},
		{"a longer name before the one it begins with", dtv(f("DTV.command_cdx", "UNLOCK"), start), foreignName.reason},
		{"a longer name behind the one it begins with", dtv(start, f("DTV.command_cd.x", "UNLOCK")), foreignName.reason},
		{"a name in another case", dtv(start, f("dtv.command_cd", "UNLOCK")), foreignName.reason},
		{"an attribute that ends like the value's", dtv(`<DTV.command_cd SV="UNLOCK" V="START_CONTINUOUS"/>`), hiddenValue.reason},
		{"a value's attribute in lower case", dtv(`<DTV.command_cd v="UNLOCK" V="START_CONTINUOUS"/>`), hiddenValue.reason},
	} {
		class := policy.ClassSession
		if strings.Contains(test.message, "DTV.R01") {
			class = policy.ClassControl
		}
		conformance.Run(t, Protocol(), `{}`,
			talk(test.name).Reverse(test.message).WantInvalid("poct1a:"+test.message[1:8], class).
				WantRefusal(toDevice(1), nak(1, "7", test.reason)).WantReverse(ack("1")))
	}
	ends := strings.TrimSuffix(kpa(), ">") + " >"
	conformance.Run(t, Protocol(), `{}`,
		talk("an end tag that a search does not find").Reverse(ends).WantInvalid(malformedName, policy.ClassUnknown).
			WantRefusal(toDevice(1), nak(1, "7", "end tag with space in it")+ended(1)).WantEnd(),
		talk("the version of a code system behind the value").Reverse(dtv(`<DTV.command_cd V="START_CONTINUOUS" SN="POCT1" SV="1"/>`)).
			WantOperation("poct1a:DTV.R01", policy.ClassControl, "command_system", "POCT1"))
}

// TestTornListAgain: the end of a list of which a part was refused is refused however often
// it comes, until the conversation begins anew.
func TestTornListAgain(t *testing.T) {
	part, last := operators("OPL.R01", "1"), doc("EOT.R01", "69", in("EOT", f("EOT.topic_cd", "OPL")))
	other := strings.Replace(part, `id V="60"`, `id V="61"`, 1)
	admin := policy.ClassAdmin
	conformance.Run(t, Protocol(), `{}`,
		talk("again").Reverse(part).Reverse(last).Reverse(last).Refused(toDevice(1)).
			WantOperation("poct1a:OPL.R01", admin).WantInvalid("poct1a:EOT.R01", admin).WantInvalid("poct1a:EOT.R01", admin).
			WantRefusal(toDevice(1), nak(1, "60", "not permitted")).WantRefusal(toDevice(2), nak(2, "69", tornList.reason)).
			WantRefusal(toDevice(3), nak(3, "69", tornList.reason)).WantReverse(ack("1")),
		talk("when the part is acknowledged").Reverse(part).Reverse(last).Forward(ack("60")).Reverse(last).
			WantOperation("poct1a:OPL.R01", admin).WantInvalid("poct1a:EOT.R01", admin).WantOperation("poct1a:EOT.R01", admin).
			WantRefusal(toDevice(2), nak(2, "69", tornList.reason)).WantReverse(ack("1")+part+last),
		talk("when the part before it is acknowledged").Reverse(part).Reverse(last).Reverse(other).Forward(ack("60")).Reverse(last).Refused(toDevice(3)).
			WantOperation("poct1a:OPL.R01", admin).WantInvalid("poct1a:EOT.R01", admin).WantOperation("poct1a:OPL.R01", admin).WantInvalid("poct1a:EOT.R01", admin).
			WantRefusal(toDevice(2), nak(2, "69", tornList.reason)).WantRefusal(toDevice(3), nak(3, "61", "not permitted")).
			WantRefusal(toDevice(4), nak(4, "69", tornList.reason)).WantReverse(ack("1")+part),
		talk("when the conversation begins anew").Reverse(part).Refused(toDevice(1)).
			Forward(strings.Replace(brief, `V="1"`, `V="2"`, 1)).Reverse(ack("2")).Reverse(last).
			WantOperation("poct1a:OPL.R01", admin).WantOperation("poct1a:HEL.R01", policy.ClassSession).WantOperation("poct1a:EOT.R01", admin).
			WantRefusal(toDevice(1), nak(1, "60", "not permitted")).WantReverse(ack("1")+ack("2")+last))
}

// TestEchoedRole: an acknowledgement passes undecided, and so it may not bear the type of a
// message that its own sender could mean.
func TestEchoedRole(t *testing.T) {
	eot := doc("EOT.R01", "7", in("EOT", f("EOT.topic_cd", "OBS")))
	echo := strings.Replace(ack("7"), "<HDR>", "<HDR>"+f("HDR.message_type", "EOT.R01"), 1)
	conformance.Run(t, Protocol(), `{}`, talk("end of topic").Forward(eot).Reverse(echo).
		WantOperation("poct1a:EOT.R01", policy.ClassSession).WantInvalid("poct1a:ACK.R01", policy.ClassUnknown).
		WantRefusal(toDevice(1), untimed(ended(1))).WantEnd().WantReverse(ack("1")))
}

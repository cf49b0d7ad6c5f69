package mqtt

import (
	"testing"

	"cordon/plugins/sdk"
)

func BenchmarkPublishQoS0(b *testing.B) { benchmark(b, 4, pub(4, 0, 0, "ward/7/pulse", "72"), "") }
func BenchmarkPublishQoS1(b *testing.B) {
	benchmark(b, 4, pub(4, 1, 7, "ward/7/pulse", "72"), ack(acked, 7, ""))
}
func BenchmarkPublishQoS1v5(b *testing.B) {
	benchmark(b, 5, pub(5, 1, 7, "ward/7/pulse", "72", "\x03"+tx("text/plain")), ack(acked, 7, ""))
}
func BenchmarkDelivery(b *testing.B) {
	benchmark(b, 4, ack(acked, 7, ""), pub(4, 1, 7, "ward/7/pulse", "72"))
}
func BenchmarkPing(b *testing.B) { benchmark(b, 4, ping, pong) }

// benchmark is one exchange, in a session with ten subscriptions.
func benchmark(b *testing.B, level byte, sent, answered string) {
	in := open(b, `{}`)
	var out sdk.Steps
	show := func(dir sdk.Direction, data []byte) {
		out.Begin(dir)
		in.Inspect(dir, data, false, &out)
	}
	show(sdk.Forward, []byte(hello(level)))
	show(sdk.Reverse, []byte(accepted(level)))
	show(sdk.Forward, []byte(sub(level, 9, "a", "b/+", "c/#", "d", "e", "f/g/h", "ward/1/#", "ward/2/#", "ward/3/+", "ward/7/+")))
	show(sdk.Reverse, []byte(subbed(level, 9, "\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01")))
	turns := [2][]byte{[]byte(sent), []byte(answered)}
	first := sdk.Direction(0)
	if sent[0]>>4 == puback {
		first = sdk.Reverse
	}
	b.ReportAllocs()
	for b.Loop() {
		show(first, turns[first])
		show(first.Opposite(), turns[first.Opposite()])
	}
	if in.dead || len(in.sides[0].open)+len(in.sides[1].open) > 0 {
		b.Fatal("the dialogue went wrong")
	}
}

// Package sdk is what the author of a protocol plugin imports.
//
// A plugin reads; the gateway writes. The gateway shows an Inspector the bytes of
// one session, each direction by itself, and the Inspector answers with Steps: here
// an operation begins and these are its facts; the next n bytes belong to it; the
// asker of that refused operation is told this. It never sees a socket, a key, a
// file or a clock, and nothing it returns can change a byte or let one through that
// the gateway has not decided and recorded. So an Inspector is a pure function over
// bytes with a little memory, and a parser of some fifty lines is a whole plugin.
//
// # A protocol in a day
//
// What it takes to put a device behind the gateway whose protocol it does not know, in the
// order in which it goes best:
//
//  1. Record what the device and its clients say to each other, and find the pieces: where
//     does a request begin and end, which reply answers which request, how does the device
//     say no. If it has no word for no, refusing ends the session (Steps.End).
//
//  2. Name the operations as the maker's manual does, "acme:set-limit", and give each a
//     class of package policy: what does it do to the device or the patient? What the
//     manual does not list is of class unknown, and denied unless the site names it.
//
//  3. Decide what policy shall know (Attributes): whatever a rule could be about, numbers as
//     int64 so that rules can compare them, no patient's name, no password.
//
//  4. Write the Inspector: cut the bytes into requests and replies (Inspect), and say the
//     protocol's no (Refuse). The Example of this package is a whole one.
//
//  5. Turn the recordings into dialogues and let package conformance play them, cut at every
//     byte, with every request refused, with clients that do not wait; let it fuzz the
//     rest. Most mistakes show here.
//
//  6. Make it a program in a module of its own. It imports nothing of cordon but this
//     package, serve and policy.
//
//  7. Pin it in cordon.yaml by what sha256sum prints, give a device a service with its
//     name as proto, and run cordon check.
//
// The program's main, and its lines in cordon.yaml. It is built with CGO_ENABLED=0: all threads of
// a program with cgo cannot be restricted by Landlock.
//
//	func main() { serve.Serve(acme()) }
//
//	plugins:
//	  acme: { path: plugins/acme, sha256: 3f1c… }
//
// From then on it is treated as the plugins that come with cordon are: one process for
// the protocol, confined before it sees a byte (cordon doctor lists the measures), started
// again if it dies, refused if its file is no longer the one that was pinned. What is to be known of
// a type of device (how many sessions it takes, which settings suit it) goes into a profile
// beside cordon.yaml, which needs no code: cordon profile list shows some.
//
// # How a session goes
//
// The gateway opens a session: Inspect is called once with no data, for protocols
// that speak first. Then, as bytes arrive, Inspect is called with all bytes of that
// direction that no step covers yet. The Inspector covers as many of them as it
// understands, from the first on, by announcing operations (Steps.Operation) and
// spans that belong to them (Steps.Span). What it leaves uncovered is held by the
// gateway and shown again, longer, at the next call. A span may reach beyond data:
// those bytes pass, or are dropped, without waking the plugin, which is how large
// bodies travel at full speed.
//
// Each operation is decided when it is announced. If it is refused, the gateway drops
// its spans and calls Refuse; the Inspector then gives the protocol's own negative
// answer (Steps.Refusal) as soon as the dialogue has a place for it, at once or at a
// later call of Inspect. The refusal is inserted in the opposite direction, right
// after the bytes covered there so far: between two replies, never inside one.
//
// Replies belong to the operation they answer: cover them, in the opposite direction,
// with spans of that operation. A reply that answers nothing is malformed.
//
// Where both sides may ask, both directions are Held, and an operation announced while
// Reverse is inspected is asked by the device: its spans go to the client and its
// refusal to the device, if the gateway allows the protocol to tell a device anything.
//
// An inspector that must remember an operation longer than MaxOpen later ones keeps it
// (Steps.Keep), up to MaxKept, and says when it is done with it (Steps.Done).
//
// # Operations that follow from others
//
// What is asked of a device may have it do something in a session of its own: an archive that is
// told to move images connects to where they go. Who decides that session should know who asked.
// If the protocol tells, the plugin gives the first operation the attribute policy.Expects and
// those that follow from it policy.Because, with the same text, made of all that the protocol says
// in both places. The gateway remembers what it allowed, for the device that was asked, and adds
// to an operation with Because whether and to whom that was (policy.Origin, OriginCode,
// OriginSubject). These three no plugin may set.
//
// # Which modes
//
// A direction that carries operations is Held. Replies are Observed, which costs the least:
// they move at once and are shown afterwards. Hold them, too, if a reply that is wrong must
// not reach the client, if a refusal cannot wait for the end of a reply that is moving, or
// if the device asks. Only if the device asks, the protocol needs a function in the gateway
// that says what a device may be told, which is why plugins from elsewhere leave a device
// unanswered: such a session ends.
//
// # Settings
//
// A service's keys that cordon does not know are the plugin's. Read them with Settings: a
// misspelt or doubled key, a value out of its range is an error in front of the engineer who
// wrote it, with its place in the file, before any session begins.
//
// # What is malformed
//
// Bytes that cannot be understood are never passed on. If they can still be answered
// in the protocol, announce them with Steps.Invalid and cover them: the gateway
// refuses without asking anybody, records it, and calls Refuse. If an operation turns
// out wrong after it was decided (too long, a second message hidden in it), use
// Steps.Abort. If there is nothing left to say, use Steps.End.
//
// # Limits
//
// The gateway ends a session whose Inspector leaves a full window (WindowSize) of
// bytes uncovered, emits more than MaxSteps steps in a call (return when Steps.Full says
// so), gives text that is not UTF-8, or breaks another rule of this page. A panic ends the plugin process, and with it all its sessions; it is started
// again. A call may take a second at most.
package sdk

// Package command inspects small command and reply protocols, each of which is described by
// the settings of its service: how frames are told apart, which commands there are, what
// they do. Ventilators, anaesthesia machines, pumps and monitors behind the terminal server
// of their serial line speak such protocols, and a site adds one without code.
//
// An operation is one frame of the client; the replies to it belong to it. Replies are told
// apart by their order alone. Read settings.go for what can be described, describe.go and
// notation.go for how descriptions are read, frame.go and checksum.go for what is cut from the
// stream, command.go and fact.go for what is read from a frame, inspect.go for the order of
// things, exchange.go for which command a reply answers, refusal.go for the negative answer.
//
// # Operations
//
// command:NAME, of its own class, is the first command of the list that fits a frame.
// command:unknown, of the class unknown, is a frame that none fits, and command:malformed,
// of the same class, what is no frame at all. If the device may speak unasked, command:session,
// of the class session, is announced when the session opens; what the device says unasked
// belongs to it.
//
// # Attributes
//
//	size      bytes of the frame, those of its framing included
//	checksum  "ok" or "wrong", if frames have one
//
// and those that the settings name. A site names none that would tell of a patient.
//
// # How no command hides in another
//
// Nothing is looked for in a frame before it is cut from the stream, whole. In frames of
// text the client may use printable ASCII, without what starts and ends a frame, and
// further bytes only if the settings list them: no lone CR or LF, no NUL, no ESC, no byte of
// Telnet's option negotiation. In frames with an escape byte, it may stand before the bytes
// it is there for, and before no other. What the device itself would read as several commands
// in one frame, such as "Q1;Q2", only the settings can rule out, by refuse_bytes.
//
// # Refusals
//
// What the device would answer, if the settings say what that is, framed as its replies are.
// It waits for the replies to earlier commands. Otherwise the session ends. A command that
// is sent while as many are unanswered as may be is recorded as malformed and ends the
// session, as its refusal would be taken for the answer to the one before it.
//
// # What it does not do
//
// It has no clock: where a reply is lost, the client has to connect again before it can ask
// anything more, unless outstanding leaves it room. It does not know a protocol's states, nor
// whether a description is right: a command that is listed as reading and switches something
// off is passed on as reading. Flow control inside the stream (XON, XOFF), Telnet options and RFC 2217,
// frames that share one delimiter with their neighbours or are told apart by silence are
// not understood, which is to say refused.
package command

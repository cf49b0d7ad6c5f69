package mqtt

// kind is how a property is written.
type kind uint8

const (
	flag    kind = 1 + iota // one byte, 0 or 1
	short                   // two bytes
	long                    // four bytes
	varying                 // a variable byte integer
	octets                  // binary data
	words                   // text
	pair                    // two texts; it may come more than once
)

// will stands for the will's properties where others stand for their packet.
const will = 0

const (
	anyAck    = 1<<puback | 1<<pubrec | 1<<pubrel | 1<<pubcomp | 1<<suback | 1<<unsuback
	anyPacket = anyAck | 1<<connect | 1<<connack | 1<<publish | 1<<will | 1<<subscribe | 1<<unsubscribe | 1<<disconnect
)

// Properties that are looked at.
const (
	messageExpiry   = 0x02
	contentType     = 0x03
	responseTopic   = 0x08
	subscriptionID  = 0x0b
	sessionExpiry   = 0x11
	assignedID      = 0x12
	authMethod      = 0x15
	problemInfo     = 0x17
	reasonString    = 0x1f
	receiveMaximum  = 0x21
	topicAliasMax   = 0x22
	topicAlias      = 0x23
	maximumPacket   = 0x27
	lastKnown       = 0x2a
	propertyUnknown = kind(0)
)

// properties says how each is written and where it may stand (2.2.2.2).
var propertyTable = [lastKnown + 1]struct {
	kind kind
	in   uint16
}{
	0x01:           {flag, 1<<publish | 1<<will},
	messageExpiry:  {long, 1<<publish | 1<<will},
	contentType:    {words, 1<<publish | 1<<will},
	responseTopic:  {words, 1<<publish | 1<<will},
	0x09:           {octets, 1<<publish | 1<<will},
	subscriptionID: {varying, 1<<publish | 1<<subscribe},
	sessionExpiry:  {long, 1<<connect | 1<<connack | 1<<disconnect},
	assignedID:     {words, 1 << connack},
	0x13:           {short, 1 << connack},
	authMethod:     {words, 1<<connect | 1<<connack},
	0x16:           {octets, 1<<connect | 1<<connack},
	problemInfo:    {flag, 1 << connect},
	0x18:           {long, 1 << will},
	0x19:           {flag, 1 << connect},
	0x1a:           {words, 1 << connack},
	0x1c:           {words, 1<<connack | 1<<disconnect},
	reasonString:   {words, anyAck | 1<<connack | 1<<disconnect},
	receiveMaximum: {short, 1<<connect | 1<<connack},
	topicAliasMax:  {short, 1<<connect | 1<<connack},
	topicAlias:     {short, 1 << publish},
	0x24:           {flag, 1 << connack},
	0x25:           {flag, 1 << connack},
	0x26:           {pair, anyPacket},
	maximumPacket:  {long, 1<<connect | 1<<connack},
	0x28:           {flag, 1 << connack},
	0x29:           {flag, 1 << connack},
	0x2a:           {flag, 1 << connack},
}

// properties are those of one packet, or of a will.
type properties struct {
	seen          uint64 // by bit
	numbers       [lastKnown + 1]uint32
	contentType   []byte
	responseTopic []byte
	assignedID    []byte
}

func (p *properties) has(id byte) bool { return p.seen&(1<<id) != 0 }

// properties reads them, with the length before them.
func (r *reader) properties(in byte) (p properties) {
	outer := r.take(r.varint())
	if r.wrong != nil || len(outer) == 0 {
		return p
	}
	behind := r.b
	r.b = outer
	for r.wrong == nil && len(r.b) > 0 {
		r.property(&p, in)
	}
	if r.wrong == nil {
		r.b = behind
	}
	return p
}

func (r *reader) property(p *properties, in byte) {
	id := r.varint()
	if r.wrong != nil {
		return
	}
	if id > lastKnown || propertyTable[id].kind == propertyUnknown || propertyTable[id].in&(1<<in) == 0 {
		r.wrong = wrongProperty
		return
	}
	kind := propertyTable[id].kind
	again := p.has(byte(id)) && kind != pair && !(id == subscriptionID && in == publish)
	p.seen |= 1 << id
	var text []byte
	switch kind {
	case flag:
		p.numbers[id] = uint32(r.number8())
	case short:
		p.numbers[id] = uint32(r.number16())
	case long:
		p.numbers[id] = r.number32()
	case varying:
		p.numbers[id] = uint32(r.varint())
	case octets:
		r.binary()
	case words:
		text = r.text()
	case pair:
		r.text()
		r.text()
	}
	switch id {
	case contentType:
		p.contentType = text
	case responseTopic:
		p.responseTopic = text
	case assignedID:
		p.assignedID = text
	}
	if r.wrong != nil {
		return
	}
	n := p.numbers[id]
	switch {
	case again:
		r.wrong = repeatedProperty
	case kind == flag && n > 1:
		r.wrong = wrongValue
	case n == 0 && (id == receiveMaximum || id == maximumPacket || id == subscriptionID):
		r.wrong = wrongValue
	case n == 0 && id == topicAlias:
		r.wrong = wrongAlias
	case id == responseTopic:
		r.wrong = checkName(string(text))
	}
}

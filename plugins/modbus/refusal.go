package modbus

import (
	"encoding/binary"
	"slices"

	"cordon/plugins/sdk"
	"cordon/policy"
)

// Exception codes (MAP 7).
const (
	illegalFunction        = 0x01
	illegalDataAddress     = 0x02
	illegalDataValue       = 0x03
	serverDeviceBusy       = 0x06
	gatewayPathUnavailable = 0x0a
)

// fault is why a request is malformed, and the exception it is answered with. Reasons name
// no content.
type fault struct {
	code   byte
	reason string
}

var (
	noFunction     = &fault{illegalFunction, "function code that is none"}
	wrongSize      = &fault{illegalDataValue, "length that is not the function's"}
	wrongQuantity  = &fault{illegalDataValue, "quantity beyond the function's limits"}
	wrongCount     = &fault{illegalDataValue, "byte count that does not fit the quantity"}
	wrongCoil      = &fault{illegalDataValue, "value that no coil has"}
	wrongReference = &fault{illegalDataValue, "reference type of a file record is not 6"}
	wrongReadCode  = &fault{illegalDataValue, "device identification code that is none"}
	pastEnd        = &fault{illegalDataAddress, "range ends behind address 65535"}
	noRecord       = &fault{illegalDataAddress, "file record that cannot exist"}
	refusedQuirk   = &fault{illegalDataValue, "deviation this service does not tolerate"}
	idInUse        = &fault{serverDeviceBusy, "transaction identifier of a request that is not answered"}
	tooMany        = &fault{serverDeviceBusy, "too many requests that are not answered"}
)

// Refuse implements sdk.Inspector. A refusal need not wait for other responses, as clients
// tell responses apart by their transaction identifier: its place is the next one between
// two responses. What is covered of the device's direction always ends there.
func (s *session) Refuse(op sdk.OpID, why sdk.Refusal, out *sdk.Steps) {
	i := slices.IndexFunc(s.open, func(x exchange) bool { return x.op == op })
	if i < 0 {
		s.end("a refusal came too late to be given", out)
		return
	}
	x := s.open[i]
	s.open = slices.Delete(s.open, i, i+1)
	if x.silent {
		out.Refusal(op, nil)
		return
	}
	answer := binary.BigEndian.AppendUint16(make([]byte, 0, header+2), x.id)
	out.Refusal(op, append(answer, 0, 0, 0, 3, x.unit, x.function|exceptionBit, x.exception(&why)))
}

// exception chooses the code that a refused request is answered with.
func (x *exchange) exception(why *sdk.Refusal) byte {
	switch {
	case why.Cause == policy.CauseDoubt:
		return serverDeviceBusy // clients may try again
	case why.Cause == policy.CauseProtocol && x.wrong != nil:
		return x.wrong.code
	case why.Cause == policy.CauseProtocol:
		return illegalDataValue
	case slices.Contains(why.Obligations, "modbus:gateway-path-unavailable"):
		return gatewayPathUnavailable
	case slices.Contains(why.Obligations, "modbus:illegal-data-address"):
		return illegalDataAddress
	case slices.Contains(why.Obligations, "modbus:illegal-data-value"):
		return illegalDataValue
	}
	return illegalFunction
}

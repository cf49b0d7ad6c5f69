package modbus

import (
	"fmt"

	"cordon/policy"
)

// Function codes (MAP 6).
const (
	readCoils             = 1
	readDiscreteInputs    = 2
	readHoldingRegisters  = 3
	readInputRegisters    = 4
	writeSingleCoil       = 5
	writeSingleRegister   = 6
	readExceptionStatus   = 7
	diagnostics           = 8
	getCommEventCounter   = 11
	getCommEventLog       = 12
	writeMultipleCoils    = 15
	writeMultipleRegs     = 16
	reportServerID        = 17
	readFileRecord        = 20
	writeFileRecord       = 21
	maskWriteRegister     = 22
	readWriteRegisters    = 23
	readFIFOQueue         = 24
	encapsulatedInterface = 43

	exceptionBit = 0x80
)

// Sub-functions of diagnostics (MAP 6.8.1) and MEI types (MAP 6.19) that matter here.
const (
	returnQueryData = 0
	restart         = 1
	listenOnly      = 4

	canOpen              = 13
	deviceIdentification = 14
)

const namePrefix = "modbus:"

// function is what one is called and does.
type function struct {
	name  string // of the operation; empty: not known
	class policy.Class
}

// functions by code. A file may be a program or a configuration, so writing one is not a
// mere write.
var functions = [...]function{
	readCoils:             {"modbus:read_coils", policy.ClassRead},
	readDiscreteInputs:    {"modbus:read_discrete_inputs", policy.ClassRead},
	readHoldingRegisters:  {"modbus:read_holding_registers", policy.ClassRead},
	readInputRegisters:    {"modbus:read_input_registers", policy.ClassRead},
	writeSingleCoil:       {"modbus:write_single_coil", policy.ClassWrite},
	writeSingleRegister:   {"modbus:write_single_register", policy.ClassWrite},
	readExceptionStatus:   {"modbus:read_exception_status", policy.ClassRead},
	diagnostics:           {"modbus:diagnostics", policy.ClassAdmin}, // but for the echo
	getCommEventCounter:   {"modbus:get_comm_event_counter", policy.ClassRead},
	getCommEventLog:       {"modbus:get_comm_event_log", policy.ClassRead},
	writeMultipleCoils:    {"modbus:write_multiple_coils", policy.ClassWrite},
	writeMultipleRegs:     {"modbus:write_multiple_registers", policy.ClassWrite},
	reportServerID:        {"modbus:report_server_id", policy.ClassRead},
	readFileRecord:        {"modbus:read_file_record", policy.ClassRead},
	writeFileRecord:       {"modbus:write_file_record", policy.ClassAdmin},
	maskWriteRegister:     {"modbus:mask_write_register", policy.ClassWrite},
	readWriteRegisters:    {"modbus:read_write_multiple_registers", policy.ClassWrite},
	readFIFOQueue:         {"modbus:read_fifo_queue", policy.ClassRead},
	encapsulatedInterface: {},
}

// functionOf returns what the function of a PDU is called and does.
func functionOf(pdu []byte) function {
	code := pdu[0]
	if code == encapsulatedInterface && len(pdu) > 1 {
		switch pdu[1] {
		case canOpen: // may read or write whatever is on another bus
			return function{"modbus:canopen_general_reference", policy.ClassUnknown}
		case deviceIdentification:
			return function{"modbus:read_device_identification", policy.ClassRead}
		}
	}
	if code == diagnostics && len(pdu) >= 3 && pdu[1] == 0 && pdu[2] == returnQueryData {
		return function{functions[diagnostics].name, policy.ClassSession}
	}
	if int(code) < len(functions) && functions[code].name != "" {
		return functions[code]
	}
	return function{fmt.Sprintf("%sfunction_0x%02x", namePrefix, code), policy.ClassUnknown}
}

// table is what a function reads or writes (MAP 4.3), or "".
func table(code byte) string {
	switch code {
	case readCoils, writeSingleCoil, writeMultipleCoils:
		return "coils"
	case readDiscreteInputs:
		return "discrete_inputs"
	case readInputRegisters:
		return "input_registers"
	case readHoldingRegisters, writeSingleRegister, writeMultipleRegs, maskWriteRegister, readWriteRegisters, readFIFOQueue:
		return "holding_registers"
	}
	return ""
}

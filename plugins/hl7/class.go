package hl7

import "cordon/policy"

// classOf says what a message does, by type and trigger event. RGV is the give order that
// programs an infusion pump (IHE PCD-03); ORU^R40 and R42 are alerts and pump events (IHE
// PCD-04, PCD-10).
func classOf(kind, trigger, structure string) policy.Class {
	if structure != "" && !sameKind(kind, structure) {
		return policy.ClassUnknown // which of the two would the device believe?
	}
	if kind == "ORU" && (trigger == "R40" || trigger == "R42") {
		return policy.ClassNotify
	}
	switch kind {
	case "RGV", "EAC":
		return policy.ClassControl
	case "TCU":
		return policy.ClassAdmin
	case "QRY", "QBP", "QCN", "QSB", "QVR", "VXQ", "OSQ", "SQM", "SPQ", "EQQ", "VQQ", "RQQ", "NMQ", "ESR", "SSR", "INR", "TCR", "LSR":
		return policy.ClassQuery
	case "ORU", "OUL", "OPU", "MDM", "DFT", "BAR", "VXU", "PPR", "PEX", "INU",
		"ADT", "MFN", "SIU", "SRM", "REF",
		"ORM", "OMG", "OML", "OMI", "OMP", "OMD", "OMN", "OMS", "OPL", "RDE", "RDS", "RAS":
		return policy.ClassWrite
	case "NMD", "ESU", "SSU", "EAN", "LSU":
		return policy.ClassNotify
	case "ACK", "MCF":
		return policy.ClassSession
	}
	return policy.ClassUnknown
}

// sameKind reports whether a structure such as ADT_A01 belongs to the message type. The
// trigger may differ: ADT^A04 has the structure ADT_A01.
func sameKind(kind, structure string) bool {
	return len(structure) >= len(kind) && structure[:len(kind)] == kind &&
		(len(structure) == len(kind) || structure[len(kind)] == '_')
}

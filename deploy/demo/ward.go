// Package demo is a small simulated ward: devices that speak plaintext on loopback, and
// people and programs that reach them through a gateway, each act with the outcome it
// must have. It is the first thing a newcomer runs, and the smoke test.
//
// Read ward.go for the cast and the play, device.go and visitor.go for how they speak.
//
// It is no test of a gateway's defences: its devices are polite, and its intruder only
// lacks a certificate.
package demo

import "cordon/policy"

// Device is one simulated device.
type Device struct {
	ID       string
	Class    string
	State    string // of package policy
	Protocol string // "hl7" or "stream"
	Settings map[string]string
}

// Devices are the ward's.
func Devices() []Device {
	return []Device{
		{ID: "mon-7", Class: "monitor/bedside", State: policy.StateActive, Protocol: "hl7"},
		{ID: "lab-1", Class: "analyser/blood-gas", State: policy.StateActive, Protocol: "hl7"},
		{ID: "pump-3", Class: "pump/infusion", State: policy.StateActive, Protocol: "hl7"},
		{ID: "pump-5", Class: "pump/infusion", State: policy.StateMaintenance, Protocol: "hl7"},
		{ID: "vent-4", Class: "ventilator/icu", State: policy.StateActive, Protocol: "stream", Settings: map[string]string{"class": "read"}},
	}
}

// Person is somebody who holds a certificate, or nobody if Kind is empty.
type Person struct {
	Kind, ID string
	Roles    []string
}

// The cast.
var (
	radiologist = Person{policy.KindUser, "dr.kim", []string{"radiologist"}}
	nurse       = Person{policy.KindUser, "nurse.ito", []string{"nurse"}}
	engineer    = Person{policy.KindUser, "eva.biomed", []string{"biomed"}}
	engine      = Person{policy.KindService, "oie-engine", []string{"interface-engine"}}
	vendor      = Person{policy.KindVendor, "acme", []string{"vendor"}}
	intruder    = Person{ID: "unknown"}
)

// People are all who need a certificate.
func People() []Person { return []Person{radiologist, nurse, engineer, engine, vendor} }

// Outcome is what became of an act.
type Outcome string

const (
	Allowed Outcome = "allowed" // the device answered
	Refused Outcome = "refused" // the gateway answered, in the protocol
	Stopped Outcome = "stopped" // there was no handshake
)

// Act is one thing somebody does.
type Act struct {
	Who    Person
	Device string
	What   string // an HL7 message type "ORU^R01", or "session" on a stream
	Want   Outcome
}

// Play is what happens on the ward, over and over.
func Play() []Act {
	return []Act{
		{engine, "mon-7", "ORU^R01", Allowed},       // results of the laboratory
		{nurse, "mon-7", "ORU^R01", Refused},        // a nurse does not write results
		{nurse, "mon-7", "ORU^R40", Allowed},        // but passes an alarm on
		{intruder, "mon-7", "ORU^R01", Stopped},     // no certificate, no handshake
		{radiologist, "mon-7", "QRY^A19", Allowed},  // asks for a patient
		{radiologist, "pump-3", "RGV^O15", Refused}, // does not program pumps
		{engine, "lab-1", "ORM^O01", Allowed},       // an order for the analyser
		{nurse, "lab-1", "QRY^A19", Refused},        // nothing there is hers
		{vendor, "pump-3", "RGV^O15", Refused},      // not while the pump is in use
		{vendor, "pump-5", "RGV^O15", Allowed},      // while it is being serviced
		{engineer, "vent-4", "session", Allowed},    // reads a ventilator's log
		{vendor, "vent-4", "session", Refused},      // may not
	}
}

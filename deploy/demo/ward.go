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

// patient is the ward's, and invented.
const patient = "100123"

// Device is one simulated device.
type Device struct {
	ID       string
	Profile  string // that the gateway knows the type by, or ""
	Class    string // "" if the profile says it
	State    string // of package policy
	Protocol string
	Settings map[string]string
}

// Devices are the ward's.
func Devices() []Device {
	return []Device{
		{ID: "mon-7", Class: "monitor/bedside", State: policy.StateActive, Protocol: "hl7"},
		{ID: "lab-1", Class: "analyser/blood-gas", State: policy.StateActive, Protocol: "hl7"},
		{ID: "pump-3", Class: "pump/infusion", State: policy.StateActive, Protocol: "hl7"},
		{ID: "pump-5", Class: "pump/infusion", State: policy.StateMaintenance, Protocol: "hl7"},
		{ID: "ct-2", Class: "imaging/ct", State: policy.StateActive, Protocol: "dicom"},
		{ID: "pacs-1", Class: "imaging/archive", State: policy.StateActive, Protocol: "dicom"},
		{ID: "chiller-1", Class: "facility/chiller", State: policy.StateActive, Protocol: "modbus"},
		{ID: "gas-2", Class: "analyser/blood-gas", State: policy.StateActive, Protocol: "astm"},
		{ID: "pole-6", Profile: "bd-alaris-gateway", State: policy.StateMaintenance, Protocol: "http"},
		{ID: "vent-4", Class: "ventilator/icu", State: policy.StateActive, Protocol: "stream", Settings: map[string]string{"class": "read"}},
	}
}

// Person is somebody who holds a certificate, or nobody if Kind is empty.
type Person struct {
	Kind, ID string
	Roles    []string
	AETitle  string // under which this one calls DICOM devices
}

// The cast.
var (
	radiologist = Person{Kind: policy.KindUser, ID: "dr.kim", Roles: []string{"radiologist"}, AETitle: "KIM-WS"}
	nurse       = Person{Kind: policy.KindUser, ID: "nurse.ito", Roles: []string{"nurse"}, AETitle: "WARD-WS"}
	engineer    = Person{Kind: policy.KindUser, ID: "eva.biomed", Roles: []string{"biomed"}}
	engine      = Person{Kind: policy.KindService, ID: "oie-engine", Roles: []string{"interface-engine"}, AETitle: "OIE"}
	vendor      = Person{Kind: policy.KindVendor, ID: "acme", Roles: []string{"vendor"}, AETitle: "ACME"}
	scanner     = Person{Kind: policy.KindDevice, ID: "ct-2", Roles: []string{"device"}, AETitle: "CT-2"}
	impostor    = Person{Kind: policy.KindDevice, ID: "ct-2", Roles: []string{"device"}, AETitle: "KIM-WS"} // not its own
	intruder    = Person{ID: "unknown"}
)

// People are all who need a certificate.
func People() []Person { return []Person{radiologist, nurse, engineer, engine, vendor, scanner} }

// AETitles are the AE titles that are bound to certificates, by kind and id as in
// "user/dr.kim": data.yaml's ae_titles.
func AETitles() map[string][]string {
	bound := map[string][]string{}
	for _, p := range []Person{radiologist, scanner} {
		bound[p.Kind+"/"+p.ID] = []string{p.AETitle}
	}
	return bound
}

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
	What   string // in the protocol's words: "ORU^R01", "C-STORE", "read", "GET /status"
	Want   Outcome
}

// Play is what happens on the ward, over and over.
func Play() []Act {
	return []Act{
		{engine, "mon-7", "ORU^R01", Allowed},        // results of the laboratory
		{nurse, "mon-7", "ORU^R01", Refused},         // a nurse does not write results
		{nurse, "mon-7", "ORU^R40", Allowed},         // but passes an alarm on
		{intruder, "mon-7", "ORU^R01", Stopped},      // no certificate, no handshake
		{radiologist, "mon-7", "QRY^A19", Allowed},   // asks for a patient
		{radiologist, "pump-3", "RGV^O15", Refused},  // does not program pumps
		{engine, "lab-1", "ORM^O01", Allowed},        // an order for the analyser
		{nurse, "lab-1", "QRY^A19", Refused},         // nothing there is hers
		{vendor, "pump-3", "RGV^O15", Refused},       // not while the pump is in use
		{vendor, "pump-5", "RGV^O15", Allowed},       // while it is being serviced
		{scanner, "pacs-1", "C-STORE", Allowed},      // archives an image
		{radiologist, "pacs-1", "C-FIND", Allowed},   // looks for the study
		{radiologist, "pacs-1", "C-MOVE", Allowed},   // and has it sent to her workstation
		{scanner, "pacs-1", "C-MOVE", Refused},       // a scanner fetches no images
		{nurse, "pacs-1", "C-STORE", Refused},        // nothing there is hers
		{impostor, "pacs-1", "C-FIND", Refused},      // a scanner's certificate under another's name
		{engine, "ct-2", "C-ECHO", Refused},          // results are its business, images are not
		{vendor, "ct-2", "C-ECHO", Refused},          // not while the scanner is in use
		{engineer, "chiller-1", "read", Allowed},     // is it cold enough
		{engineer, "chiller-1", "setpoint", Refused}, // reading is all the default policy lets her
		{nurse, "chiller-1", "read", Refused},        // nothing there is hers
		{engine, "gas-2", "order", Allowed},          // asks for tests, and gets the results
		{engine, "gas-2", "cancel", Refused},         // writes orders, but controls nothing
		{nurse, "gas-2", "order", Refused},           // nothing there is hers
		{engineer, "pole-6", "GET /status", Allowed}, // a page without a password
		{nurse, "pole-6", "GET /status", Refused},    // her role has nothing there
		{vendor, "pole-6", "POST /upload", Refused},  // a virtual patch, even in maintenance
		{engineer, "vent-4", "session", Allowed},     // reads a ventilator's log
		{vendor, "vent-4", "session", Refused},       // may not
	}
}

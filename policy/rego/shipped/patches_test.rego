package cordon_test

import data.cordon

# Somebody who may do everything everywhere, so that what is refused is refused by a patch.
all_classes := ["session", "read", "query", "write", "control", "admin", "notify", "unknown"]

everything := {"biomed": {"*": all_classes}, "nurse": {"*": all_classes}, "interface-engine": {"*": all_classes}}

all_services := {role: ["find", "move", "get", "store", "commit", "mpps", "print", "worklist"] |
	some role, _ in everything
}

# An engineer's question, of which a case changes what matters to it.
engineer := {
	"phase": "operation",
	"subject": {"id": "eva", "kind": "user", "roles": ["biomed"], "groups": [], "mfa": false},
	"device": {"id": "dev-1", "class": "any/thing", "profile": "", "segment": "", "labels": {}, "state": "active"},
	"service": {"name": "x", "protocol": "hl7"},
	"session": {"id": "s1", "direction": "inbound", "client": "10.1.2.3", "tls": "1.3"},
	"operation": {"name": "hl7:QRY^A19", "class": "query", "attributes": {}},
	"now_ns": 1,
}

asked_of(profile, changes) := object.union_n([engineer, {"device": {"profile": profile}}, changes])

hl7(name, class) := {"service": {"protocol": "hl7"}, "operation": {"name": sprintf("hl7:%s", [name]), "class": class}}

http(method, class, path) := {"service": {"protocol": "http"}, "operation": {"name": sprintf("http:%s", [method]), "class": class, "attributes": {"path": path}}}

over(protocol, class) := {"service": {"protocol": protocol}, "operation": {"name": sprintf("%s:x", [protocol]), "class": class}}

connecting(protocol) := {"phase": "connect", "service": {"protocol": protocol}, "operation": {"name": "", "class": ""}}

outbound(what) := object.union(what, {"session": {"direction": "outbound"}})

associating(calling, called) := {
	"service": {"protocol": "dicom"},
	"operation": {"name": "dicom:A-ASSOCIATE", "class": "session", "attributes": {"calling_ae": calling, "called_ae": called}},
}

maintained(what) := object.union(what, {"device": {"state": "maintenance"}})

engine := {"subject": {"id": "server", "kind": "service", "roles": ["interface-engine"]}}

nurse := {"subject": {"roles": ["nurse"]}}

by(who, what) := object.union(what, who)

finding := {"service": {"protocol": "dicom"}, "operation": {"name": "dicom:C-FIND", "class": "query"}}

# Each patch: what it refuses, and the ordinary traffic beside it, which passes.
cases := {
	"cms8000-call-out": {
		"profiles": ["contec-cms8000"],
		"refused": [outbound(over("dicom", "write")), outbound(hl7("QRY^A19", "query")), outbound(connecting("stream"))],
		"passes": [hl7("ORU^R01", "write"), hl7("QRY^A19", "query"), connecting("hl7")],
	},
	"cms8000-datagrams": {
		"profiles": ["contec-cms8000"],
		"refused": [over("stream", "read"), over("command", "read"), connecting("stream")],
		"passes": [hl7("ORU^R01", "write"), connecting("hl7")],
	},
	"aestiva-commands": {
		"profiles": ["ge-aestiva"],
		"refused": [over("command", "control"), over("command", "write"), over("command", "admin"), maintained(over("command", "admin")), over("command", "notify")],
		"passes": [over("command", "read"), over("command", "query"), over("command", "session"), connecting("command")],
	},
	"spacecom-configuration": {
		"profiles": ["bbraun-spacecom"],
		"refused": [
			http("POST", "write", "/config"), http("POST", "control", "/pump"), http("PUT", "admin", "/library"),
			maintained(http("PUT", "admin", "/library")), by(engine, http("PUT", "admin", "/library")),
			http("GET", "read", "/log/%s%n"), by(engine, maintained(http("PUT", "admin", "/library/%n"))),
		],
		"passes": [http("GET", "read", "/status"), by(engine, maintained(http("PUT", "admin", "/library"))), connecting("http")],
	},
	"alaris-gateway-upload": {
		"profiles": ["bd-alaris-gateway"],
		"refused": [
			http("POST", "write", "/upload"), http("PUT", "write", "/firmware"), http("DELETE", "write", "/"), over("stream", "read"),
			by(nurse, http("GET", "read", "/status")), by(nurse, connecting("http")), maintained(http("POST", "admin", "/upload")),
			object.union(http("GET", "read", "/status"), {"service": {"protocol": "stream"}}),
		],
		"passes": [http("GET", "read", "/status"), http("HEAD", "read", "/status"), connecting("http")],
	},
	"telnet-and-ftp": {
		"profiles": ["baxter-spectrum-wbm", "hospira-lifecare-pca", "fujifilm-fcr-capsula"],
		"refused": [over("stream", "read"), over("command", "read"), connecting("stream"), connecting("command")],
		"passes": [http("GET", "read", "/status"), associating("CT", "FCR"), connecting("http")],
	},
	"dcmtk-file-names": {
		"profiles": ["dcmtk-scp"],
		"refused": [associating("../../etc", "PACS"), associating("CT", ".."), associating("A/B", "PACS"), associating(`A\B`, "PACS")],
		"passes": [associating("CT_2", "PACS"), associating("CT.2", "PACS-1"), finding],
	},
	"intellivue-results-only": {
		"profiles": ["philips-intellivue"],
		"refused": [over("stream", "read"), over("command", "read"), hl7("ORM^O01", "write"), hl7("RGV^O15", "control"), hl7("MFN^M01", "admin"), connecting("stream")],
		"passes": [hl7("QRY^A19", "query"), hl7("X", "read"), hl7("ORU^R40", "notify"), hl7("BATCH", "session"), connecting("hl7")],
	},
	"infinity-delta-strict": {
		"profiles": ["draeger-infinity-delta"],
		"refused": [over("stream", "read"), connecting("stream"), object.union(hl7("ORU^R01", "write"), {"operation": {"attributes": {"anomalies": ["lf_ends"]}}})],
		"passes": [hl7("ORU^R01", "write"), object.union(hl7("ORU^R01", "write"), {"operation": {"attributes": {"anomalies": []}}}), connecting("hl7")],
	},
	"roche-poc-directives": {
		"profiles": ["roche-poc-handheld"],
		"refused": [over("poct1a", "unknown"), over("http", "read"), connecting("stream")],
		"passes": [over("poct1a", "write"), over("poct1a", "query"), over("poct1a", "read"), over("poct1a", "notify"), over("poct1a", "session"), over("poct1a", "control"), over("poct1a", "admin"), connecting("poct1a")],
	},
}

allowed(question) := answer if {
	answer := cordon.allow with input as question
		with data.roles as everything
		with data.maintenance as everything
		with data.dicom_services as all_services
		with data.ae_titles as {"user/eva": ["*"]}
}

names(question) := answer if {
	answer := cordon.patched with input as question
		with data.roles as everything
}

test_patches_refuse if {
	every patch, row in cases {
		every profile in row.profiles {
			every question in row.refused {
				not allowed(asked_of(profile, question))
				patch in names(asked_of(profile, question))
			}
		}
	}
}

test_patches_let_ordinary_traffic_pass if {
	every row in cases {
		every profile in row.profiles {
			every question in row.passes {
				allowed(asked_of(profile, question))
				names(asked_of(profile, question)) == set()
			}
		}
	}
}

# What a patch refuses is permitted on a device that does not have it.
test_patches_guard_their_devices_only if {
	every row in cases {
		every question in row.refused {
			names(asked_of("", question)) == set()
			names(asked_of("acme-ventilator", question)) == set()
		}
	}
}

test_patches_send_results if {
	names(asked_of("contec-cms8000", outbound(hl7("ORU^R01", "write")))) == set()
	names(asked_of("contec-cms8000", outbound(hl7("ORU^R40", "notify")))) == set()
	names(asked_of("contec-cms8000", outbound(hl7("ACK", "session")))) == set()
	names(asked_of("contec-cms8000", outbound(connecting("hl7")))) == set()
}

test_patches_are_named if {
	question := asked_of("bd-alaris-gateway", http("POST", "write", "/upload"))
	cordon.rule == "alaris-gateway-upload" with input as question with data.roles as everything
	cordon.reason == "virtual patch alaris-gateway-upload of bd-alaris-gateway" with input as question with data.roles as everything
	question_of_two := asked_of("contec-cms8000", outbound(over("stream", "read")))
	cordon.rule == "cms8000-call-out" with input as question_of_two with data.roles as everything
	not cordon.rule with input as asked_of("", hl7("QRY^A19", "query")) with data.roles as everything
}

# Virtual patches: what the known flaws of some types of devices need is refused, whoever asks
# and whatever the tables permit. A device has them by its profile (cordon profile list), and
# cordon policy patches lists them with the devices they guard.
#
# Whoever changes this file takes over the signature: cordon check says so from then on.
package cordon

unpatched if count(patched) == 0

# The decision's rule: the patch that refused, or the first of several.
rule := sort(patched)[0] if count(patched) > 0

# METADATA
# title: The monitor calls nobody but whom it sends results to
# related_resources:
#   - ref: https://www.cisa.gov/news-events/ics-medical-advisories/icsma-25-030-01
# custom:
#   cve: [CVE-2025-0626, CVE-2025-0683]
#   advisory: ICSMA-25-030-01
#   signed_off: cordon 2026-11-22
patched contains "cms8000-call-out" if {
	input.device.profile == "contec-cms8000"
	input.session.direction == "outbound"
	not results_out
}

results_out if {
	input.service.protocol == "hl7"
	input.operation.class in {"", "session", "write", "notify"}
}

# METADATA
# title: Nothing but HL7 reaches the monitor, no datagram either
# related_resources:
#   - ref: https://www.cisa.gov/news-events/ics-medical-advisories/icsma-22-244-01
# custom:
#   cve: [CVE-2024-12248, CVE-2022-38100]
#   advisory: ICSMA-22-244-01
#   signed_off: cordon 2026-11-22
patched contains "cms8000-datagrams" if {
	input.device.profile == "contec-cms8000"
	input.service.protocol != "hl7"
}

# METADATA
# title: The anaesthesia machine is asked, never set, not even in maintenance
# related_resources:
#   - ref: https://www.cisa.gov/news-events/ics-medical-advisories/icsma-19-190-01
# custom:
#   cve: [CVE-2019-10966]
#   advisory: ICSMA-19-190-01
#   signed_off: cordon 2026-11-22
patched contains "aestiva-commands" if {
	input.device.profile == "ge-aestiva"
	not asking
}

# METADATA
# title: Only the one server configures the pumps, in maintenance, without format strings
# related_resources:
#   - ref: https://www.cisa.gov/news-events/ics-medical-advisories/icsma-21-294-01
# custom:
#   cve: [CVE-2021-33882, CVE-2021-33885, CVE-2021-33886]
#   advisory: ICSMA-21-294-01
#   signed_off: cordon 2026-11-22
patched contains "spacecom-configuration" if {
	input.device.profile == "bbraun-spacecom"
	not asking
	not configuring
}

patched contains "spacecom-configuration" if {
	input.device.profile == "bbraun-spacecom"
	contains(input.operation.attributes.path, "%")
}

configuring if {
	input.device.state == "maintenance"
	input.subject.kind == "service"
}

# METADATA
# title: Nothing is uploaded to the workstation, and only biomedical engineering looks at it
# related_resources:
#   - ref: https://www.cisa.gov/news-events/ics-medical-advisories/icsma-19-164-01
# custom:
#   cve: [CVE-2019-10959, CVE-2019-10962]
#   advisory: ICSMA-19-164-01
#   signed_off: cordon 2026-11-22
patched contains "alaris-gateway-upload" if {
	input.device.profile == "bd-alaris-gateway"
	not looking
}

looking if {
	input.service.protocol == "http"
	input.operation.name in {"", "http:GET", "http:HEAD"}
	"biomed" in roles
}

# METADATA
# title: No session that nobody can read, which Telnet and FTP would be
# related_resources:
#   - ref: https://www.cisa.gov/news-events/ics-medical-advisories/icsma-20-170-04
#   - ref: https://www.cisa.gov/news-events/ics-medical-advisories/icsma-19-113-01
#   - ref: https://www.cisa.gov/news-events/ics-advisories/icsa-15-125-01b
# custom:
#   cve: [CVE-2020-12045, CVE-2020-12041, CVE-2015-3459, CVE-2019-10950]
#   advisory: ICSMA-20-170-04
#   signed_off: cordon 2026-11-22
patched contains "telnet-and-ftp" if {
	input.device.profile in {"baxter-spectrum-wbm", "hospira-lifecare-pca", "fujifilm-fcr-capsula"}
	input.service.protocol in {"command", "stream"}
}

# METADATA
# title: No name that becomes a path where it is used for a file
# related_resources:
#   - ref: https://www.cisa.gov/news-events/ics-medical-advisories/icsma-22-174-01
# custom:
#   cve: [CVE-2022-2119, CVE-2022-2120]
#   advisory: ICSMA-22-174-01
#   signed_off: cordon 2026-11-22
patched contains "dcmtk-file-names" if {
	input.device.profile == "dcmtk-scp"
	some name in [input.operation.attributes.calling_ae, input.operation.attributes.called_ae]
	regex.match(`[/\\]|\.\.`, name)
}

# METADATA
# title: The monitor is asked for results over HL7, and for nothing else
# related_resources:
#   - ref: https://www.cisa.gov/news-events/ics-medical-advisories/icsma-18-156-01
# custom:
#   cve: [CVE-2018-10597, CVE-2018-10599, CVE-2018-10601]
#   advisory: ICSMA-18-156-01
#   signed_off: cordon 2026-11-22
patched contains "intellivue-results-only" if {
	input.device.profile == "philips-intellivue"
	not results_only
}

results_only if {
	input.service.protocol == "hl7"
	input.operation.class in {"", "session", "read", "query", "notify"}
}

# METADATA
# title: Nothing reaches the monitor that is not exactly as HL7 says
# related_resources:
#   - ref: https://www.cisa.gov/news-events/ics-medical-advisories/icsma-19-022-01
# custom:
#   cve: [CVE-2018-19010]
#   advisory: ICSMA-19-022-01
#   signed_off: cordon 2026-11-22
patched contains "infinity-delta-strict" if {
	input.device.profile == "draeger-infinity-delta"
	input.service.protocol != "hl7"
}

patched contains "infinity-delta-strict" if {
	input.device.profile == "draeger-infinity-delta"
	count(input.operation.attributes.anomalies) > 0
}

# METADATA
# title: No directives but those of POCT1-A to the handheld meters' base units
# related_resources:
#   - ref: https://www.cisa.gov/news-events/ics-medical-advisories/icsma-18-310-01
# custom:
#   cve: [CVE-2018-18564, CVE-2018-18565]
#   advisory: ICSMA-18-310-01
#   signed_off: cordon 2026-11-22
patched contains "roche-poc-directives" if {
	input.device.profile == "roche-poc-handheld"
	input.operation.class == "unknown"
}

patched contains "roche-poc-directives" if {
	input.device.profile == "roche-poc-handheld"
	input.service.protocol != "poct1a"
}

# Connecting, and what does not change a device.
asking if input.operation.class in {"", "session", "read", "query"}

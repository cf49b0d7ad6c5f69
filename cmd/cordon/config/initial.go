package config

import (
	"fmt"
	"strings"
)

// Initial returns the file of a new gateway that keeps what it keeps in state. Its error is a
// Faults that says what is wrong with one of them.
func Initial(name, trustDomain, state string) ([]byte, error) {
	text := []byte(strings.NewReplacer("NAME", scalar(name), "TRUST", scalar(trustDomain), "STATE", scalar(state)).Replace(initial))
	if _, err := parse(FileName, text); err != nil {
		return nil, fmt.Errorf("write a first configuration: %w", err)
	}
	return text, nil
}

const initial = `# yaml-language-server: $schema=./cordon.schema.json
# The configuration of one Cordon gateway. After a change: cordon check -c cordon.yaml
# Paths are relative to this file. Durations: 500ms 30s 5m 8h. Sizes: 64MiB.
version: 1

gateway:
  name: NAME
  state: STATE                 # the CA, keys and log; back it up, let nobody else read it
  # How clients reach this gateway; its certificate names no others.
  names: [localhost]
  addresses: [127.0.0.1, "::1"]

identity:
  trust_domain: TRUST
  ca:
    mode: embedded             # this gateway runs its own certificate authority
    leaf_ttl: 8h               # one shift
    # trust_file: hospital.pem # believe these roots too
    # crl_file: hospital.crl   # what those have revoked; without it nobody asks

# One entry for each device; "cordon device add" writes them:
#   cordon device add mon-7 --dir . --class monitor/bedside --protocol hl7 \
#     --address 10.20.0.31 --port 2575 --listen :12575
devices: {}

policy:
  dir: policy                  # Rego, with its tests

audit:
  checkpoint: 1s               # how often the log's head is signed

# metrics: { listen: 127.0.0.1:9464 }  # for Prometheus; also /healthz and /readyz

limits:
  sessions: 4096
  sessions_per_source: 256
  handshake_timeout: 5s
  dial_timeout: 5s
`

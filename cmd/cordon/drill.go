package main

import "cordon/gateway/audit"

// kindDrill is an entry about a drill.
const kindDrill audit.Kind = "break-glass-drill"

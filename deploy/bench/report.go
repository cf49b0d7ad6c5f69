package main

import (
	"fmt"
	"slices"
)

// printBesideBare compares the gateway with the least a TLS proxy can be.
func printBesideBare(rows []figure, medians []map[string]float64) {
	fmt.Println("| | bare | cordon | compared | to reach |")
	fmt.Println("|---|---|---|---|---|")
	for i, f := range rows {
		bare, gw := medians[i]["bare"], medians[i]["cordon"]
		compared := fmt.Sprintf("%+.1f %s", gw-bare, f.unit)
		if f.compare == "ratio" {
			compared = fmt.Sprintf("%.2f ×", gw/bare)
		}
		fmt.Printf("| %s | %s | %s | %s | %s |\n", f.name, amount(bare, f.unit), amount(gw, f.unit), compared, f.aim)
	}
}

// printBesideToday compares what asking OPA adds to nginx with what the gateway adds to bare.
func printBesideToday(rows []figure, medians []map[string]float64) {
	if !slices.ContainsFunc(rows, func(f figure) bool { return f.compare == "today" }) {
		return
	}
	fmt.Println("\n| | nginx | nginx → OPA | OPA adds | cordon adds | compared | to reach |")
	fmt.Println("|---|---|---|---|---|---|---|")
	for i, f := range rows {
		if f.compare != "today" {
			continue
		}
		nginx, opa := medians[i]["nginx"], medians[i]["nginx → OPA"]
		theirs, ours := opa-nginx, medians[i]["cordon"]-medians[i]["bare"]
		compared := "nothing added"
		if ours > 0 {
			compared = fmt.Sprintf("%.2f × less", theirs/ours)
		}
		fmt.Printf("| %s | %s | %s | %+.1f %s | %+.1f %s | %s | ≥ 5 × less |\n",
			f.name, amount(nginx, f.unit), amount(opa, f.unit), theirs, f.unit, ours, f.unit, compared)
	}
}

// amount is a value in three digits, and all that stand before the point.
func amount(v float64, unit string) string {
	if v >= 1000 {
		return fmt.Sprintf("%.0f %s", v, unit)
	}
	return fmt.Sprintf("%.3g %s", v, unit)
}

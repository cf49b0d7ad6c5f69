// Command dashboards writes a dashboard of Grafana for Cordon's metrics, which package
// gateway/metrics declares; alerts.yaml beside it are the rules of Prometheus for those who are woken.
//
//	go run ./deploy/dashboards > deploy/dashboards/cordon.json
//
// Read panels.go for what is shown, this file for the form that Grafana reads. Import the JSON into Grafana,
// and name alerts.yaml under rule_files in prometheus.yml.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

// panel is one picture.
type panel struct {
	title  string
	unit   string // as Grafana names it: "ops", "s", "short", "dateTimeFromNow"
	kind   string // "timeseries" or "stat"
	width  int    // of 24
	series []expression
}

// expression is one query, and what its lines are called.
type expression struct{ expr, legend string }

// row is a headline and the panels under it.
type row struct {
	title  string
	panels []panel
}

const panelHeight = 7

func main() {
	text, err := dashboard()
	if err == nil {
		_, err = os.Stdout.Write(text)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "dashboards:", err)
		os.Exit(1)
	}
}

// source is the data source that whoever looks chooses.
func source() map[string]any { return map[string]any{"type": "prometheus", "uid": "${source}"} }

// dashboard is the JSON model of Grafana, schema version 39.
func dashboard() ([]byte, error) {
	var panels []map[string]any
	id, y := 0, 0
	for _, r := range rows {
		id++
		panels = append(panels, map[string]any{"id": id, "type": "row", "title": r.title, "collapsed": false, "panels": []any{}, "gridPos": grid(0, y, 24, 1)})
		y++
		x := 0
		for _, p := range r.panels {
			if x+p.width > 24 {
				x, y = 0, y+panelHeight
			}
			id++
			panels = append(panels, p.model(id, grid(x, y, p.width, panelHeight)))
			x += p.width
		}
		y += panelHeight
	}
	text, err := json.MarshalIndent(map[string]any{
		"title": "Cordon", "uid": "cordon", "schemaVersion": 39, "version": 1, "editable": true, "refresh": "30s", "tags": []string{"cordon"},
		"time":       map[string]any{"from": "now-6h", "to": "now"},
		"templating": map[string]any{"list": variables()}, "panels": panels,
	}, "", " ")
	return append(text, '\n'), err
}

// variables are what whoever looks chooses: a data source, and gateways.
func variables() []map[string]any {
	return []map[string]any{
		{"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
		{"name": "gateway", "label": "Gateway", "type": "query", "datasource": source(), "query": "label_values(cordon_build_info, instance)",
			"refresh": 2, "includeAll": true, "multi": true, "current": map[string]any{"text": "All", "value": "$__all"}},
	}
}

func grid(x, y, w, h int) map[string]any { return map[string]any{"x": x, "y": y, "w": w, "h": h} }

// model is p as Grafana reads it.
func (p panel) model(id int, at map[string]any) map[string]any {
	var targets []map[string]any
	for i, s := range p.series {
		targets = append(targets, map[string]any{"refId": string(rune('A' + i)), "datasource": source(), "expr": s.expr, "legendFormat": s.legend})
	}
	return map[string]any{"id": id, "type": p.kind, "title": p.title, "datasource": source(), "gridPos": at, "targets": targets,
		"fieldConfig": map[string]any{"defaults": map[string]any{"unit": p.unit}, "overrides": []any{}}}
}

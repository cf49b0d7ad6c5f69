package config

import (
	"fmt"
	"net/url"
	"regexp"
	"time"
)

// deviceClasses is a class of devices, or all below one.
var deviceClasses = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}(/[a-z0-9][a-z0-9-]{0,62}){0,3}(/\*)?$`)

// longestEmergency is access.MaxEmergency.
const longestEmergency = 4 * time.Hour

func (d *decoder) breakGlass(n *node) BreakGlass {
	b := BreakGlass{Duration: 30 * time.Minute, Max: longestEmergency}
	names := func(what string) func(*node) []string {
		return func(n *node) []string {
			if n.kind == list && len(n.entries) == 0 {
				d.bad(n, n.path+" is empty", "name one, or remove the line")
			}
			return each(d, n, func(n *node) string { return d.word(n, identifier, what+", as in certificates") })
		}
	}
	roles, groups := names("a role"), names("a group")
	d.object(n, fields{
		"roles":     func(n *node) { b.Roles = roles(n) },
		"groups":    func(n *node) { b.Groups = groups(n) },
		"reviewers": func(n *node) { b.Reviewers = roles(n) },
		"duration":  func(n *node) { b.Duration = d.duration(n, time.Minute, longestEmergency) },
		"max":       func(n *node) { b.Max = d.duration(n, time.Minute, longestEmergency) },
		"device_classes": func(n *node) {
			b.DeviceClasses = each(d, n, func(n *node) string {
				return d.word(n, deviceClasses, "a class, imaging/ct, or all below one, imaging/*")
			})
		},
	})
	if n != nil && b.Max > 0 && b.Duration > b.Max {
		at := n.get("duration")
		if at == nil {
			at = n.get("max")
		}
		if at != nil {
			d.bad(at, fmt.Sprintf("%s.duration is %s, longer than max, %s", n.path, short(b.Duration), short(b.Max)), "write a shorter duration, or a longer max")
		}
	}
	return b
}

func (d *decoder) alarms(n *node) Alarms {
	var a Alarms
	d.object(n, fields{
		"syslog":  func(n *node) { a.Syslog = d.text(n, 255) },
		"webhook": func(n *node) { a.Webhook = d.webhook(n) },
	})
	return a
}

func (d *decoder) webhook(n *node) Webhook {
	var w Webhook
	d.object(n, fields{
		"url": func(n *node) {
			w.URL = d.text(n, 1024)
			if u, err := url.Parse(w.URL); w.URL != "" && (err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "") {
				d.bad(n, n.path+" is no address of HTTPS", "such as "+examples["url"])
			}
		},
		"secret_file": func(n *node) { w.SecretFile = d.path(n) },
		"trust_file":  func(n *node) { w.TrustFile = d.path(n) },
	}, "url", "secret_file")
	return w
}

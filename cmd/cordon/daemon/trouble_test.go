package daemon

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cordon/cmd/cordon/config"
	"cordon/gateway/audit"
)

// told empties what is to be told.
func (a *Assembly) told() (list []string) {
	for len(a.troubles) > 0 {
		t := <-a.troubles
		text := string(t.Kind)
		if t.alarm {
			text += "!"
		}
		list = append(list, text)
	}
	return list
}

// A plugin that ends again and again does not fill the log, nor drive other alarms out of the spool.
func TestPluginEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &Assembly{troubles: make(chan trouble, maxTroubles)}
		ended := a.pluginEnded("hl7")
		for i := range 30 {
			pause := 100 * time.Millisecond
			if i%5 == 4 {
				pause = 30 * time.Second
			}
			ended(errors.New("EOF"), i+1, pause)
			time.Sleep(pause)
		}
		if got := strings.Join(a.told(), " "); got != "plugin-ended! plugin-held!" {
			t.Errorf("within minutes %s is told", got)
		}
		time.Sleep(pluginAlarms)
		ended(errors.New("EOF"), 31, 100*time.Millisecond)
		if got := strings.Join(a.told(), " "); got != "plugin-ended!" {
			t.Errorf("later %s is told", got)
		}
	})
	if (&Assembly{}).pluginEnded("hl7") != nil {
		t.Error("where no gateway runs somebody is told")
	}
}

// The first failure with certificates is told, and that it is over; the rest is counted.
func TestTriedCertificates(t *testing.T) {
	a := &Assembly{troubles: make(chan trouble, maxTroubles), outcomes: newOutcomes(&config.Config{}, time.Now())}
	for range 3 {
		a.triedCertificates("certificates", errors.New("no key"))
	}
	a.triedCertificates("trust", nil)
	a.triedCertificates("certificates", nil)
	a.triedCertificates("certificates", nil)
	if got := strings.Join(a.told(), " "); got != "certificates! certificates" {
		t.Errorf("%s is told", got)
	}
	for _, o := range a.outcomes.all() {
		want := map[origin][2]uint64{fromRenewal: {2, 3}, fromTrust: {1, 0}}[o.Source]
		if !o.OK || o.Successes != want[0] || o.Failures != want[1] {
			t.Errorf("%+v", o)
		}
	}
}

// Of revocation lists each change is told: that one ends soon is no reason to keep silent of its end.
func TestTriedLists(t *testing.T) {
	c := &config.Config{Identity: config.Identity{CA: config.CA{TrustFile: "a", CRLFile: "b"}}}
	a := &Assembly{Config: c, troubles: make(chan trouble, maxTroubles), outcomes: newOutcomes(c, time.Now())}
	a.triedCertificates("revocation-lists", errors.New("ends"))
	a.triedCertificates("revocation-lists", errors.Join(errors.New("was over"), errors.New("none of another")))
	if o := a.outcomes.by[fromLists]; o.OK || o.Why != "was over; none of another" {
		t.Errorf("the metrics and status know %+v", o)
	}
	a.triedCertificates("revocation-lists", nil)
	if got := strings.Join(a.told(), " "); got != "certificates! certificates! certificates" || a.outcomes.failed(fromLists) {
		t.Errorf("%s is told", got)
	}
}

// What does not come from where the configuration says is not counted, nor what a person asks for in vain.
func TestOutcomes(t *testing.T) {
	a := &Assembly{outcomes: newOutcomes(&config.Config{}, time.Now())}
	bad := errors.New("no")
	a.outcomes.note(fromBundle, bad)
	a.count("confirm", fromConfiguration, bad)
	a.count("reload", "", bad)
	a.count("reload", fromFolder, bad)
	a.count("try", fromConfiguration, bad)
	got := map[origin]sourceOutcome{}
	for _, o := range a.outcomes.all() {
		got[o.Source] = o
	}
	if len(got) != 4 || got[fromConfiguration].Failures != 2 || got[fromConfiguration].OK || got[fromFolder].Failures != 1 || got[fromFolder].Why != "no" {
		t.Errorf("counted %+v", got)
	}
	a.count("reload", fromConfiguration, nil)
	for _, o := range a.outcomes.all() {
		if !o.OK || o.Why != "" {
			t.Errorf("after a good one %+v", o)
		}
	}
}

// More than can wait is not waited for.
func TestTroublesBounded(t *testing.T) {
	a := &Assembly{troubles: make(chan trouble, maxTroubles), logger: slog.New(slog.DiscardHandler)}
	for range maxTroubles + 5 {
		a.later(trouble{Entry: audit.Entry{Kind: kindPlugin}})
	}
	if n := len(a.told()); n != maxTroubles {
		t.Errorf("%d are to be told", n)
	}
}

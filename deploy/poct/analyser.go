package poct

import "strconv"

// Analyser is one that has results to report. Its zero value has no identity, which managers
// do not like.
type Analyser struct {
	Serial  string
	Results []Result
	Events  []string // descriptions
}

// Result is one measurement.
type Result struct{ Patient, Observation, Value string }

// Serve holds a conversation until END.R01 or the connection's end. It returns, in order,
// what it was told: "LOCK", "ROBS", "OPL.R01 1", and the answers it got to its own
// messages: "OBS.R01 AE Refused…", with END.R01 as "END ABN".
func (a *Analyser) Serve(c *Conn) (told []string, err error) {
	heard := func(kind string, x Answer, err error) error {
		told = append(told, kind+" "+x.Code+" "+x.Note)
		return err
	}
	x, err := c.Ask("HEL.R01", Object("DEV", Field("DEV.device_id", "00:20:4a:00:00:01"), Field("DEV.vendor_id", "DEMO"),
		Field("DEV.model_id", "Gas 1"), Field("DEV.serial_id", a.Serial),
		Object("DSC", Field("DSC.connection_profile_cd", "CS"), Field("DSC.directives_supported_cd", "LOCK"))))
	if heard("HEL.R01", x, err) != nil || x.Code != "AA" {
		return told, err
	}
	x, err = c.Ask("DST.R01", Object("DST", Field("DST.new_observations_qty", strconv.Itoa(len(a.Results))), Field("DST.condition_cd", "R")))
	if heard("DST.R01", x, err) != nil {
		return told, err
	}
	for {
		m, err := c.Receive()
		if err != nil {
			return told, err
		}
		switch kind := m.Kind(); kind {
		case "REQ.R01":
			told = append(told, m.Get("REQ.request_cd"))
			for _, r := range a.Results {
				x, err := c.Ask("OBS.R01", Object("SVC", Field("SVC.role_cd", "OBS"), Field("SVC.reason_cd", "NEW"),
					Object("PT", Field("PT.patient_id", r.Patient),
						Object("OBS", Field("OBS.observation_id", r.Observation), Field("OBS.value", r.Value), Field("OBS.method_cd", "M")))))
				if heard("OBS.R01", x, err) != nil {
					return told, err
				}
			}
			for _, e := range a.Events {
				x, err := c.Ask("EVS.R01", Object("EVS", Field("EVS.description_cd", e), Field("EVS.severity_cd", "W")))
				if heard("EVS.R01", x, err) != nil {
					return told, err
				}
			}
			if _, err := c.Send("EOT.R01", Object("EOT", Field("EOT.topic_cd", "OBS"))); err != nil {
				return told, err
			}
		case "END.R01":
			told = append(told, "END "+m.Get("TRM.reason_cd"))
			return told, nil
		case "KPA.R01", "EOT.R01", "ESC.R01", "ACK.R01":
			told = append(told, kind)
		default: // it does whatever it is told, as most do
			what := m.Get("DTV.command_cd")
			if what == "" {
				what = kind + " " + m.Get("OPR.operator_id") + m.Get("PT.patient_id")
			}
			told = append(told, what)
			if err := c.Acknowledge(&m, "AA", ""); err != nil {
				return told, err
			}
		}
	}
}

package astm

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Analyse plays an analyser until the line ends: it takes orders and, unless they are
// cancelled, sends the result of each test at once, or drops those that the host does not
// accept. Its values are made up.
func Analyse(l *Line) error {
	for {
		message, err := l.Receive()
		if errors.Is(err, ErrIncomplete) {
			continue
		}
		if err != nil {
			return err
		}
		results := analyse(message)
		if results == nil {
			continue
		}
		if err := l.Send(results...); err != nil && !errors.Is(err, ErrRefused) {
			return fmt.Errorf("send results: %w", err)
		}
	}
}

// analyse returns the message of results to an order, nil if nothing is ordered.
func analyse(message []string) []string {
	patient, results, ordered := "P|1", []string{header("ANALYSER")}, 0
	for _, record := range message {
		f := strings.Split(record, "|")
		switch f[0] {
		case "P":
			patient = record
		case "O":
			if len(f) < 5 || len(f) > 11 && f[11] == "C" {
				continue
			}
			ordered++
			results = append(results, patient, strings.Join([]string{"O", fmt.Sprint(ordered), f[2], "", f[4]}, "|"))
			for i, test := range strings.Split(f[4], `\`) {
				results = append(results, fmt.Sprintf("R|%d|%s|%d|mg/dL||N||F", i+1, test, 90+i))
			}
		}
	}
	if ordered == 0 {
		return nil
	}
	return append(results, "L|1|N")
}

// Order returns the message by which a host orders tests of a specimen, or cancels them.
func Order(patient, specimen string, cancel bool, tests ...string) []string {
	action := "N"
	if cancel {
		action = "C"
	}
	return []string{header("LIS"), "P|1|" + patient,
		"O|1|" + specimen + "||^^^" + strings.Join(tests, `\^^^`) + "|R||||||" + action, "L|1|N"}
}

func header(sender string) string {
	return `H|\^&|||` + sender + "|||||||P|LIS2-A2|" + time.Now().UTC().Format("20060102150405")
}

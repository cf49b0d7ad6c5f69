package main

import (
	"cmp"
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"cordon/cmd/cordon/config"
	"cordon/cmd/cordon/control"
	"cordon/cmd/cordon/daemon"
	"cordon/cmd/cordon/exit"
	"cordon/gateway/alarm"
)

func alarmCommand(a *app) *cobra.Command {
	c := group("alarm", "Who is told at once: syslog and a webhook")
	c.AddCommand(alarmTestCommand(a))
	return c
}

func alarmTestCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "test", Short: "Send an alarm over every channel, and say what came back",
		Long: `Send an alarm named "test" over every channel of alarms in the configuration, at once and once, and say what
came back. Syslog has no answer: look whether it arrived. A webhook has to answer with 2xx; its signature is that
of Standard Webhooks.`,
		Example: "  cordon alarm test --dir DIR",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return cannot("send an alarm", a.testAlarm(c.Context())) },
	}
}

func (a *app) testAlarm(ctx context.Context) error {
	c, err := config.Load(a.config())
	if err != nil {
		return err
	}
	channels, err := daemon.AlarmChannels(c)
	if err != nil {
		return err
	}
	if len(channels) == 0 {
		return exit.Error{Code: "alarm.none", Message: "no channel is configured", Exit: exit.NotFound, Try: []string{"alarms: { syslog: \"unix:///dev/log\" } in " + a.config()}}
	}
	al := daemon.NewAlarm(c, "test", alarm.Notice, "a test by "+control.Operator()+": nothing is amiss")
	var list []daemon.Told
	for _, channel := range channels {
		ctx, cancel := context.WithTimeout(ctx, alarm.SendTimeout)
		list = append(list, daemon.ToldBy(channel.Name(), channel.Send(ctx, al)))
		cancel()
	}
	if a.json {
		err = a.object(struct {
			Schema   string        `json:"schema"`
			ID       string        `json:"id"`
			Channels []daemon.Told `json:"channels"`
		}{"cordon.alarm.test/v1", al.ID, list})
	} else {
		err = a.showTold(list)
	}
	if err == nil {
		err = untold(list)
	}
	return err
}

func (a *app) showTold(list []daemon.Told) error {
	var rows [][]string
	for _, t := range list {
		rows = append(rows, []string{t.Channel, map[bool]string{true: "sent", false: "failed"}[t.OK], cmp.Or(t.Error, "-")})
	}
	return a.table([]string{"CHANNEL", "RESULT", "ERROR"}, rows)
}

// untold is a failure if a channel failed.
func untold(list []daemon.Told) error {
	failed := 0
	for _, t := range list {
		if !t.OK {
			failed++
		}
	}
	if failed == 0 {
		return nil
	}
	return exit.Error{Code: "alarm.failed", Message: fmt.Sprintf("%d of %d channels failed", failed, len(list)), Exit: exit.Unreachable, Try: []string{"what the channel's error says"}}
}

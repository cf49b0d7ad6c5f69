package demo

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// speakHTTP serves a page, and takes whatever is posted to it.
func speakHTTP(c net.Conn) error {
	r := bufio.NewReader(c)
	for {
		c.SetDeadline(time.Now().Add(ioTimeout))
		request, err := http.ReadRequest(r)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, request.Body); err != nil {
			return err
		}
		page := "<title>Status</title><p>Four pumps, none alarming."
		if _, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s", len(page), page); err != nil {
			return err
		}
	}
}

// visitHTTP makes one request: "GET /status".
func visitHTTP(c net.Conn, act Act, _ int) (Outcome, string, error) {
	c.SetDeadline(time.Now().Add(ioTimeout))
	method, path, _ := strings.Cut(act.What, " ")
	body := ""
	if method == http.MethodPost {
		body = "new firmware"
	}
	if _, err := fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", method, path, act.Device, len(body), body); err != nil {
		return Stopped, "", nil
	}
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return Stopped, "", nil
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusOK:
		return Allowed, "", nil
	case http.StatusForbidden:
		var problem struct{ Instance string }
		if err := json.NewDecoder(answer.Body).Decode(&problem); err != nil || problem.Instance == "" {
			return "", "", fmt.Errorf("no decision code: %w", err)
		}
		return Refused, problem.Instance, nil
	}
	return "", "", fmt.Errorf("status %s", answer.Status)
}

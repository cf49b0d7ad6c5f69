package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
)

// runBare is the process to compare with: it verifies the client's certificate and copies. Its
// arguments are devices' addresses, for each of which it listens.
func runBare(args []string) error {
	f := flag.NewFlagSet("bare", flag.ContinueOnError)
	dir := f.String("dir", "", "directory of server.pem, server.key and ca.pem")
	if err := f.Parse(args); err != nil {
		return err
	}
	cert, err := tls.LoadX509KeyPair(*dir+"/server.pem", *dir+"/server.key")
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(*dir + "/ca.pem")
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	config := &tls.Config{
		Certificates: []tls.Certificate{cert}, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert,
		MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true,
	}
	var serving sync.WaitGroup
	for _, backend := range f.Args() {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		fmt.Println(l.Addr())
		serving.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go copyBoth(tls.Server(c, config), backend)
			}
		})
	}
	io.Copy(io.Discard, os.Stdin) // until the parent goes
	return nil
}

func copyBoth(c *tls.Conn, backend string) {
	defer c.Close()
	if err := c.Handshake(); err != nil {
		return
	}
	d, err := net.Dial("tcp", backend)
	if err != nil {
		return
	}
	defer d.Close()
	done := make(chan struct{})
	go func() {
		io.Copy(d, c)
		d.(*net.TCPConn).CloseWrite()
		close(done)
	}()
	io.Copy(c, d)
	c.CloseWrite()
	<-done
}

// startBare starts the process.
func (w *world) startBare(ctx context.Context) (*proxy, error) {
	protocols := slices.Sorted(maps.Keys(w.device))
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "bare", "-dir", w.pki)
	for _, protocol := range protocols {
		cmd.Args = append(cmd.Args, w.device[protocol])
	}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &proxy{
		name: "bare", address: map[string]string{},
		pids: func() []int { return []int{cmd.Process.Pid} },
		stop: func() { in.Close(); cmd.Wait() },
	}
	r := bufio.NewReader(out)
	for _, protocol := range protocols {
		line, err := r.ReadString('\n')
		if err != nil {
			p.stop()
			return nil, err
		}
		p.address[protocol] = strings.TrimSpace(line)
	}
	return p, nil
}

package rego

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/open-policy-agent/opa/v1/download"
	"github.com/open-policy-agent/opa/v1/logging"
	"github.com/open-policy-agent/opa/v1/plugins"
	"github.com/open-policy-agent/opa/v1/plugins/rest"
)

// downloadTimeout bounds one request, body included.
const downloadTimeout = 30 * time.Second

// Downloader fetches a bundle and its detached signature from an HTTPS server by OPA's bundle
// protocol. The requests are OPA's downloader's, which is told to go when Fetch is called. Its
// plugin manager is not used: that activates what it fetched in a store and a compiler of its
// own, compiled by other rules than ours, before anybody could refuse it.
//
// OPA's reader has no limit on all that a bundle unpacks to. It is therefore shown only
// bundles whose detached signature was verified and whose archive was unpacked within limits.
type Downloader struct {
	keys   *BundleKeys
	opa    *download.Downloader
	client *http.Client
	url    string

	mu  sync.Mutex      // one fetch at a time
	ctx context.Context // of the fetch that goes on
	got Delivery        // from the last answer with a body
}

// Delivery is what was offered as a bundle. Nothing of it is verified.
type Delivery struct {
	Name      string // where it is from
	Bundle    []byte
	Signature []byte // the detached one; empty if there is none
}

// NewDownloader fetches the bundle at address, an https:// URL, and takes its server by what
// trust says; a client certificate belongs there too. Close idle connections with Close.
func NewDownloader(address string, keys *BundleKeys, trust *tls.Config) (*Downloader, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.Path == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("fetch bundles from %q: want https://HOST/PATH", address)
	}
	d := &Downloader{keys: keys, url: address}
	d.client = &http.Client{
		Timeout: downloadTimeout,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: trust, ForceAttemptHTTP2: true, MaxResponseHeaderBytes: 64 << 10,
			TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 10 * time.Second, IdleConnTimeout: time.Minute, MaxIdleConns: 2,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	manual := plugins.TriggerManual
	c := download.Config{Trigger: &manual}
	if err := c.ValidateAndInjectDefaults(); err != nil {
		return nil, fmt.Errorf("fetch bundles from %q: %w", address, err)
	}
	service := fmt.Sprintf(`{"name": "bundles", "url": %q, "credentials": {"plugin": "cordon"}}`, u.Scheme+"://"+u.Host)
	client, err := rest.New([]byte(service), nil, rest.Logger(logging.NewNoOpLogger()), rest.AuthPluginLookup(func(string) rest.HTTPAuthPlugin { return transport{d} }))
	if err != nil {
		return nil, fmt.Errorf("fetch bundles from %q: %w", address, err)
	}
	d.opa = download.New(c, client, strings.TrimPrefix(u.EscapedPath(), "/")).WithSizeLimitBytes(maxData).WithBundleVerificationConfig(keys.pinned())
	return d, nil
}

// Close ends idle connections.
func (d *Downloader) Close() { d.client.CloseIdleConnections() }

// Fetch returns what the server offers at present. It blocks for a minute at most.
func (d *Downloader) Fetch(ctx context.Context) (Delivery, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ctx = ctx
	// OPA's downloader goes on in the background when its context ends, so it is given none
	// that does; the request has ours.
	err := d.opa.Trigger(context.WithoutCancel(ctx))
	refused, isRefused := errors.AsType[*deliveryError](err)
	switch {
	case isRefused:
		// Whoever opens the delivery finds the same again and says it better.
		d.opa.SetCache("")
		return refused.Delivery, nil
	case err != nil:
		d.opa.SetCache("")
		return Delivery{}, fmt.Errorf("fetch the bundle %s: %w", d.url, withoutQuery(err))
	}
	return d.got, nil
}

// withoutQuery unwraps what net/http says about a request down to its cause.
func withoutQuery(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// deliveryError carries a delivery that OPA's reader is not shown.
type deliveryError struct {
	Delivery
	why string
}

func (e *deliveryError) Error() string { return e.why }

// transport stands between OPA's downloader and the network (rest.HTTPAuthPlugin).
type transport struct{ d *Downloader }

func (t transport) NewClient(rest.Config) (*http.Client, error) {
	return &http.Client{Transport: t}, nil
}

func (t transport) Prepare(*http.Request) error { return nil }

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	d := t.d
	answer, err := d.client.Do(r.Clone(d.ctx))
	if err != nil {
		return nil, withoutQuery(err)
	}
	if answer.StatusCode != http.StatusOK {
		answer.Body.Close()
		answer.Body = http.NoBody
		return answer, nil
	}
	got := Delivery{Name: r.URL.Host + r.URL.Path}
	if got.Bundle, err = body(answer, MaxBundle); err != nil {
		return nil, err
	}
	if got.Signature, err = d.signature(); err != nil {
		return nil, err
	}
	if _, p := d.keys.openDetached(got.Bundle, got.Signature, time.Time{}); p != nil {
		return nil, &deliveryError{got, p.Message}
	}
	if _, p := unpackBundle(got.Bundle); p != nil {
		return nil, &deliveryError{got, p.Message}
	}
	d.got = got
	answer.Body, answer.ContentLength = io.NopCloser(bytes.NewReader(got.Bundle)), int64(len(got.Bundle))
	return answer, nil
}

// signature fetches the detached signature; a server that has none is not an error yet.
func (d *Downloader) signature() ([]byte, error) {
	r, err := http.NewRequestWithContext(d.ctx, http.MethodGet, d.url+DetachedSuffix, nil)
	if err != nil {
		return nil, err
	}
	answer, err := d.client.Do(r)
	if err != nil {
		return nil, withoutQuery(err)
	}
	switch answer.StatusCode {
	case http.StatusOK:
		return body(answer, MaxDetached)
	case http.StatusNotFound:
		answer.Body.Close()
		return nil, nil
	}
	answer.Body.Close()
	return nil, download.HTTPError{StatusCode: answer.StatusCode}
}

// body reads an answer up to one byte more than limit, for whoever judges it to see.
func body(answer *http.Response, limit int64) ([]byte, error) {
	defer answer.Body.Close()
	return io.ReadAll(io.LimitReader(answer.Body, limit+1))
}

package alarm

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// Webhook tells a program by POST over HTTPS, signed as Standard Webhooks 1.0.0 has it, so that
// the receiver can use any library for that: the headers webhook-id, webhook-timestamp and
// webhook-signature, which is an HMAC-SHA256 over id, timestamp and body. Delivered is what was
// answered with 2xx.
type Webhook struct {
	URL        string // https://…
	SecretFile string // of ParseSecret; read for each alarm, so that it can be changed
	TrustFile  string // PEM, the only roots the receiver may come from; "": those of the machine
}

// Bounds of a webhook's files.
const (
	minSecret    = 24 // bytes, as Standard Webhooks asks for
	maxSecret    = 64
	maxTrustFile = 1 << 20
)

// Name is "webhook".
func (*Webhook) Name() string { return "webhook" }

// Check reads the files that Send needs.
func (w *Webhook) Check() error {
	if _, err := w.secret(); err != nil {
		return err
	}
	_, err := w.roots()
	return err
}

// Send delivers a. Redirects are not followed.
func (w *Webhook) Send(ctx context.Context, a *Alarm) error {
	if err := w.post(ctx, a); err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	return nil
}

func (w *Webhook) post(ctx context.Context, a *Alarm) error {
	secret, err := w.secret()
	if err != nil {
		return err
	}
	roots, err := w.roots()
	if err != nil {
		return err
	}
	body, err := json.Marshal(struct {
		Schema string `json:"schema"`
		*Alarm
	}{"cordon.alarm/v1", a})
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	now := strconv.FormatInt(time.Now().Unix(), 10) // of this attempt
	for name, value := range map[string]string{"Content-Type": "application/json", "User-Agent": "cordon",
		"Webhook-Id": a.ID, "Webhook-Timestamp": now, "Webhook-Signature": "v1," + Sign(secret, a.ID, now, body)} {
		r.Header.Set(name, value)
	}
	client := http.Client{
		// One connection for one alarm: they are rare.
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, err := client.Do(r)
	if err != nil {
		if said, ok := errors.AsType[*url.Error](err); ok {
			err = said.Err // without the path, which may be a secret
		}
		return fmt.Errorf("%s: %w", r.URL.Host, err)
	}
	defer answer.Body.Close()
	io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10))
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("%s answered %s", r.URL.Host, answer.Status)
	}
	return nil
}

// Sign returns the signature of a body, in base64: HMAC-SHA256 over "id.timestamp.body".
func Sign(secret []byte, id, timestamp string, body []byte) string {
	m := hmac.New(sha256.New, secret)
	fmt.Fprintf(m, "%s.%s.%s", id, timestamp, body)
	return base64.StdEncoding.EncodeToString(m.Sum(nil))
}

// ParseSecret reads a secret: whsec_ and 24 to 64 bytes in base64.
func ParseSecret(text string) ([]byte, error) {
	code, ok := strings.CutPrefix(strings.TrimSpace(text), "whsec_")
	secret, err := base64.StdEncoding.DecodeString(code)
	if !ok || err != nil || len(secret) < minSecret || len(secret) > maxSecret {
		return nil, fmt.Errorf("no secret of the form whsec_ and %d to %d bytes in base64", minSecret, maxSecret)
	}
	return secret, nil
}

func (w *Webhook) secret() ([]byte, error) {
	text, err := readFile(w.SecretFile, 1<<10)
	if err != nil {
		return nil, fmt.Errorf("read the secret: %w", err)
	}
	secret, err := ParseSecret(string(text))
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", w.SecretFile, err)
	}
	return secret, nil
}

func (w *Webhook) roots() (*x509.CertPool, error) {
	if w.TrustFile == "" {
		return nil, nil // the machine's
	}
	text, err := readFile(w.TrustFile, maxTrustFile)
	if err != nil {
		return nil, fmt.Errorf("read the receiver's roots: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("read %q: no certificate in PEM", w.TrustFile)
	}
	return pool, nil
}

func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = errors.New("it is too long")
	}
	return text, err
}

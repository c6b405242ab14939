package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/server"
	"github.com/syncerdev/syncer/pkg/view"
)

// remote is a daemon that a command asks in place of the clusters. Then it needs no configuration.
type remote struct{ url, tokenFile, caFile string }

func remoteFlags(cmd *cobra.Command, r *remote) {
	cmd.Flags().StringVar(&r.url, "server", "", "ask the daemon at this URL in place of the clusters;\nneeds no configuration")
	cmd.Flags().StringVar(&r.tokenFile, "token-file", "", "file with the token for --server\n(default: the variable SYNCER_TOKEN)")
	cmd.Flags().StringVar(&r.caFile, "server-ca", "", "PEM certificates to trust for --server besides the\nsystem's")
	inner := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if r.url == "" && cmd.Flags().Changed("server") {
			return errors.New("--server names no daemon; write https://syncer.example.com, or leave it out")
		}
		if r.url == "" && r.tokenFile+r.caFile != "" {
			return errors.New("--token-file and --server-ca are for --server; give that as well")
		}
		return inner(cmd, args)
	}
}

func (r *remote) asked() bool { return r.url != "" }

// remoteTimeout bounds one question; the answer is in the daemon's memory.
const remoteTimeout = time.Minute

func (r *remote) status(ctx context.Context, selection v1alpha1.Selection) (status view.Status, lost, err error) {
	_, lost, err = r.ask(ctx, "status", selection, &status)
	return status, lost, err
}

// images also gives the environments, in the order of the daemon's configuration.
func (r *remote) images(ctx context.Context, selection v1alpha1.Selection) (images view.Images, order []string, lost, err error) {
	about, lost, err := r.ask(ctx, "images", selection, &images)
	for _, e := range about.Environments {
		order = append(order, e.Name)
	}
	return images, order, lost, err
}

func (r *remote) history(ctx context.Context, target v1alpha1.Target) (history view.History, err error) {
	c, err := r.client()
	if err != nil {
		return history, err
	}
	_, err = c.get(ctx, "history/"+url.PathEscape(target.Pipeline)+"/"+url.PathEscape(target.Environment), nil, &history)
	return history, err
}

// drift also returns the number of findings that the daemon does not keep.
func (r *remote) drift(ctx context.Context, selection v1alpha1.Selection) (report drift.Report, more int, lost, err error) {
	c, err := r.client()
	if err != nil {
		return report, 0, nil, err
	}
	header, err := c.get(ctx, "drift", query(selection), &report)
	if err != nil {
		return report, 0, nil, err
	}
	if total, err := strconv.Atoi(header.Get(server.FindingsHeader)); err == nil {
		more = max(0, total-len(report.Findings))
	}
	var errs []error
	for _, t := range report.Targets {
		if t.Error != "" {
			errs = append(errs, fmt.Errorf("%s@%s: %s", t.Pipeline, t.Environment, t.Error))
		}
	}
	about, err := c.about(ctx)
	return report, more, errors.Join(unreadable(about, selection), errors.Join(errs...)), err
}

// ask sends one question. It also returns the environments that the daemon could not read for the answer.
func (r *remote) ask(ctx context.Context, question string, selection v1alpha1.Selection, into any) (about server.About, lost, err error) {
	c, err := r.client()
	if err != nil {
		return about, nil, err
	}
	if _, err := c.get(ctx, question, query(selection), into); err != nil {
		return about, nil, err
	}
	about, err = c.about(ctx)
	return about, unreadable(about, selection), err
}

func query(selection v1alpha1.Selection) url.Values {
	return url.Values{"pipeline": selection.Pipelines, "environment": selection.Environments}
}

// unreadable joins the selected environments whose records a daemon cannot read, in the way of a command that reads
// them.
func unreadable(about server.About, selection v1alpha1.Selection) error {
	var errs []error
	for _, e := range about.Environments {
		if e.Error != "" && (len(selection.Environments) == 0 || slices.Contains(selection.Environments, e.Name)) {
			errs = append(errs, fmt.Errorf("environment %s: %s", e.Name, e.Error))
		}
	}
	return errors.Join(errs...)
}

// daemonClient asks one daemon.
type daemonClient struct {
	base  *url.URL
	token string
	http  *http.Client
}

func (r *remote) client() (*daemonClient, error) {
	base, err := url.Parse(r.url)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" || base.User != nil || base.RawQuery != "" {
		return nil, fmt.Errorf("--server %s: it is no address of a daemon; write https://syncer.example.com or http://localhost:8080", printable(base, r.url))
	}
	c := &daemonClient{base: base, token: strings.TrimSpace(os.Getenv("SYNCER_TOKEN"))}
	if r.tokenFile != "" {
		content, err := os.ReadFile(r.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("reading the token: %w", err)
		}
		if c.token = strings.TrimSpace(string(content)); c.token == "" {
			return nil, fmt.Errorf("reading the token: %s is empty", r.tokenFile)
		}
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if r.caFile != "" {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		content, err := os.ReadFile(r.caFile)
		if err != nil {
			return nil, fmt.Errorf("reading the certificates to trust: %w", err)
		}
		if !pool.AppendCertsFromPEM(content) {
			return nil, fmt.Errorf("reading the certificates to trust: %s holds none in PEM", r.caFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	c.http = &http.Client{
		Transport: transport, Timeout: remoteTimeout,
		// A token is only for its own address, and a login page is no answer.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// printable is an address without the part that may be a password.
func printable(parsed *url.URL, text string) string {
	if strings.Contains(text, "@") || parsed != nil && parsed.User != nil {
		return "(masked)"
	}
	return text
}

func (c *daemonClient) about(ctx context.Context) (about server.About, err error) {
	_, err = c.get(ctx, "daemon", nil, &about)
	return about, err
}

// get requests a path below /api/v1.
func (c *daemonClient) get(ctx context.Context, path string, query url.Values, into any) (http.Header, error) {
	at := *c.base
	at.Path, at.RawPath = strings.TrimSuffix(c.base.Path, "/")+"/api/v1/", ""
	target := at.String() + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json, application/problem+json")
	request.Header.Set("User-Agent", "syncer/"+buildVersion())
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	answer, err := c.http.Do(request)
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err // the message below names the address
	}
	if err != nil {
		return nil, fmt.Errorf("asking the daemon at %s: %w", c.base, err)
	}
	defer answer.Body.Close()
	if err := c.judge(answer); err != nil {
		return nil, fmt.Errorf("asking the daemon at %s: %w", c.base, err)
	}
	decoder := json.NewDecoder(answer.Body)
	decoder.UseNumber() // a value of the cluster is printed as it is
	if err := decoder.Decode(into); err != nil {
		return nil, fmt.Errorf("reading the answer of the daemon at %s: %w%s", c.base, err, skew(answer))
	}
	return answer.Header, nil
}

// judge explains why a response is no valid answer, and what to do.
func (c *daemonClient) judge(answer *http.Response) error {
	media, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	if answer.StatusCode == http.StatusOK && media == "application/json" {
		return nil
	}
	var said struct{ Detail string }
	if media == "application/problem+json" {
		const longest = 64 << 10
		if err := json.NewDecoder(io.LimitReader(answer.Body, longest)).Decode(&said); err != nil {
			return fmt.Errorf("%s, and the reason cannot be read: %w", answer.Status, err)
		}
	}
	switch {
	case answer.StatusCode == http.StatusUnauthorized && c.token == "":
		return errors.New("it wants to know who asks; give a token with --token-file or in SYNCER_TOKEN, such as `kubectl create token NAME --namespace NAMESPACE` prints")
	case answer.StatusCode == http.StatusUnauthorized:
		return errors.New("it does not know the token, which may have ended; give a new one, such as `kubectl create token NAME --namespace NAMESPACE` prints")
	case answer.StatusCode == http.StatusForbidden && said.Detail != "":
		return fmt.Errorf("%s; give it a role that allows this, or take the token of another account", said.Detail)
	case said.Detail == server.NothingHere:
		return fmt.Errorf("it does not know this question%s", skew(answer))
	case said.Detail != "" && answer.StatusCode == http.StatusBadRequest:
		return fmt.Errorf("%s%s", said.Detail, skew(answer))
	case said.Detail != "":
		return errors.New(said.Detail)
	case answer.StatusCode/100 == 3:
		return fmt.Errorf("it answers with %s; there is something else in front of it, such as a login page, or it is the wrong address", answer.Status)
	case media == "text/html":
		return fmt.Errorf("it answers with %s and an HTML page; it is no syncer, or there is something in front of it, such as a login page", answer.Status)
	}
	return fmt.Errorf("it answers with %s and %q; it is no syncer, or there is something in front of it", answer.Status, media)
}

// skew says that the daemon has another version, if it has one.
func skew(answer *http.Response) string {
	if its := answer.Header.Get(server.VersionHeader); its != "" && its != buildVersion() {
		return fmt.Sprintf("; it is syncer %s, and this is %s", its, buildVersion())
	}
	return ""
}

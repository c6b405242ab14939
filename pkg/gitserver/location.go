package gitserver

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/transport"
)

// Kind is the way to a repository.
type Kind int

const (
	OnDisk Kind = iota
	OverHTTP
	OverSSH
)

// Location is a parsed URL, credentials apart from the rest.
type Location struct {
	Kind           Kind
	Path           string // on this machine or on the server
	Host, port     string // port is empty for the scheme's own
	User, password string
	scheme         string
}

// String is the address without credentials.
func (l Location) String() string {
	switch l.Kind {
	case OnDisk:
		return l.Path
	case OverSSH:
		return "ssh://" + l.authority() + "/" + strings.TrimPrefix(l.Path, "/")
	default:
		return l.scheme + "://" + l.authority() + (&url.URL{Path: l.Path}).EscapedPath()
	}
}

func (l Location) authority() string {
	host := l.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if l.port != "" {
		host += ":" + l.port
	}
	return host
}

// address is the TCP address of an ssh server.
func (l Location) address() string {
	port := l.port
	if port == "" {
		port = "22"
	}
	return net.JoinHostPort(l.Host, port)
}

// endpoint is the address in go-git's terms, for http. It has no credentials:
// they travel apart, where no error text prints them.
func (l Location) endpoint() *transport.Endpoint {
	host := l.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	port, _ := strconv.Atoi(l.port) // checked when parsed; empty is 0
	return &transport.Endpoint{Protocol: l.scheme, Host: host, Port: port, Path: (&url.URL{Path: l.Path}).EscapedPath()}
}

// Parse reads an address as git does.
func Parse(raw string) (Location, error) {
	if scheme, rest, ok := strings.Cut(raw, "://"); ok && !strings.ContainsAny(scheme, "/\\") {
		return parseURL(strings.ToLower(scheme), rest)
	}
	if l, ok := parseSCP(raw); ok {
		return l, nil
	}
	path, err := absolute(raw)
	return Location{Kind: OnDisk, Path: path}, err
}

func parseURL(scheme, rest string) (Location, error) {
	// The error of url.Parse quotes pieces of the address, and so perhaps of a password. It is not passed on.
	u, err := url.Parse(scheme + "://" + rest)
	if err != nil {
		return Location{}, errors.New("source url is not valid; special characters in a user name or password are written %XX")
	}
	l := Location{scheme: scheme, Host: u.Hostname(), port: u.Port(), Path: u.Path, User: u.User.Username()}
	l.password, _ = u.User.Password()
	if u.RawQuery != "" || u.Fragment != "" {
		return Location{}, fmt.Errorf("source url with host %q has a query or a fragment, which a git address does not", l.Host)
	}
	if scheme == "file" {
		if l.Host != "" && l.Host != "localhost" {
			return Location{}, fmt.Errorf("source url file://%s/...: a file address has no host: write file:///path", l.Host)
		}
		path, err := absolute(l.Path)
		return Location{Kind: OnDisk, Path: path}, err
	}
	if l.Host == "" {
		return Location{}, fmt.Errorf("source url %s://... has no host", scheme)
	}
	switch scheme {
	case "http", "https":
		l.Kind = OverHTTP
		l.Path = strings.TrimSuffix(l.Path, "/")
	case "ssh", "git+ssh", "ssh+git":
		l.Kind, l.scheme = OverSSH, "ssh"
		if l.password != "" {
			return Location{}, fmt.Errorf("source url ssh://%s/...: passwords do not work over ssh: use sshKeyFile", l.Host)
		}
		if strings.HasPrefix(l.Path, "/~") {
			l.Path = l.Path[1:]
		}
	default:
		return Location{}, fmt.Errorf("source url %s://%s/...: scheme %q is not supported: use https, http, ssh, file or a path", scheme, l.Host, scheme)
	}
	return l, nil
}

// parseSCP reads git@host:path. As in git, a colon after the first slash does
// not count.
func parseSCP(raw string) (Location, bool) {
	user, rest := "", raw
	if before, after, ok := strings.Cut(raw, "@"); ok && !strings.ContainsAny(before, "/:") {
		user, rest = before, after
	}
	host, path, ok := strings.Cut(rest, ":")
	if inner, after, bracket := strings.Cut(rest, "]:"); bracket && strings.HasPrefix(inner, "[") {
		host, path, ok = inner[1:], after, true
	}
	if !ok || host == "" || path == "" || strings.ContainsAny(host, "/\\") {
		return Location{}, false
	}
	return Location{Kind: OverSSH, scheme: "ssh", User: user, Host: host, Path: path}, true
}

// absolute makes a local path independent of later changes of directory.
func absolute(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("source path %s: %w", path, err)
	}
	return abs, nil
}

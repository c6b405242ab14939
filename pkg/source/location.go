package source

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/transport"
)

type kind int

const (
	onDisk kind = iota
	overHTTP
	overSSH
)

// location is a parsed URL, credentials apart from the rest.
type location struct {
	kind           kind
	path           string // on this machine or on the server
	scheme         string
	host, port     string // port is empty for the scheme's own
	user, password string
}

// String is the address without credentials.
func (l location) String() string {
	switch l.kind {
	case onDisk:
		return l.path
	case overSSH:
		return "ssh://" + l.authority() + "/" + strings.TrimPrefix(l.path, "/")
	default:
		return l.scheme + "://" + l.authority() + (&url.URL{Path: l.path}).EscapedPath()
	}
}

func (l location) authority() string {
	host := l.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if l.port != "" {
		host += ":" + l.port
	}
	return host
}

// address is what to dial, for ssh.
func (l location) address() string {
	port := l.port
	if port == "" {
		port = "22"
	}
	return net.JoinHostPort(l.host, port)
}

// endpoint is the address in go-git's terms, for http. It has no credentials:
// they travel apart, where no error text prints them.
func (l location) endpoint() *transport.Endpoint {
	host := l.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	port, _ := strconv.Atoi(l.port) // checked when parsed; empty is 0
	return &transport.Endpoint{Protocol: l.scheme, Host: host, Port: port, Path: (&url.URL{Path: l.path}).EscapedPath()}
}

var unreadable = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// folder names the cache of this location: readable, and unlike any other. The
// user and the password do not count, so that a rotated one keeps the cache.
func (l location) folder() string {
	sum := sha256.Sum256([]byte(l.String()))
	path := strings.TrimSuffix(strings.TrimSuffix(strings.Trim(l.path, "/"), ".git"), "/")
	name := strings.Trim(unreadable.ReplaceAllString(l.host+"-"+path, "-"), "-.")
	if len(name) > 80 {
		name = name[len(name)-80:]
	}
	return name + "-" + hex.EncodeToString(sum[:6])
}

func parseLocation(raw string) (location, error) {
	if scheme, rest, ok := strings.Cut(raw, "://"); ok && !strings.ContainsAny(scheme, "/\\") {
		return parseURL(strings.ToLower(scheme), rest)
	}
	if l, ok := parseSCP(raw); ok {
		return l, nil
	}
	path, err := absolute(raw)
	return location{kind: onDisk, path: path}, err
}

func parseURL(scheme, rest string) (location, error) {
	// What url.Parse says about a broken address quotes pieces of it, and so
	// perhaps of a password: its error is not passed on.
	u, err := url.Parse(scheme + "://" + rest)
	if err != nil {
		return location{}, errors.New("source url is not valid; special characters in a user name or password are written %XX")
	}
	l := location{scheme: scheme, host: u.Hostname(), port: u.Port(), path: u.Path, user: u.User.Username()}
	l.password, _ = u.User.Password()
	if u.RawQuery != "" || u.Fragment != "" {
		return location{}, fmt.Errorf("source url with host %q has a query or a fragment, which a git address does not", l.host)
	}
	if scheme == "file" {
		if l.host != "" && l.host != "localhost" {
			return location{}, fmt.Errorf("source url file://%s/...: a file address has no host: write file:///path", l.host)
		}
		path, err := absolute(l.path)
		return location{kind: onDisk, path: path}, err
	}
	if l.host == "" {
		return location{}, fmt.Errorf("source url %s://... has no host", scheme)
	}
	switch scheme {
	case "http", "https":
		l.kind = overHTTP
		l.path = strings.TrimSuffix(l.path, "/")
	case "ssh", "git+ssh", "ssh+git":
		l.kind, l.scheme = overSSH, "ssh"
		if l.password != "" {
			return location{}, fmt.Errorf("source url ssh://%s/...: passwords do not work over ssh: use sshKeyFile", l.host)
		}
		if strings.HasPrefix(l.path, "/~") {
			l.path = l.path[1:]
		}
	default:
		return location{}, fmt.Errorf("source url %s://%s/...: scheme %q is not supported: use https, http, ssh, file or a path", scheme, l.host, scheme)
	}
	return l, nil
}

// parseSCP reads git@host:path. As in git, a colon after the first slash does
// not count.
func parseSCP(raw string) (location, bool) {
	user, rest := "", raw
	if before, after, ok := strings.Cut(raw, "@"); ok && !strings.ContainsAny(before, "/:") {
		user, rest = before, after
	}
	host, path, ok := strings.Cut(rest, ":")
	if inner, after, bracket := strings.Cut(rest, "]:"); bracket && strings.HasPrefix(inner, "[") {
		host, path, ok = inner[1:], after, true
	}
	if !ok || host == "" || path == "" || strings.ContainsAny(host, "/\\") {
		return location{}, false
	}
	return location{kind: overSSH, scheme: "ssh", user: user, host: host, path: path}, true
}

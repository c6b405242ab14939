package gitserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/transport"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/syncerdev/syncer/pkg/silence"
)

// sshSession runs git-upload-pack on a server. go-git has such a session too, but connects without a context: a server
// that does not answer would block a caller that wants to stop.
type sshSession struct {
	client  *ssh.Client
	session *ssh.Session
	stdin   io.WriteCloser
	stdout  io.Reader
	stderr  *tail
	limit   time.Duration // of silence
	meter   *meter
}

// dialSSH connects and starts git-upload-pack, which takes a few short messages
// each way. Cancelling ctx ends it.
func dialSSH(ctx context.Context, place Location, auth Auth, limit time.Duration, m *meter) (_ *sshSession, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, &silence.Error{Limit: limit})
	defer cancel()
	defer func() {
		if silent, ok := errors.AsType[*silence.Error](context.Cause(ctx)); err != nil && ok {
			err = silent
		}
	}()
	var refused error // why the host key was not accepted: the handshake's error loses it
	config, agentConn, err := sshConfig(ctx, place, auth, &refused)
	if err != nil {
		return nil, err
	}
	if agentConn != nil {
		defer agentConn.Close() // only signs during the handshake
		defer context.AfterFunc(ctx, func() { _ = agentConn.Close() })()
	}
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", place.address())
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { _ = raw.Close() })()
	conn, channels, requests, err := ssh.NewClientConn(raw, place.address(), config)
	if err != nil {
		_ = raw.Close() // the handshake error says more
		switch {
		case refused != nil:
			return nil, refused
		case strings.Contains(err.Error(), "unable to authenticate"): // x/crypto has no type for it
			return nil, fmt.Errorf("%w: the server accepts no key of user %s from %s", ErrAuth, config.User, cmp.Or(auth.SSHKeyFile, "the ssh agent"))
		}
		return nil, err
	}
	s := &sshSession{client: ssh.NewClient(conn, channels, requests), stderr: &tail{}, limit: limit, meter: m}
	if err := s.start(place.Path); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *sshSession) start(path string) (err error) {
	if s.session, err = s.client.NewSession(); err != nil {
		return err
	}
	if s.stdin, err = s.session.StdinPipe(); err != nil {
		return err
	}
	stdout, err := s.session.StdoutPipe()
	if err != nil {
		return err
	}
	s.stdout = metered{silence.Reader(stdout, s.limit, s.abort), s.meter}
	s.session.Stderr = s.stderr
	return s.session.Start(transport.UploadPackServiceName + " " + quote(path))
}

// quote makes one word of a path for the shell on the server.
func quote(path string) string { return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'" }

func sshConfig(ctx context.Context, place Location, auth Auth, refused *error) (*ssh.ClientConfig, net.Conn, error) {
	var files []string
	if auth.KnownHostsFile != "" {
		files = []string{auth.KnownHostsFile}
	}
	hosts, err := gitssh.NewKnownHostsDb(files...)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: reading %s, without which no ssh host is trusted: %w; name a file in knownHostsFile",
			ErrHostKey, cmp.Or(auth.KnownHostsFile, "~/.ssh/known_hosts"), err)
	}
	check := hosts.HostKeyCallback()
	config := &ssh.ClientConfig{
		User:              cmp.Or(auth.Username, place.User, "git"),
		HostKeyAlgorithms: hosts.HostKeyAlgorithms(place.address()),
		HostKeyCallback: func(host string, address net.Addr, key ssh.PublicKey) error {
			if err := check(host, address, key); err != nil {
				*refused = explainHostKey(err, place, key, cmp.Or(auth.KnownHostsFile, "known_hosts"))
				return *refused
			}
			return nil
		},
	}
	if auth.SSHKeyFile == "" {
		return agentConfig(ctx, config)
	}
	pem, err := os.ReadFile(auth.SSHKeyFile)
	if err != nil {
		return nil, nil, fmt.Errorf("reading sshKeyFile: %w", err)
	}
	signer, err := ssh.ParsePrivateKey(pem)
	if errors.As(err, new(*ssh.PassphraseMissingError)) {
		return nil, nil, fmt.Errorf("sshKeyFile %s is protected by a passphrase: use a key without one, or the ssh agent", auth.SSHKeyFile)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("sshKeyFile %s is not a private key that can be read: %w", auth.SSHKeyFile, err)
	}
	config.Auth = []ssh.AuthMethod{ssh.PublicKeys(signer)}
	return config, nil, nil
}

func agentConfig(ctx context.Context, config *ssh.ClientConfig) (*ssh.ClientConfig, net.Conn, error) {
	socket := os.Getenv("SSH_AUTH_SOCK")
	if socket == "" {
		return nil, nil, fmt.Errorf("%w: no key to show: set sshKeyFile, or start an ssh agent", ErrAuth)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: no sshKeyFile is set, and the ssh agent does not answer: %w", ErrAuth, err)
	}
	config.Auth = []ssh.AuthMethod{ssh.PublicKeysCallback(agent.NewClient(conn).Signers)}
	return config, conn, nil
}

func explainHostKey(err error, place Location, key ssh.PublicKey, file string) error {
	shown := key.Type() + " " + ssh.FingerprintSHA256(key)
	var mismatch *knownhosts.KeyError
	switch {
	case errors.As(err, &mismatch) && len(mismatch.Want) == 0:
		return fmt.Errorf("%w: %s does not know %s; the server shows %s: if that is right, add the line that ssh-keyscan prints",
			ErrHostKey, file, place.authority(), shown)
	case errors.As(err, &mismatch):
		return fmt.Errorf("%w: %s has another key for %s than the server shows (%s): either the server was set up anew, or somebody stands in between",
			ErrHostKey, file, place.authority(), shown)
	default:
		return fmt.Errorf("%w: %w", ErrHostKey, err)
	}
}

// AdvertisedReferencesContext lists the refs of the repository.
func (s *sshSession) AdvertisedReferencesContext(ctx context.Context) (*packp.AdvRefs, error) {
	defer context.AfterFunc(ctx, s.abort)()
	adv := packp.NewAdvRefs()
	err := adv.Decode(s.stdout)
	switch {
	case errors.Is(err, packp.ErrEmptyAdvRefs), err == nil && adv.IsEmpty():
		return nil, transport.ErrEmptyRemoteRepository
	case errors.Is(err, packp.ErrEmptyInput):
		return nil, s.lastWords(err)
	case err != nil:
		return nil, err
	}
	return adv, nil
}

// lastWords waits for a command that ended without an answer and returns the text of its error stream.
func (s *sshSession) lastWords(err error) error {
	_ = s.session.Wait() // its exit status tells less than its words
	if said := s.stderr.String(); said != "" {
		return &pktline.ErrorLine{Text: said}
	}
	return err
}

// UploadPack asks for objects, once. The answer has to be read before ctx ends,
// and the session ends with it.
func (s *sshSession) UploadPack(ctx context.Context, request *packp.UploadPackRequest) (*packp.UploadPackResponse, error) {
	context.AfterFunc(ctx, s.abort) // also when all is read: the command ends with the answer
	sent := time.AfterFunc(s.limit, s.abort)
	defer sent.Stop()
	if err := request.UploadRequest.Encode(s.stdin); err != nil {
		return nil, err
	}
	if err := request.UploadHaves.Encode(s.stdin, false); err != nil {
		return nil, err
	}
	if err := pktline.NewEncoder(s.stdin).EncodeString("done\n"); err != nil {
		return nil, err
	}
	sent.Stop()
	answer := packp.NewUploadPackResponse(request)
	return answer, answer.Decode(io.NopCloser(s.stdout))
}

// abort makes every read and write return.
func (s *sshSession) abort() { _ = s.client.Close() }

// Close ends the connection, and with it the command.
func (s *sshSession) Close() error { return s.client.Close() }

// tail keeps the beginning of an error stream.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(b []byte) (int, error) {
	const enough = 2048
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b[:min(len(b), enough-len(t.text))]...)
	return len(b), nil
}

// String is the text on one line.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(strings.Fields(string(t.text)), " ")
}

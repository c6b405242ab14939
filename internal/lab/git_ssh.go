package lab

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// SSHOptions are the options for repositories over SSH. Dir is required.
type SSHOptions struct {
	Dir  string // folder of the repositories
	Keys string // folder for keys, configuration and log; empty: ssh in Dir
}

// GitSSH serves repositories with OpenSSH's sshd, only to the user who runs this program.
type GitSSH struct {
	Repositories
	KeyFile    string // private key of the client
	KnownHosts string // file with the server's host key

	user string
	port int
	sshd *process
}

// StartGitSSH serves the repositories of opts.Dir on a free port.
func StartGitSSH(ctx context.Context, opts SSHOptions) (*GitSSH, error) {
	sshd, err := debianProgram("sshd", "openssh-server", "/usr/sbin", "/usr/local/sbin")
	if err != nil {
		return nil, err
	}
	me, err := user.Current()
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, err
	}
	keys := opts.Keys
	if keys == "" {
		keys = filepath.Join(dir, "ssh")
	}
	if keys, err = filepath.Abs(keys); err != nil {
		return nil, err
	}
	// sshd of root does not start without this folder, which the package's service makes at boot. If the folder cannot be
	// made, it exists or is not needed, or sshd reports the error.
	_ = os.MkdirAll("/run/sshd", 0o755)

	g := &GitSSH{
		Repositories: Repositories{dir},
		KeyFile:      filepath.Join(keys, "id_ed25519"),
		KnownHosts:   filepath.Join(keys, "known_hosts"),
		user:         me.Username,
	}
	hostKey, err := writeKeys(keys)
	if err != nil {
		return nil, fmt.Errorf("making ssh keys: %w", err)
	}
	if g.port, err = FreePort(); err != nil {
		return nil, err
	}
	if err := g.start(ctx, sshd, keys, hostKey); err != nil {
		return nil, err
	}
	return g, nil
}

// start runs sshd on g.port and returns when it accepts connections.
func (g *GitSSH) start(ctx context.Context, sshd, keys string, hostKey ssh.PublicKey) error {
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(g.port))
	line := knownhosts.Line([]string{knownhosts.Normalize(address)}, hostKey)
	if err := writeFile(g.KnownHosts, []byte(line+"\n"), 0o644); err != nil {
		return err
	}
	config := filepath.Join(keys, "sshd_config")
	if err := writeFile(config, []byte(sshdConfig(keys, g.user, g.port)), 0o644); err != nil {
		return err
	}
	var err error
	g.sshd, err = startProcess(exec.Command(sshd, "-D", "-e", "-f", config), filepath.Join(keys, "sshd.log"))
	if err != nil {
		return err
	}
	err = g.sshd.until(ctx, func(ctx context.Context) error {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	if err != nil {
		return errors.Join(fmt.Errorf("starting sshd: %w", err), g.Stop())
	}
	return nil
}

// sshdConfig lets one user in, by one key, for git commands.
func sshdConfig(keys, user string, port int) string {
	return fmt.Sprintf(`ListenAddress 127.0.0.1:%d
HostKey %q
AuthorizedKeysFile %q
AllowUsers %s
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
DisableForwarding yes
AcceptEnv GIT_PROTOCOL
PidFile none
LogLevel VERBOSE
`, port, filepath.Join(keys, "host_ed25519"), filepath.Join(keys, "authorized_keys"), user)
}

// URL is a repository's address.
func (g *GitSSH) URL(repo string) string {
	location := url.URL{
		Scheme: "ssh",
		User:   url.User(g.user),
		Host:   net.JoinHostPort("127.0.0.1", strconv.Itoa(g.port)),
		Path:   g.Path(repo),
	}
	return location.String()
}

// Command is an ssh command, as GIT_SSH_COMMAND takes it, with the key. It trusts only the server.
func (g *GitSSH) Command() string {
	return fmt.Sprintf("ssh -F none -i '%s' -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=yes "+
		"-o UserKnownHostsFile='%s' -o GlobalKnownHostsFile=none", g.KeyFile, g.KnownHosts)
}

// Stop ends the server with the connections it has.
func (g *GitSSH) Stop() error {
	// Each connection has a process in a session of its own. It lives longer than the server, until its client is gone.
	connections := g.sshd.children()
	err := g.sshd.stop()
	for _, connection := range connections {
		if killErr := connection.Kill(); !errors.Is(killErr, os.ErrProcessDone) {
			err = errors.Join(err, killErr)
		}
	}
	return err
}

// writeKeys makes a key for the server and one for the client, and returns the server's.
func writeKeys(dir string) (host ssh.PublicKey, err error) {
	if host, err = writeKey(filepath.Join(dir, "host_ed25519")); err != nil {
		return nil, err
	}
	client, err := writeKey(filepath.Join(dir, "id_ed25519"))
	if err != nil {
		return nil, err
	}
	line := append([]byte("restrict "), ssh.MarshalAuthorizedKey(client)...)
	return host, writeFile(filepath.Join(dir, "authorized_keys"), line, 0o644)
}

// writeKey makes a private key and returns its public half.
func writeKey(path string) (ssh.PublicKey, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "lab")
	if err != nil {
		return nil, err
	}
	if err := writeFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		return nil, err
	}
	return ssh.NewPublicKey(public)
}

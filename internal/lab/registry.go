package lab

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"

	"golang.org/x/crypto/bcrypt"
)

// RegistryOptions are the options for a registry. Bin, Dir, Username and Password are required.
type RegistryOptions struct {
	Bin      string // folder with registry, as `make registry` leaves it
	Dir      string // folder for images, configuration and log
	Username string
	Password string
}

// Registry is the distribution project's registry, which asks for a password and lets manifests be deleted.
type Registry struct {
	Host         string // 127.0.0.1:PORT, as image references name it
	DockerConfig string // folder with a config.json that holds the credentials, as DOCKER_CONFIG names it

	opts    RegistryOptions
	program string
	process *process // nil while stopped
}

// StartRegistry serves the images in opts.Dir on a free port.
func StartRegistry(ctx context.Context, opts RegistryOptions) (*Registry, error) {
	path, err := program(opts.Bin, "registry", "registry")
	if err != nil {
		return nil, err
	}
	if opts.Dir, err = filepath.Abs(opts.Dir); err != nil {
		return nil, err
	}
	r := &Registry{opts: opts, program: path, DockerConfig: filepath.Join(opts.Dir, "docker")}
	if err := r.writeUsers(); err != nil {
		return nil, err
	}
	if r.Host, err = FreeAddress(); err != nil {
		return nil, err
	}
	if err := r.configure(); err != nil {
		return nil, err
	}
	if err := r.Restart(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

// Restart starts a stopped registry again at the same address, with the images it had.
func (r *Registry) Restart(ctx context.Context) error {
	if err := r.Stop(); err != nil {
		return err
	}
	cmd := exec.Command(r.program, "serve", filepath.Join(r.opts.Dir, "config.yml"))
	// Without a tracer: its default is to send spans to a collector on this machine.
	cmd.Env = []string{"OTEL_TRACES_EXPORTER=none", "HOME=" + r.opts.Dir}
	var err error
	if r.process, err = startProcess(cmd, filepath.Join(r.opts.Dir, "registry.log")); err != nil {
		return err
	}
	if err := r.process.until(ctx, r.answers); err != nil {
		return errors.Join(fmt.Errorf("starting the registry: %w", err), r.Stop())
	}
	return nil
}

// Stop ends the registry; connections to its address are refused until a Restart.
func (r *Registry) Stop() error {
	err := r.process.stop()
	r.process = nil
	return err
}

// answers returns an error as long as the registry does not ask for a password.
func (r *Registry) answers(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.Host+"/v2/", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	if err := response.Body.Close(); err != nil {
		return err
	}
	if response.StatusCode != http.StatusUnauthorized {
		return fmt.Errorf("asking %s without a password: %s", r.Host, response.Status)
	}
	return nil
}

// writeUsers writes the password file that the registry reads.
func (r *Registry) writeUsers() error {
	// The lowest cost: every request pays for it.
	hash, err := bcrypt.GenerateFromPassword([]byte(r.opts.Password), bcrypt.MinCost)
	if err != nil {
		return fmt.Errorf("hashing the registry's password: %w", err)
	}
	return writeFile(filepath.Join(r.opts.Dir, "htpasswd"), []byte(r.opts.Username+":"+string(hash)+"\n"), 0o600)
}

// configure writes the registry's configuration and, for its clients, the one with the credentials.
func (r *Registry) configure() error {
	config, err := json.Marshal(map[string]any{ // JSON is YAML
		"version": "0.1",
		"log":     map[string]any{"level": "warn", "accesslog": map[string]any{"disabled": true}},
		"storage": map[string]any{
			"filesystem":  map[string]any{"rootdirectory": filepath.Join(r.opts.Dir, "images")},
			"delete":      map[string]any{"enabled": true},
			"maintenance": map[string]any{"uploadpurging": map[string]any{"enabled": false}},
		},
		"http": map[string]any{"addr": r.Host, "secret": "lab"},
		"auth": map[string]any{
			"htpasswd": map[string]any{"realm": "registry", "path": filepath.Join(r.opts.Dir, "htpasswd")},
		},
	})
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(r.opts.Dir, "config.yml"), config, 0o644); err != nil {
		return err
	}
	return r.writeCredentials()
}

func (r *Registry) writeCredentials() error {
	basic := base64.StdEncoding.EncodeToString([]byte(r.opts.Username + ":" + r.opts.Password))
	config, err := json.Marshal(map[string]any{"auths": map[string]any{r.Host: map[string]string{"auth": basic}}})
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(r.DockerConfig, "config.json"), config, 0o600)
}

package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/syncerdev/syncer/internal/lab"
)

const hookSecret = "bench-hook-canary"

// daemon is the process of `syncer run`.
type daemon struct {
	address, syncer, dir string
	pid                  int
	program              *lab.Program
}

// command is a syncer that sees no settings of the user.
func (d *daemon) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, d.syncer, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+os.DevNull, "HOME="+d.dir)
	return cmd
}

func (d *daemon) start(ctx context.Context) error {
	cmd := d.command(context.WithoutCancel(ctx), "run", "--pprof", "--config", filepath.Join(d.dir, "daemon.yaml"), "--cache-dir", filepath.Join(d.dir, "cache"))
	program, err := lab.StartProgram(cmd, filepath.Join(d.dir, "syncer.log"))
	if err != nil {
		return err
	}
	d.program, d.pid = program, cmd.Process.Pid
	return nil
}

func (d *daemon) stop() error {
	if d.program == nil {
		return nil
	}
	program := d.program
	d.program = nil
	return program.Stop()
}

// alive tells how the daemon ended, if it did.
func (d *daemon) alive() error {
	select {
	case <-d.program.Ended():
		return fmt.Errorf("syncer run ended: %v; its log is syncer.log, see -keep", d.program.Err())
	default:
		return nil
	}
}

// hook sends a webhook and returns the time when the daemon took it.
func (d *daemon) hook(ctx context.Context) (time.Time, error) {
	const body = "{}"
	mac := hmac.New(sha256.New, []byte(hookSecret))
	mac.Write([]byte(body)) // a hash takes everything
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+d.address+"/hooks/generic", strings.NewReader(body))
		if err != nil {
			return time.Time{}, err
		}
		request.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
		began := time.Now()
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return began, err
		}
		if err := response.Body.Close(); err != nil {
			return began, err
		}
		switch response.StatusCode {
		case http.StatusAccepted:
			return began, nil
		case http.StatusTooManyRequests:
			if err := sleep(ctx, time.Second); err != nil {
				return began, err
			}
		default:
			return began, fmt.Errorf("the webhook was answered with %s", response.Status)
		}
	}
}

// get reads a path of the daemon's server.
func (d *daemon) get(ctx context.Context, path string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.address+path, nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	content, err := io.ReadAll(response.Body)
	err = errors.Join(err, response.Body.Close())
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", path, response.Status)
	}
	return string(content), err
}

// until polls until done, as long as the daemon lives.
func (d *daemon) until(ctx context.Context, done func() bool) error {
	for !done() {
		if err := errors.Join(d.alive(), sleep(ctx, 20*time.Millisecond)); err != nil {
			return err
		}
	}
	return nil
}

// metric sums the samples of a metric in the text of /metrics. It leaves out the samples with a label.
func metric(text, name, without string) float64 {
	sum := 0.0
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest == "" || (rest[0] != '{' && rest[0] != ' ') || (without != "" && strings.Contains(rest, without)) {
			continue
		}
		fields := strings.Fields(rest[strings.LastIndexByte(rest, '}')+1:])
		if len(fields) == 0 {
			continue
		}
		if value, err := strconv.ParseFloat(fields[0], 64); err == nil {
			sum += value
		}
	}
	return sum
}

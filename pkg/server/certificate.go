package server

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"
)

// certificate is a pair of files that is read again when they change. It is safe for concurrent use.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu      sync.Mutex
	pair    *tls.Certificate // the last good one
	looked  time.Time
	written [2]stamp // of the files as they were read last, good or not
}

// stamp distinguishes the contents of a file without reading it.
type stamp struct {
	at    time.Time
	size  int64
	inode uint64 // a mount that is swapped may have files of the same moment
}

// lookInterval is the minimum time between two checks of the files.
const lookInterval = time.Second

func openCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log, looked: time.Now()}
	var err error
	if c.written, err = c.stamps(); err != nil { // before they are read: a write during the read is noticed later
		return nil, fmt.Errorf("reading the certificate: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate %s and its key %s: %w", certFile, keyFile, err)
	}
	c.pair = &pair
	return c, nil
}

// get returns the pair for a handshake. A pair that cannot be used, as when only one of the files has been replaced yet,
// leaves the last one in force.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.looked) >= lookInterval {
		c.looked = now
		c.look()
	}
	return c.pair, nil
}

func (c *certificate) look() {
	written, err := c.stamps()
	if written == c.written {
		return
	}
	c.written = written
	var pair tls.Certificate
	if err == nil {
		pair, err = tls.LoadX509KeyPair(c.certFile, c.keyFile)
	}
	if err != nil {
		c.log.Warn("the TLS certificate cannot be read; the last one stays in force", "error", err)
		return
	}
	c.pair = &pair
	c.log.Info("the TLS certificate was renewed", "until", pair.Leaf.NotAfter)
}

// stamps follows symbolic links, which is how a mounted Secret is renewed.
func (c *certificate) stamps() (written [2]stamp, err error) {
	for i, file := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(file)
		if err != nil {
			return [2]stamp{}, err
		}
		written[i] = stamp{info.ModTime(), info.Size(), inodeOf(info)}
	}
	return written, nil
}

// inodeOf distinguishes files that replace each other at one path; 0 where the system has no such number.
func inodeOf(info os.FileInfo) uint64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Ino
	}
	return 0
}

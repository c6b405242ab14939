package source_test

import (
	"crypto/rand"
	"encoding/hex"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/syncerdev/syncer/pkg/source"
)

// stalling carries connections to a server until it is told to let the answers on them stop after some bytes, as a
// half-open connection does: nothing more comes, and nobody hangs up.
type stalling struct {
	addr   string
	after  atomic.Int64  // bytes of an answer; 0: it carries everything
	stuck  chan struct{} // one for each connection that stopped
	drops  bool          // it goes on by a byte now and then
	opened atomic.Int32
}

func stall(t *testing.T, to string) *stalling {
	t.Helper()
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stalling{addr: listen.Addr().String(), stuck: make(chan struct{}, 64)}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listen.Accept()
			if err != nil {
				return
			}
			s.opened.Add(1)
			running.Go(func() { s.carry(conn, to) })
		}
	})
	t.Cleanup(func() {
		listen.Close()
		running.Wait()
	})
	return s
}

func (s *stalling) carry(client net.Conn, to string) {
	defer client.Close()
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer server.Close()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = io.Copy(server, client)
	}()
	go func() {
		<-gone
		server.Close()
	}()
	buffer := make([]byte, 4096)
	for sent := int64(0); ; {
		n, err := server.Read(buffer)
		if after := s.after.Load(); after > 0 && sent+int64(n) > after {
			s.stuck <- struct{}{}
			for i := 0; s.drops && i < n; i++ {
				time.Sleep(50 * time.Millisecond)
				if _, err := client.Write(buffer[i : i+1]); err != nil {
					break
				}
			}
			<-gone
			return
		}
		if _, failed := client.Write(buffer[:n]); err != nil || failed != nil {
			return
		}
		sent += int64(n)
	}
}

// A server that goes quiet in the middle of a fetch costs the limit and not the fetch, over either transport, and what is
// here can be read meanwhile.
func TestSilenceInMidFetch(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"http", "ssh"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			origin := newRepo(t)
			first := origin.commit("a", "1")
			options := source.Options{Branch: "main"}
			var failures atomic.Int32
			options.Failed = func(error) { failures.Add(1) }
			proxy := front(t, transport, origin, &options)
			r := open(t, options)
			source.LimitSilence(r, 4*time.Second) // a busy machine is silent for a while too
			fetch(t, r)

			ballast := make([]byte, 1<<20)
			rand.Read(ballast)
			second := origin.commit("ballast", hex.EncodeToString(ballast))
			proxy.after.Store(64 << 10)
			done := make(chan error, 1)
			go func() {
				_, err := r.Fetch(t.Context())
				done <- err
			}()
			<-proxy.stuck
			if snap, err := r.At(t.Context(), first); err != nil || snap.Commit != first {
				t.Errorf("reading what is here while the server is silent: %v", err)
			}
			if commits, err := r.Log(t.Context(), first, 5); err != nil || len(commits) != 1 {
				t.Errorf("listing what is here while the server is silent: %v, %v", commits, err)
			}
			if commits, err := r.Since(t.Context(), "", first); err != nil || len(commits) != 1 {
				t.Errorf("listing what is new while the server is silent: %v, %v", commits, err)
			}
			select {
			case <-done:
				t.Error("the fetch was over before the server was read to its end")
			default:
			}
			proxy.after.Store(0) // well again; the connection that stopped stays as it is
			if err := <-done; err != nil {
				t.Fatalf("the server is well again: %v", err)
			}
			if snap := fetch(t, r); snap.Commit != second {
				t.Errorf("at %s, want %s", snap.Commit, second)
			}
			if failures.Load() == 0 {
				t.Error("nobody was told of the try that ended")
			}
		})
	}
}

// A server that stays silent ends a fetch with an error that says so, wherever in the conversation it stopped.
func TestSilenceThatLasts(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"http", "ssh"} {
		for name, after := range map[string]int64{"from the start": 1, "in the greeting": 40, "in the pack": 64 << 10} {
			t.Run(transport+" "+name, func(t *testing.T) {
				t.Parallel()
				origin := newRepo(t)
				ballast := make([]byte, 1<<20)
				rand.Read(ballast)
				origin.commit("ballast", hex.EncodeToString(ballast))
				options := source.Options{Branch: "main"}
				proxy := front(t, transport, origin, &options)
				proxy.after.Store(after)
				r := open(t, options)
				source.LimitSilence(r, 150*time.Millisecond)
				fails(t, r, source.ErrUnreachable, "the server sent nothing for 150ms")
				if n := proxy.opened.Load(); n < 4 {
					t.Errorf("%d tries, want four", n)
				}
			})
		}
	}
}

// A pack that comes drop by drop ends the try as well: neither transport hands on what is not whole.
func TestPackThatTrickles(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"http", "ssh"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			origin := newRepo(t)
			ballast := make([]byte, 1<<20)
			rand.Read(ballast)
			origin.commit("ballast", hex.EncodeToString(ballast))
			options := source.Options{Branch: "main"}
			proxy := front(t, transport, origin, &options)
			proxy.drops = true
			proxy.after.Store(64 << 10)
			r := open(t, options)
			source.LimitSilence(r, time.Second)
			fails(t, r, source.ErrUnreachable, "the server sent nothing for 1s")
		})
	}
}

// front puts a proxy that can stall before a repository's server.
func front(t *testing.T, transport string, origin *repo, options *source.Options) *stalling {
	t.Helper()
	if transport == "http" {
		server, address := origin.serve()
		at, err := url.Parse(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		proxy := stall(t, at.Host)
		options.URL = strings.Replace(address, at.Host, proxy.addr, 1)
		return proxy
	}
	server := serveSSH(t, filepath.Dir(origin.dir))
	proxy := stall(t, server.addr)
	options.URL = strings.Replace(server.url("repo/.git"), server.addr, proxy.addr, 1)
	options.Auth = source.Auth{
		SSHKeyFile: server.key, KnownHostsFile: write(t, filepath.Join(t.TempDir(), "hosts"), knownhosts.Line([]string{proxy.addr}, server.host)+"\n"),
	}
	return proxy
}

package renderers

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"testing/fstest"
	"time"

	"github.com/syncerdev/syncer/pkg/panics"
	"github.com/syncerdev/syncer/pkg/render"
)

// WorkerCommand is the argument with which a program becomes a worker: it calls Serve then, and nothing else.
const WorkerCommand = "render-worker"

// Exit codes of a worker that ends itself.
const (
	exitDone     = 0
	exitNonsense = 3
	exitMemory   = 4
)

const largestStack = 32 << 20

// Serve is the side of a worker. It builds overlays that a pool asks for, one at a time, until the input ends, and ends
// the process then: the pool is gone, even if a build goes on. It gives up the rights of the process to files, network and programs.
func Serve(in io.Reader, out io.Writer) { serve(in, out, Limits.Here) }

func serve(in io.Reader, out io.Writer, build func(Limits, fs.FS, string) Built) {
	s := &server{wire: newWire(in, out), here: build, answers: make(chan look), builds: make(chan *request)}
	if err := s.begin(); err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(exitNonsense)
	}
	go s.read()
	idle := time.AfterFunc(memoryPause, debug.FreeOSMemory)
	for request := range s.builds {
		idle.Stop()
		if err := s.wire.send(reply{Done: s.build(request)}); err != nil {
			os.Exit(exitDone)
		}
		idle.Reset(memoryPause)
	}
}

// memoryPause is the time after the last build at which memory is returned to the system.
const memoryPause = 5 * time.Second

// server is a worker's state.
type server struct {
	wire    *wire
	here    func(limits Limits, files fs.FS, overlay string) Built
	limits  Limits
	kept    contents
	allowed atomic.Int64 // that the build may take
	answers chan look
	builds  chan *request
}

// begin reads the limits, gets kustomize ready, and confines the process.
func (s *server) begin() error {
	var first order
	if err := s.wire.receive(&first, largestFrame); err != nil {
		return err
	}
	if first.Begin == nil {
		return errors.New("the first message has no limits")
	}
	s.limits = first.Begin.orDefaults()
	debug.SetMaxStack(largestStack)
	s.setMemory(s.limits.quick())
	warmUp()
	if err := errors.Join(limitAddresses(s.limits.Memory), confine()); err != nil {
		return err
	}
	return s.wire.send(reply{Ready: true})
}

// warmUp has kustomize read its schemas, which takes longer than most builds.
func warmUp() {
	render.Build(fstest.MapFS{
		"o/kustomization.yaml": {Data: []byte("resources: [a.yaml]\nnamePrefix: a\n")},
		"o/a.yaml":             {Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")},
	}, "o")
}

// read takes the messages of the pool. The end of the input ends the process.
func (s *server) read() {
	for {
		var next order
		err := s.wire.receive(&next, largestFrame)
		switch {
		case err != nil:
			os.Exit(exitDone)
		case next.Build != nil:
			s.builds <- next.Build
		case next.Grow:
			s.setMemory(s.limits.Memory)
		case next.Look != nil:
			s.answers <- *next.Look
		}
	}
}

func (s *server) ask(q question) (look, error) {
	if err := s.wire.send(reply{Ask: &q}); err != nil {
		return look{}, err
	}
	return <-s.answers, nil
}

func (s *server) build(request *request) *done {
	files := newRemote(s.ask, &s.kept)
	stop := s.watchMemory()
	built := s.here(s.limits, files, request.Overlay)
	peak := stop()
	if peak > s.allowed.Load() {
		os.Exit(exitMemory) // it took more, and was too quick for watchMemory
	}
	return &done{Set: built.Packed.Bytes(), Warnings: built.Warnings, Reads: built.Reads, Fault: faultOf(built.Err), Peak: peak}
}

// collectAt is the growth of the heap in percent at which it is collected; decision 0041 has the measurements.
const collectAt = 400

// setMemory sets what a build may take. The collector works hard before that is reached, and then the process ends.
func (s *server) setMemory(most int64) {
	s.allowed.Store(most)
	debug.SetGCPercent(collectAt)
	debug.SetMemoryLimit(most * 9 / 10)
}

// watchMemory ends the process if a build takes more than it may. stop returns the most that was seen.
func (s *server) watchMemory() (stop func() int64) {
	const pause = 20 * time.Millisecond
	end, ended := make(chan struct{}), make(chan int64)
	go func() {
		ticker := time.NewTicker(pause)
		defer ticker.Stop()
		var peak int64
		for {
			select {
			case <-end:
				ended <- max(peak, memory())
				return
			case <-ticker.C:
				if peak = max(peak, memory()); peak > s.allowed.Load() {
					os.Exit(exitMemory)
				}
			}
		}
	}()
	return func() int64 { close(end); return <-ended }
}

// memory is that of the process in bytes, as Go's own limit counts it.
func memory() int64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return int64(samples[0].Value.Uint64() - samples[1].Value.Uint64())
}

// fellOver reports whether the result is one after which the worker is not to be used again.
func fellOver(err error) bool { return panics.In(err) != nil }

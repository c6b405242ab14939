package main

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
)

// profiled does the work of a command, and writes profiles of it into a folder: cpu.pprof, heap.pprof and allocs.pprof. An
// empty folder stands for none.
func profiled(folder string, work func() error) error {
	if folder == "" {
		return work()
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	cpu, err := os.Create(filepath.Join(folder, "cpu.pprof"))
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return errors.Join(err, cpu.Close())
	}
	err = work()
	pprof.StopCPUProfile()
	runtime.GC() // the heap profile is that of the last collection
	return errors.Join(err, cpu.Close(), writeProfile(folder, "heap"), writeProfile(folder, "allocs"))
}

func writeProfile(folder, name string) error {
	f, err := os.Create(filepath.Join(folder, name+".pprof"))
	if err != nil {
		return err
	}
	return errors.Join(pprof.Lookup(name).WriteTo(f, 0), f.Close())
}

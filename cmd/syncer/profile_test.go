package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestProfilesAreWrittenAlsoWhereTheCommandFails(t *testing.T) {
	folder, failed := filepath.Join(t.TempDir(), "new"), errors.New("failed")
	if err := profiled(folder, func() error { return failed }); !errors.Is(err, failed) {
		t.Error(err)
	}
	for _, name := range []string{"cpu", "heap", "allocs"} {
		if info, err := os.Stat(filepath.Join(folder, name+".pprof")); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

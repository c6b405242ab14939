package main

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

func TestDurationsInJSONLogsAreSeconds(t *testing.T) {
	var out bytes.Buffer
	cmd := &cobra.Command{}
	cmd.SetErr(&out)
	log, err := newLogger(cmd, "json", "info")
	if err != nil {
		t.Fatal(err)
	}
	log.With("took", 1500*time.Millisecond).WithGroup("lease").Info("said", "after", time.Minute, "n", 3)
	var line struct {
		Took  float64
		Lease struct{ After, N float64 }
	}
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line.Took != 1.5 || line.Lease.After != 60 || line.Lease.N != 3 {
		t.Errorf("%s, %v", out.Bytes(), err)
	}
}

package target

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/panics"
)

func TestAPanicIsReportedOnce(t *testing.T) {
	etl := v1alpha1.Target{Pipeline: "etl", Environment: "prod"}
	var said bytes.Buffer
	var counted []v1alpha1.Target
	g := Guard{Log: slog.New(slog.NewTextHandler(&said, nil)), Count: func(of v1alpha1.Target) { counted = append(counted, of) }}
	err := g.Call(etl, func() error { panic("broken") })
	g.Report(etl, err) // a caller higher up
	if panics.In(err) == nil || len(counted) != 1 || counted[0] != etl || strings.Count(said.String(), "msg=panic") != 1 {
		t.Errorf("%v: counted %v, logged %s", err, counted, &said)
	}
	failure := errors.New("no answer")
	if err := g.Call(etl, func() error { return failure }); !errors.Is(err, failure) || len(counted) != 1 {
		t.Errorf("an error that is no panic: %v, counted %v", err, counted)
	}
	if err := (Guard{}).Call(etl, func() error { panic("broken") }); panics.In(err) == nil {
		t.Errorf("without a log: %v", err)
	}
}

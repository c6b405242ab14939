//go:build !linux

package renderers

import (
	"os"
	"syscall"
)

func confine() error { return nil }

func limitAddresses(int64) error { return nil }

func attributes() *syscall.SysProcAttr { return nil }

func closeOnExec() {}

func self() string {
	program, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return program
}

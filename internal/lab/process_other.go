//go:build !linux

package lab

import (
	"os"
	"syscall"
)

// childAttributes gives a child its own process group. Only Linux can have the kernel end it with this program.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

// children returns nothing: only Linux has a list of them.
func (p *process) children() []*os.Process { return nil }

// Package lab starts real parts on loopback: a Kubernetes control plane with simulated nodes, git servers and an image
// registry. Tests and the demo run against them; nothing here reaches beyond 127.0.0.1 or is part of syncer itself.
//
// The ctx of a Start function bounds the start. A part lives until its Stop, and no longer than the program.
package lab

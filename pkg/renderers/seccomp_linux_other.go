//go:build linux && !amd64

package renderers

var deniedHere []uint32

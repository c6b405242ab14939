//go:build race

package renderers

// racing says that this is a build for tests that looks for races. It takes addresses as it likes.
const racing = true

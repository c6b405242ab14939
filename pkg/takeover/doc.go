// Package takeover finds the tool that managed an object before syncer (kubectl apply, Helm, Flux, Argo CD), and moves the
// tool's fields to syncer in the managed fields of the object. It is pure.
package takeover

// Package ignore says which fields of an object other owners decide: by the rules of the configuration, and by the design of
// Kubernetes and its controllers. It is pure.
package ignore

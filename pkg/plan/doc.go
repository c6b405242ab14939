// Package plan says what an apply of one target would do, as a value: one step for each object of git, and one for each
// object to prune. Server-side dry runs compare the objects. Rules decide which object stays and which change waits; rules.go
// lists them in their order. The package changes nothing in the cluster, except that it creates the key for the hashes of
// Secrets. Package apply carries a plan out.
package plan

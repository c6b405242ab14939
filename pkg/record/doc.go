// Package record makes the next status of a target's record from the last one and the outcome of a pass: conditions, history,
// held changes, ownership conflicts and drift. It also keeps a record within its size: an etcd takes objects of up to
// 1.5 MiB. The package is pure: it reads no clock, no cluster and no git, and changes no value that it is given.
package record

// Package record keeps a target's record within its size. An etcd takes objects of up to 1.5 MiB; this package judges before
// the first write whether a target fits, and cuts what a record can do without. It is pure: it reads and writes nothing.
package record

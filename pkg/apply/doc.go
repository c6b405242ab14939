// package apply carries a set of objects into a cluster: it plans with a server-side dry run, applies in order, prunes,
// judges health and keeps the PipelineSync record. It is the only room that writes to a cluster, and it touches nothing
// but the Kubernetes API.
package apply

// package apply applies a set of objects to a cluster. It plans with a server-side dry run, applies in order, prunes, judges
// health and keeps the PipelineSync record. It is the only room that writes to a cluster. It uses nothing but the Kubernetes
// API.
package apply

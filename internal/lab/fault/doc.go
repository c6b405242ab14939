// Package fault is a proxy between a client and a real server, with the faults of networks and servers: it answers late,
// with an error, in drops or not at all, executes a request and loses the answer, refuses connections, and leaves
// connections open that no server reads any more. The server behind it is real, and does not notice it.
package fault

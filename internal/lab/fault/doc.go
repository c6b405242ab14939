// Package fault stands between a client and a real server, and does what networks and servers do on a bad day: it
// answers late, with an error, in drops or not at all, carries a request out and loses the answer, refuses connections,
// and leaves connections open that nobody serves any more. The server behind it is real, and knows nothing of it.
package fault

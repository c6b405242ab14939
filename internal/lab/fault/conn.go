package fault

import (
	"errors"
	"net"
	"sync/atomic"
)

// listening returns connections that can be forgotten.
type listening struct {
	net.Listener
	proxy *Proxy
}

func (l *listening) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if tcp, ok := accepted.(*net.TCPConn); ok {
		err = errors.Join(tcp.SetKeepAlive(true), tcp.SetKeepAlivePeriod(keepAlive))
	}
	if err != nil {
		return nil, errors.Join(err, accepted.Close())
	}
	c := &conn{Conn: accepted, proxy: l.proxy}
	l.proxy.connecting.Lock()
	defer l.proxy.connecting.Unlock()
	l.proxy.open[c] = true
	return c, nil
}

// conn is the connection of one client.
type conn struct {
	net.Conn
	proxy     *Proxy
	forgotten atomic.Bool
	left      atomic.Bool // the client has ended it
}

// forget makes the connection one that no server reads any more.
func (c *conn) forget() { c.forgotten.Store(true) }

// Read returns the bytes that the client sent. For a forgotten connection it returns nothing until the client ends it.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	for c.forgotten.Load() && err == nil {
		_, err = c.Conn.Read(b)
		n = 0
	}
	if err != nil {
		c.left.Store(true)
	}
	return n, err
}

// Write sends to the client; on a forgotten connection it sends nothing.
func (c *conn) Write(b []byte) (int, error) {
	if c.forgotten.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// Close ends the connection. A forgotten one stays open for its client: a machine without power sends no FIN.
func (c *conn) Close() error {
	if c.forgotten.Load() && !c.left.Load() {
		return nil
	}
	c.proxy.connecting.Lock()
	delete(c.proxy.open, c)
	c.proxy.connecting.Unlock()
	return c.Conn.Close()
}

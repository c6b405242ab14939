package cluster

import (
	"fmt"
	"strings"

	"k8s.io/client-go/rest"
)

// As returns the same cluster as a service account, NAMESPACE/NAME: this account reads and writes the objects of
// targets, and its RBAC bounds them. Syncer itself still reads and writes the records. An empty account is syncer
// itself.
func (c *Cluster) As(account string) (*Cluster, error) {
	server := c.server
	if account == "" {
		return server.self, nil
	}
	server.mu.Lock()
	defer server.mu.Unlock()
	if acting, ok := server.acting[account]; ok {
		return acting, nil
	}
	namespace, name, ok := strings.Cut(account, "/")
	if !ok {
		return nil, fmt.Errorf("service account %q: write NAMESPACE/NAME", account)
	}
	config := server.self.Config()
	// The API server adds the groups of a service account itself.
	config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:" + namespace + ":" + name}
	client, err := Dynamic(config)
	if err != nil {
		return nil, err
	}
	acting := &Cluster{server: server, config: config, client: client, account: account}
	server.acting[account] = acting
	return acting, nil
}

// Account is the service account of the connection; empty: the connection acts as syncer itself.
func (c *Cluster) Account() string { return c.account }

// Server is the connection that acts as syncer itself. Two targets are in one cluster when their Server is the same.
func (c *Cluster) Server() *Cluster {
	if c.server == nil { // a connection to nothing, as in tests of rules
		return c
	}
	return c.server.self
}

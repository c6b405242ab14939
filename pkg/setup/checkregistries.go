package setup

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/target"
)

// login is a registry and credentials for it.
type login struct {
	host, repository string
	credentials      image.Credentials
	environments     []string
}

// logins lists the registries of the targets' images, sorted by host. A host is listed once for each set of pull secrets.
func logins(targets []*target.Desired, credentialsOf func(*target.Desired) image.Credentials) []*login {
	type key struct{ host, credentials string }
	var all []*login
	known := map[key]*login{}
	for _, d := range targets {
		repositories := repositoriesOf(d)
		if len(repositories) == 0 {
			continue
		}
		credentials := credentialsOf(d)
		for host, repository := range repositories {
			at := key{host, credentials.ID()}
			if known[at] == nil {
				known[at] = &login{host: host, repository: repository, credentials: credentials}
				all = append(all, known[at])
			}
			if l := known[at]; !slices.Contains(l.environments, d.Target.Environment) {
				l.environments = append(l.environments, d.Target.Environment)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b *login) int { return strings.Compare(a.host, b.host) })
	return all
}

// repositoriesOf returns one repository of each registry host that a target's images come from.
func repositoriesOf(d *target.Desired) map[string]string {
	repositories := map[string]string{}
	for _, ref := range d.Rendered.Refs {
		if ref.Form == image.Template {
			continue
		}
		repository := image.Repository(ref.Value)
		host, _, _ := strings.Cut(repository, "/")
		repositories[host] = repository
	}
	return repositories
}

// credentials reads the pull secrets of a target. It leaves out what it cannot read: the check of the rights names a
// missing right.
func (c *Checker) credentials(ctx context.Context, d *target.Desired) image.Credentials {
	server, err := c.Planner.Clusters.Of(d.Environment)
	if err != nil {
		return image.Credentials{}
	}
	acting, err := server.As(d.Settings.ServiceAccount)
	if err != nil {
		return image.Credentials{}
	}
	configs, _ := cluster.PullSecrets(ctx, acting, d.Rendered.Set.Set()) // returns those that it could read
	return image.Credentials{Configs: configs}
}

// ping checks that a registry accepts the credentials.
func (c *Checker) ping(ctx context.Context, l *login) Check {
	began := c.Now()
	err := c.Registry.With(l.credentials).Ping(ctx, l.repository)
	check := passed(checkRegistry, "%s lets the credentials in, in %s", l.host, c.Now().Sub(began).Round(time.Millisecond))
	switch {
	case errors.Is(err, image.ErrDenied):
		check = failed(checkRegistry, "set `credentialsFile` under `registries`, or give the pods an imagePullSecret", "%v", err)
	case err != nil:
		check = failed(checkRegistry, "check the address, the network, and `registries` of the configuration", "%v", err)
	}
	check.Environments = l.environments
	return check
}

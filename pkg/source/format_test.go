package source_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/syncerdev/syncer/pkg/source"
)

// A repository with SHA-256 object names is refused for what it is, wherever it is.
func TestLongObjectNames(t *testing.T) {
	t.Parallel()
	origin := &repo{t: t, dir: filepath.Join(t.TempDir(), "repo")}
	if err := os.MkdirAll(origin.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	origin.git("init", "-q", "-b", "main", "--object-format=sha256")
	fails(t, open(t, source.Options{URL: origin.dir}), source.ErrObjectFormat, "has SHA-256 object names")
	origin.commit("a.yaml", "a: 1\n")
	_, address := origin.serve()
	server := serveSSH(t, filepath.Dir(origin.dir))
	for url, auth := range map[string]source.Auth{
		origin.dir:                            {},
		origin.dir + "/.git":                  {},
		address:                               {},
		server.url(filepath.Base(origin.dir)): {SSHKeyFile: server.key, KnownHostsFile: server.hosts},
	} {
		fails(t, open(t, source.Options{URL: url, Auth: auth}), source.ErrObjectFormat, "has SHA-256 object names", "fetching")
	}
}

package pin

import (
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sync/errgroup"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/source"
	"github.com/syncerdev/syncer/pkg/target"
)

// requests counts what a registry is asked.
type requests struct {
	next http.Handler

	mu    sync.Mutex
	kinds map[string]int
}

func (h *requests) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	kind := "other"
	if strings.Contains(r.URL.Path, "/manifests/") {
		kind = r.Method + " manifest"
	} else if r.URL.Path == "/v2/" {
		kind = "ping"
	}
	h.mu.Lock()
	h.kinds[kind]++
	h.mu.Unlock()
	h.next.ServeHTTP(w, r)
}

func (h *requests) take() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	kinds := h.kinds
	h.kinds = map[string]int{}
	return kinds
}

// A thousand targets, from their files to their digests, ask a registry for each of the references that they share once.
// The next pass, with the pins of the first, asks for nothing.
func TestThousandTargetsCostAsManyLookupsAsReferences(t *testing.T) {
	const targets, references = 1000, 50
	h := &requests{next: registry.New(registry.Logger(log.New(io.Discard, "", 0))), kinds: map[string]int{}}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	for i := range references {
		tag, err := name.NewTag(fmt.Sprintf("%s/data/job:r%d", host, i))
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(tag, empty.Image); err != nil {
			t.Fatal(err)
		}
	}
	h.take()
	want, err := empty.Image.Digest()
	if err != nil {
		t.Fatal(err)
	}

	t.Setenv("DOCKER_CONFIG", t.TempDir())
	files := fstest.MapFS{}
	for i := range targets {
		folder := fmt.Sprintf("pipelines/p%d/overlays/dev/", i)
		files[folder+"kustomization.yaml"] = &fstest.MapFile{Data: []byte("namespace: data\nresources: [pod.yaml]\n")}
		files[folder+"pod.yaml"] = &fstest.MapFile{Data: fmt.Appendf(nil, "apiVersion: v1\nkind: Pod\nmetadata: {name: p%d}\nspec: {containers: [{name: a, image: %q}, {name: b, image: %q}]}\n",
			i, fmt.Sprintf("%s/data/job:r%d", host, i%references), fmt.Sprintf("%s/data/job:r%d", host, (i+1)%references))}
	}
	config, err := v1alpha1.DecodeConfig("syncer.yaml", []byte("apiVersion: syncer.dev/v1alpha1\nkind: Config\nsource: {url: /repo, branch: main}\nenvironments: [{name: dev}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	hosts, err := image.NewRegistry(nil, image.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := resolverOf(func() time.Time { return now }, hosts)
	planner := &target.Planner{Config: config, Renderings: &target.Renderings{}}
	records := map[v1alpha1.Target]*v1alpha1.PipelineSync{}

	pass := func() map[string]int {
		t.Helper()
		snap := source.Snapshot{Commit: "c1", Files: files}
		pipelines, err := planner.Discover(snap)
		if err != nil {
			t.Fatal(err)
		}
		environment := &config.Environments[0]
		var all []*target.Desired
		for _, p := range pipelines {
			w := planner.Desired(p, environment, snap)
			w.Record = records[w.Target]
			all = append(all, w)
		}
		planner.Renderings.Render(t.Context(), all, snap.Files)
		request := Request{Lookups: r.NewLookups()}
		decided := make([]Decision, len(all)) // each worker owns one slot
		var g errgroup.Group
		g.SetLimit(8)
		for i, w := range all {
			g.Go(func() (err error) {
				if w.Err != nil {
					return w.Err
				}
				decided[i], err = r.Decide(t.Context(), w, request)
				return err
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		for i, w := range all {
			if len(decided[i].Pins) != 2 || decided[i].Pins[0].Digest != want.String() || decided[i].Pins[1].Digest != want.String() {
				t.Fatalf("%s: %+v", w.Target, decided[i].Pins)
			}
			records[w.Target] = &v1alpha1.PipelineSync{Spec: v1alpha1.PipelineSyncSpec{Images: decided[i].Pins}}
		}
		if len(all) != targets {
			t.Fatalf("%d targets", len(all))
		}
		return h.take()
	}

	first := pass()
	if first["HEAD manifest"] != references || first["GET manifest"] != references || first["other"] != 0 || first["ping"] > 2*references {
		t.Errorf("the first pass asked %v, want one HEAD, and one GET that confirms its digest, for each of the %d references", first, references)
	}
	if second := pass(); len(second) != 0 {
		t.Errorf("the second pass asked %v", second)
	}
}

// A registry is asked with the pull secrets of the target, as far as they can be read. They are remembered for the target.
func TestLookupsUsePullSecrets(t *testing.T) {
	of := v1alpha1.Target{Pipeline: "web", Environment: "dev"}
	const config = `{"auths": {"registry.example.com": {"auth": "dTpw"}}}`
	for name, broken := range map[string]string{"readable": "", "refused": "secrets"} {
		t.Run(name, func(t *testing.T) {
			server := &apiServer{t: t, broken: broken, objects: map[string]any{"/api/v1/namespaces/shop/secrets/pull": map[string]any{
				"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"namespace": "shop", "name": "pull"},
				"data": map[string]any{".dockerconfigjson": base64.StdEncoding.EncodeToString([]byte(config))},
			}}}
			var log strings.Builder
			var with []image.Credentials
			r := resolverOf(time.Now, nil)
			r.Log = slog.New(slog.NewTextHandler(&log, nil))
			r.Source = func(c image.Credentials) image.Source { with = append(with, c); return &hub{} }
			web := pod(of, "web:1", "")
			web.Object["spec"].(map[string]any)["imagePullSecrets"] = []any{map[string]any{"name": "pull"}}
			environment := &v1alpha1.Environment{Name: "dev"}
			cluster, err := server.clusters().Of(environment)
			if err != nil {
				t.Fatal(err)
			}
			d := &target.Desired{Target: of, Environment: environment, Cluster: cluster}
			d.Rendered.Set = manifest.Pack(manifest.Set{web})
			lookups := r.NewLookups()
			if lookups.CredentialsOf(of) != nil {
				t.Error("credentials are known before they are read")
			}
			one := r.lookupFor(t.Context(), lookups, d)
			if one != r.lookupFor(t.Context(), lookups, d) || len(with) != 1 {
				t.Errorf("%d look-ups were made of the same credentials", len(with))
			}
			read := lookups.CredentialsOf(of)
			switch {
			case broken == "" && (len(with[0].Configs) != 1 || with[0].Configs[0] != config || read.ID() != with[0].ID() || log.Len() > 0):
				t.Errorf("%+v, log: %s", with, &log)
			case broken != "" && (len(with[0].Configs) != 0 || !strings.Contains(log.String(), "reading pull secrets")):
				t.Errorf("%+v, log: %s", with, &log)
			}
			again := r.NewLookups()
			again.known = read
			server.broken = "/"
			if r.lookupFor(t.Context(), again, d); with[len(with)-1].ID() != read.ID() {
				t.Error("known credentials were read again")
			}
		})
	}
}

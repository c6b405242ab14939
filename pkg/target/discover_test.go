package target

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

func tree(files ...string) fstest.MapFS {
	out := fstest.MapFS{}
	for _, file := range files {
		out[file] = &fstest.MapFile{}
	}
	return out
}

func TestDiscoverFollowsTheLayout(t *testing.T) {
	environments := []string{"dev", "prod"}
	for name, c := range map[string]struct {
		layout string
		files  []string
		want   map[string]string // PIPELINE@ENVIRONMENT -> overlay
	}{
		"the default layout": {
			"pipelines/{pipeline}/overlays/{environment}",
			[]string{"pipelines/a/overlays/dev/k", "pipelines/a/overlays/prod/k", "pipelines/b/overlays/dev/k", "pipelines/README.md", "other/c/overlays/dev/k"},
			map[string]string{"a@dev": "pipelines/a/overlays/dev", "a@prod": "pipelines/a/overlays/prod", "b@dev": "pipelines/b/overlays/dev"},
		},
		"the environment first": {
			"{environment}/{pipeline}",
			[]string{"dev/a/k", "prod/a/k", "prod/b/k", "shared/c/k"},
			map[string]string{"a@dev": "dev/a", "a@prod": "prod/a", "b@prod": "prod/b"},
		},
		"names around the holes": {
			"teams/job-{pipeline}-v1/deploy/{environment}-eu",
			[]string{"teams/job-a-v1/deploy/dev-eu/k", "teams/job-b/deploy/dev-eu/k", "teams/a-v1/deploy/dev-eu/k"},
			map[string]string{"a@dev": "teams/job-a-v1/deploy/dev-eu"},
		},
		"pipelines at the root": {
			"{pipeline}/{environment}",
			[]string{"a/dev/k", ".github/dev/k"},
			map[string]string{"a@dev": "a/dev"},
		},
		"overlays of environments that the configuration does not have": {
			"pipelines/{pipeline}/overlays/{environment}",
			[]string{"pipelines/a/overlays/dev/k", "pipelines/a/overlays/test/k"},
			map[string]string{"a@dev": "pipelines/a/overlays/dev"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			pipelines, err := discover(tree(c.files...), c.layout, environments, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for _, p := range pipelines {
				for environment, overlay := range p.Overlays {
					got[p.Name+"@"+environment] = overlay
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestARepositoryWithoutOverlaysIsAnErrorAndNotAnOrderToDelete(t *testing.T) {
	for name, files := range map[string][]string{
		"nothing at all":                 nil,
		"pipelines without overlays":     {"pipelines/a/base/k"},
		"overlays of other environments": {"pipelines/a/overlays/test/k"},
		"a folder with another name":     {"pipes/a/overlays/dev/k"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := discover(tree(files...), "pipelines/{pipeline}/overlays/{environment}", []string{"dev"}, nil)
			if err == nil || !strings.Contains(err.Error(), "no overlay") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAPipelineWithoutAnOverlayIsRememberedAsStanding(t *testing.T) {
	pipelines, err := discover(tree("pipelines/a/overlays/dev/k", "pipelines/b/base/k"), "pipelines/{pipeline}/overlays/{environment}", []string{"dev"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(pipelines) != 2 || pipelines[1].Name != "b" || len(pipelines[1].Overlays) != 0 || pipelines[1].Expected("dev") != "pipelines/b/overlays/dev" {
		t.Errorf("got %+v", pipelines)
	}
}

func TestABadPipelineFileFailsItsOwnPipelineOnly(t *testing.T) {
	files := tree("pipelines/a/overlays/dev/k", "pipelines/b/overlays/dev/k")
	files["pipelines/b/pipeline.yaml"] = &fstest.MapFile{Data: []byte("apiVersion: syncer.dev/v1alpha1\nkind: Pipeline\nownr: me\n")}
	pipelines, err := discover(files, "pipelines/{pipeline}/overlays/{environment}", []string{"dev"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := pipelines[0].settings["dev"].err; err != nil {
		t.Errorf("a: %v", err)
	}
	if err := pipelines[1].settings["dev"].err; err == nil || !strings.Contains(err.Error(), "pipelines/b/pipeline.yaml:3: ownr") {
		t.Errorf("b: %v", err)
	}
}

// A link that leads nowhere is an overlay, so that its target reports the fault.
func TestOverlayThatIsALostLink(t *testing.T) {
	files := tree("pipelines/a/overlays/dev/k", "pipelines/a/README.md")
	for environment, target := range map[string]string{"gone": "nowhere", "outside": "../../../../etc", "file": "../README.md"} {
		files["pipelines/a/overlays/"+environment] = &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink}
	}
	pipelines, err := discover(files, "pipelines/{pipeline}/overlays/{environment}", []string{"dev", "gone", "outside", "file", "none"}, nil)
	if err != nil || len(pipelines) != 1 {
		t.Fatalf("%v, %v", pipelines, err)
	}
	if got := pipelines[0].Overlays; len(got) != 4 || got["none"] != "" {
		t.Errorf("the overlays: %v", got)
	}
}

func TestOnePipelineIsDiscoveredAsAllAre(t *testing.T) {
	for _, layout := range []string{"pipelines/{pipeline}/overlays/{environment}", "{environment}/job-{pipeline}-v1", "{pipeline}/{environment}"} {
		files := layoutFiles(layout, "one", "dev")
		all, err := discover(files, layout, []string{"dev"}, nil)
		if err != nil || len(all) != 1 {
			t.Fatalf("%s: %v, %v", layout, all, err)
		}
		one := discoverOne(files, layout, v1alpha1.Target{Pipeline: "one", Environment: "dev"})
		if one.Overlays["dev"] == "" || one.Overlays["dev"] != all[0].Overlays["dev"] || one.Folder("dev") != all[0].Folder("dev") {
			t.Errorf("%s: %+v; of all: %+v", layout, one, all[0])
		}
		if other := discoverOne(files, layout, v1alpha1.Target{Pipeline: "two", Environment: "dev"}); len(other.Overlays) > 0 {
			t.Errorf("%s: one that is not there: %+v", layout, other)
		}
	}
}

func layoutFiles(layout, pipeline, environment string) fstest.MapFS {
	overlay := strings.NewReplacer(pipelineHole, pipeline, environmentHole, environment).Replace(layout)
	return fstest.MapFS{overlay + "/kustomization.yaml": {Data: []byte("resources: []\n")}}
}

// looks counts the looks at a tree.
type looks struct {
	fstest.MapFS
	count int
}

func (l *looks) Open(name string) (fs.File, error)          { l.count++; return l.MapFS.Open(name) }
func (l *looks) Stat(name string) (fs.FileInfo, error)      { l.count++; return l.MapFS.Stat(name) }
func (l *looks) Lstat(name string) (fs.FileInfo, error)     { l.count++; return l.MapFS.Lstat(name) }
func (l *looks) ReadDir(name string) ([]fs.DirEntry, error) { l.count++; return l.MapFS.ReadDir(name) }
func (l *looks) ReadFile(name string) ([]byte, error)       { l.count++; return l.MapFS.ReadFile(name) }

// Hundreds of environments cost no looks at the repository for the pipelines that are in few of them.
func TestEnvironmentsAreNotLookedForInEachPipeline(t *testing.T) {
	for _, layout := range []string{"pipelines/{pipeline}/overlays/{environment}", "{pipeline}/for-{environment}/job"} {
		count := func(environments ...string) int {
			files := layoutFiles(layout, "one", "dev")
			for name, file := range layoutFiles(layout, "two", "dev") {
				files[name] = file
			}
			l := &looks{MapFS: files}
			if all, err := discover(l, layout, environments, nil); err != nil || len(all) != 2 || all[1].Overlays["dev"] == "" {
				t.Fatalf("%s: %v, %v", layout, all, err)
			}
			return l.count
		}
		many := []string{"dev"}
		for n := range 300 {
			many = append(many, fmt.Sprint("cluster-", n))
		}
		if few, all := count("dev"), count(many...); all != few {
			t.Errorf("%s: %d looks for 301 environments, %d for one", layout, all, few)
		}
	}
}

// Package pkg_test holds the map of the rooms: who may import whom, and where each outside library lives.
package pkg_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/syncerdev/syncer/"

// browser is where the driver of the browser lives, alone.
const browser = "internal/lab/browser"

// home says which room owns an outside library. Test files are free: they start what they test against.
var home = map[string]string{
	"github.com/go-git/":                      "pkg/source pkg/gitserver pkg/gitpack pkg/gitfiles",
	"github.com/Masterminds/semver/":          "pkg/source pkg/image pkg/api/v1alpha1",
	"github.com/gofrs/flock":                  "pkg/source",
	"golang.org/x/crypto/ssh":                 "pkg/gitserver pkg/trust",
	"github.com/ProtonMail/":                  "pkg/trust",
	"github.com/hiddeco/":                     "pkg/trust",
	"sigs.k8s.io/kustomize/":                  "pkg/render pkg/origin",
	"github.com/google/go-containerregistry/": "pkg/image",
	"github.com/docker/cli/":                  "pkg/image",
	"github.com/sigstore/":                    "pkg/image",
	"github.com/secure-systems-lab/":          "pkg/image",
	"github.com/sony/gobreaker/":              "pkg/pacing",
	"github.com/awslabs/":                     "pkg/image",
	"github.com/chrismellard/":                "pkg/image",
	"k8s.io/client-go/":                       "pkg/connect pkg/cluster pkg/election pkg/watch pkg/takeover",
	"github.com/fluxcd/cli-utils/":            "pkg/health",
	"github.com/google/cel-go/":               "pkg/health",
	"k8s.io/apiserver/":                       "pkg/health",
	"github.com/spf13/":                       "cmd/syncer",
	"golang.org/x/term":                       "cmd/syncer",
	"github.com/prometheus/":                  "pkg/daemon pkg/server",
	"k8s.io/klog/":                            "cmd/syncer",
	"golang.org/x/sync/errgroup":              "pkg/panics cmd/syncer", // its Wait lets a panic end the process
	"golang.org/x/time/":                      "pkg/server pkg/daemon pkg/pacing pkg/underway",
	"github.com/chromedp/":                    browser + " and no room: pages are looked at by their tests",
	"net/http":                                "pkg/image pkg/pacing pkg/gitserver pkg/connect pkg/cluster pkg/server pkg/silence cmd/syncer",
	"os/exec":                                 "pkg/renderers", // syncer starts no program but itself
	"golang.org/x/sys/":                       "pkg/renderers",
	"golang.org/x/net/bpf":                    "pkg/renderers",
	"github.com/landlock-lsm/":                "pkg/renderers",
}

// floors lists the rooms from the lowest floor to the highest. Imports go down only: a room imports rooms of lower floors,
// and rooms of one floor do not import each other.
var floors = [][]string{
	{"pkg/clock", "pkg/limit", "pkg/panics", "pkg/silence", "pkg/manifest", "pkg/yamltext"},
	{"pkg/api/v1alpha1", "pkg/gitserver", "pkg/pacing", "pkg/health", "pkg/audit", "pkg/connect", "pkg/trust"},
	{"pkg/gitpack", "pkg/gitfiles"},
	{"pkg/answer", "pkg/source", "pkg/render", "pkg/image", "pkg/drift", "pkg/ignore", "pkg/takeover", "pkg/neighbour"},
	{"pkg/cluster", "pkg/origin", "pkg/record", "pkg/follow", "pkg/words"},
	{"pkg/inventory", "pkg/election", "pkg/renderers"},
	{"pkg/plan", "pkg/watch", "pkg/access"},
	{"pkg/apply"},
	{"pkg/target"},
	{"pkg/pin", "pkg/view", "pkg/setup", "pkg/underway", "pkg/leases"},
	{"pkg/reconcile", "pkg/publish"},
	{"pkg/server"},
	{"pkg/daemon", "pkg/commands"},
	{"cmd/syncer"},
}

// narrow lists rooms that may import less than the floors below them, and the rooms that they may.
var narrow = map[string][]string{
	"pkg/gitserver": {"pkg/silence"},
	"pkg/pacing":    {"pkg/clock"},
	"pkg/gitpack":   {"pkg/gitserver"},
	"pkg/gitfiles":  {"pkg/gitserver"},
	"pkg/source":    {"pkg/gitserver", "pkg/gitpack", "pkg/gitfiles"}, // knows git, not Kubernetes objects
	"pkg/follow":    {"pkg/api/v1alpha1", "pkg/source", "pkg/trust"},  // knows commits, not objects
	"pkg/trust":     {"pkg/panics"},                                   // pure
	"pkg/render":    {"pkg/manifest", "pkg/panics", "pkg/yamltext"},   // no disk, network, clock or environment
	"pkg/drift":     {"pkg/manifest", "pkg/api/v1alpha1"},             // pure
	"pkg/ignore":    {"pkg/manifest", "pkg/api/v1alpha1"},             // pure
	"pkg/renderers": {"pkg/manifest", "pkg/api/v1alpha1", "pkg/panics", "pkg/render", "pkg/origin"},
	"pkg/neighbour": {"pkg/manifest", "pkg/api/v1alpha1"}, // pure
	"pkg/words":     {"pkg/manifest", "pkg/render"},
	"pkg/takeover":  {"pkg/manifest", "pkg/api/v1alpha1"},                                                                      // pure
	"pkg/record":    {"pkg/manifest", "pkg/api/v1alpha1", "pkg/health", "pkg/drift"},                                           // pure
	"pkg/view":      {"pkg/manifest", "pkg/api/v1alpha1", "pkg/image", "pkg/drift", "pkg/record"},                              // pure
	"pkg/publish":   {"pkg/api/v1alpha1", "pkg/clock", "pkg/source", "pkg/cluster", "pkg/inventory", "pkg/target", "pkg/view"}, // cannot write an object
	"pkg/server":    {"pkg/manifest", "pkg/api/v1alpha1", "pkg/health", "pkg/drift", "pkg/view", "docs/reference"},             // cannot reach a cluster
	"cmd/syncer":    {"pkg/manifest", "pkg/api/v1alpha1", "pkg/health", "pkg/drift", "pkg/view", "pkg/reconcile", "pkg/target", "pkg/setup", "pkg/commands", "pkg/renderers", "pkg/daemon", "pkg/server"},
}

// texts are packages that hold only files; every room may read them.
var texts = []string{"config", "docs/reference"}

func TestImportsGoDown(t *testing.T) {
	floorOf := map[string]int{}
	for i, rooms := range floors {
		for _, room := range rooms {
			floorOf[room] = i
		}
	}
	read := 0
	for file, room := range sources(t) {
		floor, ok := floorOf[room]
		if !ok {
			t.Errorf("%s: the room %s is on no floor; add it to floors", file, room)
		}
		for _, imported := range imports(t, file) {
			read++
			other, ours := strings.CutPrefix(imported, module)
			if !ours || slices.Contains(texts, other) {
				continue
			}
			if below, known := floorOf[other]; !known || below >= floor {
				t.Errorf("%s: imports %s, which is not below %s", file, other, room)
			}
			if allowed, isNarrow := narrow[room]; isNarrow && !slices.Contains(allowed, other) {
				t.Errorf("%s: imports %s, which %s is not to know", file, other, room)
			}
		}
	}
	if read == 0 {
		t.Fatal("no import was read")
	}
}

func TestLibrariesStayAtHome(t *testing.T) {
	for file, room := range sources(t) {
		for _, imported := range imports(t, file) {
			for library, owner := range home {
				if strings.HasPrefix(imported, library) && !slices.Contains(strings.Fields(owner), room) {
					t.Errorf("%s: %s belongs in %s", file, imported, owner)
				}
			}
		}
	}
}

// A browser's protocol is a large library. Tests of pages start a browser through one package of the lab; neither syncer
// nor the demo, which shares the rest of the lab, compiles it.
func TestOnlyTestsOfPagesCompileABrowser(t *testing.T) {
	tests := 0
	for file, folder := range files(t, "pkg", "cmd", "internal", "hack", "config", "examples") {
		for _, imported := range imports(t, file) {
			switch {
			case strings.HasPrefix(imported, "github.com/chromedp/") && folder != browser:
				t.Errorf("%s: %s belongs in %s", file, imported, browser)
			case imported == module+browser && !strings.HasSuffix(file, "_test.go"):
				t.Errorf("%s: imports %s; only tests look at pages", file, imported)
			case imported == module+browser:
				tests++
			}
		}
	}
	if tests == 0 {
		t.Errorf("no test imports %s", browser)
	}
}

func TestDesignLibrariesAreAtHome(t *testing.T) {
	// The libraries that the design names must really be used where they live.
	want := map[string]string{
		"github.com/go-git/go-git/v5":            "pkg/source",
		"sigs.k8s.io/kustomize/api":              "pkg/render",
		"k8s.io/client-go/dynamic":               "pkg/cluster",
		"github.com/google/go-containerregistry": "pkg/image",
		"github.com/sethvargo/go-retry":          "pkg/cluster pkg/pacing pkg/gitserver",
	}
	used := map[string]map[string]bool{}
	for file, room := range sources(t) {
		for _, imported := range imports(t, file) {
			for library := range want {
				if strings.HasPrefix(imported, library) {
					if used[library] == nil {
						used[library] = map[string]bool{}
					}
					used[library][room] = true
				}
			}
		}
	}
	for library, rooms := range want {
		for room := range strings.FieldsSeq(rooms) {
			if !used[library][room] {
				t.Errorf("%s does not use %s", room, library)
			}
		}
	}
}

// sources lists the Go files of the rooms that are not tests, by the room that holds them.
func sources(t *testing.T) map[string]string {
	t.Helper()
	rooms := files(t, "pkg", "cmd")
	maps.DeleteFunc(rooms, func(file, _ string) bool { return strings.HasSuffix(file, "_test.go") })
	return rooms
}

// files lists the Go files below some folders of the repository, by the folder that holds them. The test process reads
// the files itself: a `go list` child would be invisible to the test cache (golang/go issue 30313).
func files(t *testing.T, tops ...string) map[string]string {
	t.Helper()
	folders := map[string]string{}
	for _, top := range tops {
		err := fs.WalkDir(os.DirFS(".."), top, func(file string, entry fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(file, ".go") {
				folders[file] = path.Dir(file)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return folders
}

func imports(t *testing.T, file string) []string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), "../"+file, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, imported)
	}
	return paths
}

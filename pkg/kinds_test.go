package pkg_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/syncerdev/syncer/pkg/health"
)

// namesOfKinds says which rooms may write the name of a workload kind beside pkg/health, and why.
var namesOfKinds = map[string]struct{ rooms, why string }{
	"Deployment":            {"pkg/setup", "syncer install makes a Deployment of its own, and uninstall finds it"},
	"PersistentVolumeClaim": {"pkg/apply pkg/plan pkg/cluster pkg/manifest", "a claim is applied before the workloads and holds data, as a volume and a namespace do"},
}

// A room that compares the name of a workload kind decides something about that kind: the decision belongs into the file
// of the kind, and the room asks health.KindOf.
func TestOnlyHealthNamesWorkloadKinds(t *testing.T) {
	var kinds []string
	for _, kind := range health.Kinds() {
		kinds = append(kinds, kind.GVK.Kind)
	}
	used := map[string]bool{}
	for file, room := range sources(t) {
		if room == "pkg/health" {
			continue
		}
		for _, found := range literals(t, "../"+file, nil, kinds) {
			allowed := namesOfKinds[found.text]
			if !slices.Contains(strings.Fields(allowed.rooms), room) {
				t.Errorf("%s: %q is the name of a workload kind; give the kind a field or a trait in pkg/health, and ask health.KindOf", found.at, found.text)
			}
			used[found.text] = true
		}
	}
	for name := range namesOfKinds {
		if !used[name] {
			t.Errorf("no room writes %q any more; take it out of namesOfKinds", name)
		}
	}
}

func TestLiteralsAreFound(t *testing.T) {
	const source = `package p

import "Job"

// Job is a word of this comment.
type job struct{ Kind string ` + "`json:\"Job\"`" + ` }

var table = map[string]bool{"Job": true, "a Job": true, ` + "`CronJob`" + `: true}

func is(kind string) bool { return kind == "Job" }
`
	var got []string
	for _, found := range literals(t, "p.go", source, []string{"Job", "CronJob"}) {
		got = append(got, fmt.Sprintf("%d %s", found.at.Line, found.text))
	}
	if text := strings.Join(got, ", "); text != "8 Job, 8 CronJob, 10 Job" {
		t.Errorf("found %s", text)
	}
}

// literal is a text that stands in a file.
type literal struct {
	at   token.Position
	text string
}

// literals lists the string literals of a Go file that are one of some texts, without its imports and tags.
func literals(t *testing.T, path string, source any, texts []string) []literal {
	t.Helper()
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, path, source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var found []literal
	ast.Inspect(parsed, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.BasicLit:
			text, err := strconv.Unquote(node.Value)
			if node.Kind == token.STRING && err == nil && slices.Contains(texts, text) {
				found = append(found, literal{files.Position(node.Pos()), text})
			}
		}
		return true
	})
	return found
}

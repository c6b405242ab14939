package renderers

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/syncerdev/syncer/pkg/render"
)

const dated = "apiVersion: example.com/v1\nkind: Report\nmetadata: {name: a}\nspec: {since: 2024-01-02, n: 1, f: 1.5}\n"

func reports() map[string]string {
	return map[string]string{kustomization: "resources: [a.yaml]\n", "o/a.yaml": dated, "other/b.yaml": "x"}
}

// counted counts the builds that a builder makes.
func counted(n *int) Builder {
	return func(_ context.Context, files fs.FS, overlay string) Built {
		*n++
		return Limits{}.Here(files, overlay)
	}
}

func TestTheNextProcessTakesABuildWhoseReadsDidNotChange(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "rendered")
	var n int
	first := Kept(folder, "a", Limits{}, counted(&n))(t.Context(), repository(reports()), "o")
	for name, c := range map[string]struct {
		repository, overlay string
		change              map[string]string
		builds              int
	}{
		"the same files":              {"a", "o", nil, 0},
		"a file that it did not read": {"a", "o", map[string]string{"other/b.yaml": "y"}, 0},
		"a file that it read":         {"a", "o", map[string]string{"o/a.yaml": dated + "  more: 1\n"}, 1},
		"a file that it looked for":   {"a", "o", map[string]string{"o/kustomization.yml": "x"}, 1},
		"another overlay":             {"a", "other", nil, 1},
		"another repository":          {"b", "o", nil, 1},
	} {
		n = 0
		files := reports()
		for path, text := range c.change {
			files[path] = text
		}
		built := Kept(folder, c.repository, Limits{}, counted(&n))(t.Context(), repository(files), c.overlay)
		if n != c.builds {
			t.Errorf("%s: %d builds", name, n)
		}
		if diff := cmp.Diff(first.Set, built.Set); c.builds == 0 && (diff != "" || !cmp.Equal(first.Warnings, built.Warnings) || !built.Reads.Unchanged(repository(files))) {
			t.Errorf("%s: %s", name, diff)
		}
		_ = Kept(folder, "a", Limits{}, here)(t.Context(), repository(reports()), "o") // as before
	}
}

// A limit that is stricter now counts for builds of earlier.
func TestABuildUnderOtherLimitsIsNotTaken(t *testing.T) {
	n, folder := 0, t.TempDir()
	_ = Kept(folder, "a", Limits{}, counted(&n))(t.Context(), repository(reports()), "o")
	_ = Kept(folder, "a", Limits{Render: render.Limits{Objects: 1}}, counted(&n))(t.Context(), repository(reports()), "o")
	if n != 2 {
		t.Errorf("%d builds", n)
	}
}

// here is Here as a Builder.
func here(_ context.Context, files fs.FS, overlay string) Built { return Limits{}.Here(files, overlay) }

// A file that is not whole, or not of this program, is none.
func TestOnlyAWholeBuildOfThisProgramIsTaken(t *testing.T) {
	for name, spoil := range map[string]func(content []byte) []byte{
		"cut off": func(content []byte) []byte { return content[:len(content)/2] },
		"empty":   func([]byte) []byte { return nil },
		"one byte is another one": func(content []byte) []byte {
			content[len(content)/2] ^= 1
			return content
		},
		"too large": func(content []byte) []byte { return append(content, make([]byte, keptSize)...) },
	} {
		folder := t.TempDir()
		var n int
		build := Kept(folder, "a", Limits{}, counted(&n))
		build(t.Context(), repository(reports()), "o")
		files, err := filepath.Glob(filepath.Join(folder, "*"))
		if err != nil || len(files) != 1 {
			t.Fatalf("%v, %v", files, err)
		}
		content, err := os.ReadFile(files[0])
		if err == nil {
			err = os.WriteFile(files[0], spoil(content), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if built := build(t.Context(), repository(reports()), "o"); n != 2 || built.Err != nil {
			t.Errorf("%s: %d builds, %v", name, n, built.Err)
		}
	}
	folder := t.TempDir()
	k := keeper{folder: folder, repository: "a", program: "another"}
	if err := k.write("o", Limits{}.Here(repository(reports()), "o")); err != nil {
		t.Fatal(err)
	}
	var n int
	if Kept(folder, "a", Limits{}, counted(&n))(t.Context(), repository(reports()), "o"); n != 1 {
		t.Errorf("the build of another program is taken")
	}
}

func TestAFailedBuildIsNotKept(t *testing.T) {
	var n int
	build := Kept(t.TempDir(), "a", Limits{}, counted(&n))
	for range 2 {
		if built := build(t.Context(), repository(nil), "o"); built.Err == nil {
			t.Fatal("there is no overlay")
		}
	}
	if n != 2 {
		t.Errorf("%d builds", n)
	}
}

func TestAFolderThatCannotBeWrittenCostsOnlyTime(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var n int
	build := Kept(filepath.Join(file, "rendered"), "a", Limits{}, counted(&n))
	for range 2 {
		if built := build(t.Context(), repository(reports()), "o"); built.Err != nil || len(built.Set) != 1 {
			t.Error(built.Err)
		}
	}
	if n != 2 {
		t.Errorf("%d builds", n)
	}
}

// Rendered Secrets are for nobody but the user.
func TestOnlyTheUserReadsTheKeptBuilds(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "rendered")
	Kept(folder, "a", Limits{}, here)(t.Context(), repository(reports()), "o")
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		info, statErr := entry.Info()
		if info != nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
		return errors.Join(err, statErr)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestOldBuildsAreDeleted(t *testing.T) {
	folder := t.TempDir()
	old := filepath.Join(folder, "old")
	if err := os.WriteFile(old, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	before := time.Now().Add(-keptFor - time.Hour)
	if err := os.Chtimes(old, before, before); err != nil {
		t.Fatal(err)
	}
	Kept(folder, "a", Limits{}, here)(t.Context(), repository(reports()), "o")
	files, err := os.ReadDir(folder)
	if err != nil || len(files) != 1 || files[0].Name() == "old" {
		t.Errorf("%v, %v", files, err)
	}
}

// BenchmarkKept measures what an overlay costs that an earlier process built.
func BenchmarkKept(b *testing.B) {
	files, build := repository(reports()), Kept(b.TempDir(), "a", Limits{}, here)
	build(b.Context(), files, "o")
	for b.Loop() {
		if built := build(b.Context(), files, "o"); built.Err != nil {
			b.Fatal(built.Err)
		}
	}
}

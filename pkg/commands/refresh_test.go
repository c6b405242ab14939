package commands

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/syncerdev/syncer/internal/lab"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

const (
	header    = "apiVersion: syncer.dev/v1alpha1\nkind: Pipeline\n"
	reference = "registry.example.com:5000/team/web:v1"
	stamp     = "2026-01-02T03:04:05Z"
)

// A refresh is a line or a few: everything else of a file, comments and empty lines included, stays as it is.
func TestRefreshed(t *testing.T) {
	const line = reference + `: "` + stamp + `"` + "\n"
	for name, c := range map[string]struct{ before, want string }{
		"no file":        {"", header + "environments:\n  prod:\n    images:\n      refresh:\n        " + line},
		"only comments":  {"# todo", "# todo\n" + header + "environments:\n  prod:\n    images:\n      refresh:\n        " + line},
		"nothing yet":    {header + "\n# who to call\nowner: a@example.com # me\n", header + "\n# who to call\nowner: a@example.com # me\nenvironments:\n  prod:\n    images:\n      refresh:\n        " + line},
		"no end of line": {header + "owner: a", header + "owner: a\nenvironments:\n  prod:\n    images:\n      refresh:\n        " + line},
		"another environment": {
			header + "environments:\n  # dev first\n  dev:\n    owner: a\n\nowner: b\n",
			header + "environments:\n  prod:\n    images:\n      refresh:\n        " + line + "  # dev first\n  dev:\n    owner: a\n\nowner: b\n",
		},
		"four spaces": {
			header + "environments:\n    prod: # live\n        owner: a\n",
			header + "environments:\n    prod: # live\n        images:\n          refresh:\n            " + line + "        owner: a\n",
		},
		"another reference": {
			header + "environments:\n  prod:\n    images:\n      refresh:\n        db:1: \"1\"\n",
			header + "environments:\n  prod:\n    images:\n      refresh:\n        " + line + "        db:1: \"1\"\n",
		},
		"an earlier refresh": {
			header + "environments:\n  prod:\n    images:\n      refresh:\n        # it crashed\n        " + reference + ": \"2025-01-01\" # see below\n        db:1: \"1\"\n",
			header + "environments:\n  prod:\n    images:\n      refresh:\n        # it crashed\n        " + reference + ": \"" + stamp + "\" # see below\n        db:1: \"1\"\n",
		},
		"an earlier refresh without quotes": {
			header + "environments: {prod: {images: {refresh: {" + reference + ": one}}}}\n",
			header + "environments: {prod: {images: {refresh: {" + reference + ": \"" + stamp + "\"}}}}\n",
		},
		"CRLF": {
			strings.ReplaceAll(header+"environments:\n  prod:\n    owner: a\n", "\n", "\r\n"),
			strings.ReplaceAll(header+"environments:\n  prod:\n    images:\n      refresh:\n        "+line+"    owner: a\n", "\n", "\r\n"),
		},
		"a key without a value": {
			header + "environments:\n  prod:\n    images:\n    owner: a\n",
			header + "environments:\n  prod:\n    images:\n      refresh:\n        " + line + "    owner: a\n",
		},
	} {
		got, err := refreshed([]byte(c.before), "prod", reference, stamp)
		if err != nil || got != c.want {
			t.Errorf("%s: %v\n%s\nwant\n%s", name, err, got, c.want)
		}
	}
}

// However a file is written, it says the same as before and the refresh besides.
func TestRefreshedInAnyStyle(t *testing.T) {
	for name, before := range map[string]string{
		"flow":         header + "images: {policy: Track}\nenvironments: {prod: {owner: a}}\n",
		"empty maps":   header + "environments:\n  prod: {}\n",
		"all flow":     "{apiVersion: syncer.dev/v1alpha1, kind: Pipeline, environments: {prod: {owner: a}}}",
		"a mark":       "---\n" + header + "environments:\n  prod:\n    owner: a\n...\n",
		"CRLF":         strings.ReplaceAll(header+"environments:\n  prod:\n    owner: a\n", "\n", "\r\n"),
		"CR":           strings.ReplaceAll(header+"environments:\n  prod:\n    owner: a\n    images: {refresh: {"+reference+": 'one'}}\n", "\n", "\r"),
		"a block":      header + "environments:\n  prod:\n    owner: >-\n      a\n",
		"two lines":    header + "environments:\n  prod:\n    owner: a\n    images:\n      refresh:\n        " + reference + ": >-\n          one\n",
		"quoted keys":  header + "'environments':\n  \"prod\":\n    owner: a\n",
		"next line":    header + "environments:\n  prod:\n    owner: a\n    images:\n      refresh:\n        " + reference + ":\n          one\n",
		"not ASCII":    header + "environments:\n  prod:\n    owner: a\n    images: {refresh: {größe: \"☃\", " + reference + ": 'one'}} # äöü\n",
		"null":         header + "environments:\n  prod:\n    owner: a\n    images: ~\n",
		"as a subkey":  header + "environments:\n  prod:\n    owner: a\n    images:\n      fields:\n      - {kind: refresh, path: a}\n",
		"in the base":  header + "images: {refresh: {" + reference + ": base}}\nenvironments: {prod: {owner: a}}\n",
		"an anchor":    header + "environments:\n  prod: &p\n    owner: a\n",
		"a long value": header + "environments:\n  prod:\n    owner: a\nowner: " + strings.Repeat("long ", 40) + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			old, err := v1alpha1.DecodePipeline("before", []byte(before))
			if err != nil {
				t.Fatal(err)
			}
			after, err := refreshed([]byte(before), "prod", reference, stamp)
			if err != nil {
				t.Fatal(err)
			}
			now, err := v1alpha1.DecodePipeline("after", []byte(after))
			if err != nil {
				t.Fatalf("%v:\n%s", err, after)
			}
			was, is := old.For("prod"), now.For("prod")
			if is.Images.Refresh[reference] != stamp {
				t.Errorf("not refreshed:\n%s", after)
			}
			delete(was.Images.Refresh, reference)
			delete(is.Images.Refresh, reference)
			if len(was.Images.Refresh) != len(is.Images.Refresh) || was.Owner != is.Owner || was.Images.Policy != is.Images.Policy || len(was.Images.Fields) != len(is.Images.Fields) {
				t.Errorf("%+v became %+v", was, is)
			}
			if dev, before := now.For("dev"), old.For("dev"); dev.Images.Refresh[reference] != before.Images.Refresh[reference] || dev.Owner != before.Owner {
				t.Errorf("another environment was changed: %+v, %+v", before, dev)
			}
			again, err := refreshed([]byte(after), "prod", reference, "later")
			if err != nil || strings.Contains(again, stamp) || !strings.Contains(again, "later") {
				t.Errorf("a second refresh: %v\n%s", err, again)
			}
		})
	}
}

func TestRefreshedCannotAddToAnAlias(t *testing.T) {
	for name, before := range map[string]string{
		"an alias": header + "environments:\n  dev: {images: &i {policy: Pin}}\n  prod: {images: *i}\n",
		"a list":   "- a\n",
		"no YAML":  "a: [\n",
	} {
		if after, err := refreshed([]byte(before), "prod", reference, stamp); err == nil {
			t.Errorf("%s became:\n%s", name, after)
		}
	}
}

// A refresh that says what an earlier one said would return to its pin.
func TestEachRefreshIsNew(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	seen, text := map[string]bool{"": true}, ""
	for i, now := range []time.Time{at, at.Add(1), at.Add(time.Millisecond), at.Add(time.Millisecond), at.Add(-time.Hour), at.Add(time.Second)} {
		text = newText(now, text)
		if seen[text] {
			t.Errorf("%d: %s was there before", i, text)
		}
		seen[text] = true
	}
	for _, before := range []string{"", "one", "2025-01-01"} {
		if got := newText(at, before); got != stamp {
			t.Errorf("after %q: %s", before, got)
		}
	}
}

// The patch is a commit for `git am`, and reverting it brings the file back as it was.
func TestPatchIsACommit(t *testing.T) {
	long := header + "# line\n\nowner: a@example.com\n" + strings.Repeat("# more\n", 20) + "environments:\n  prod:\n    owner: b # called first\n  dev:\n    owner: c\n" + strings.Repeat("# and more\n", 20)
	for name, c := range map[string]struct {
		file, before string
	}{
		"new file":                       {"pipelines/web/pipeline.yaml", ""},
		"file with comments":             {"pipelines/web/pipeline.yaml", long},
		"earlier refresh":                {"pipelines/web/pipeline.yaml", long + "# x\n"},
		"short file":                     {"pipelines/web/pipeline.yaml", header},
		"one line":                       {"pipelines/web/pipeline.yaml", "{apiVersion: syncer.dev/v1alpha1, kind: Pipeline}\n"},
		"no newline at the end":          {"pipelines/web/pipeline.yaml", strings.TrimSuffix(header, "\n")},
		"change far from the open end":   {"pipelines/web/pipeline.yaml", strings.TrimSuffix(long, "\n")},
		"folder with spaces and umlauts": {"my pipelines/größe/pipeline.yaml", header + "owner: größe\n"},
		"CRLF":                           {"pipelines/web/pipeline.yaml", strings.ReplaceAll(long, "\n", "\r\n")},
		"CRLF, = and umlauts":            {"pipelines/größe/pipeline.yaml", strings.ReplaceAll(header+"owner: größe # a=b =20 \n", "\n", "\r\n")},
		"CRLF here and there":            {"pipelines/web/pipeline.yaml", header + "owner: a\r\n# x\n\r\n"},
		"CRLF without an end":            {"pipelines/web/pipeline.yaml", strings.TrimSuffix(strings.ReplaceAll(header, "\n", "\r\n"), "\r\n")},
		"lines that look like a patch":   {"pipelines/web/pipeline.yaml", header + "# x\n# ---\n#\n# diff --git a/x b/x\n# @@ -1 +1 @@\nowner: a\n"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, c.file)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			lab.Git(t, dir, "", "init", "-q")
			if c.before != "" {
				if err := os.WriteFile(path, []byte(c.before), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			lab.Git(t, dir, "", "add", "-A")
			lab.Git(t, dir, "", "commit", "-q", "--allow-empty", "-m", "before")

			first := applied(t, dir, c.file, c.before, stamp)
			second := applied(t, dir, c.file, first, "2026-02-03T04:05:06Z")
			if got := lab.Git(t, dir, "", "log", "-1", "--format=%an <%ae>|%aI|%s|%cn"); got != "Größe <dev@example.com>|2026-01-02T03:04:05+01:00|Refresh the digest of "+reference+" in prod|merger\n" {
				t.Errorf("the commit is %q", got)
			}
			if got := lab.Git(t, dir, "", "show", "--format=", "--numstat"); !strings.HasPrefix(got, "1\t1\t") {
				t.Errorf("the second refresh changes more than a line: %s", got)
			}
			lab.Git(t, dir, "", "revert", "--no-edit", "HEAD")
			if got := read(t, path); got != first || second == first {
				t.Errorf("reverted to\n%s\nwant\n%s", got, first)
			}
			lab.Git(t, dir, "", "revert", "--no-edit", "HEAD~2")
			if c.before == "" {
				if _, err := os.Stat(path); !os.IsNotExist(err) {
					t.Errorf("the file is still there: %v", err)
				}
			} else if got := read(t, path); got != c.before {
				t.Errorf("reverted to\n%s\nwant\n%s", got, c.before)
			}
		})
	}
}

// applied applies one refresh and returns what the file says then.
func applied(t *testing.T, dir, file, before, value string) string {
	t.Helper()
	after, err := refreshed([]byte(before), "prod", reference, value)
	if err != nil {
		t.Fatal(err)
	}
	refresh := Refresh{File: file, Before: before, After: after, Subject: "Refresh the digest of " + reference + " in prod"}
	patch := refresh.Patch("Größe <dev@example.com>", time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600)))
	lab.Git(t, dir, patch, "am", "-q")
	if got := read(t, filepath.Join(dir, file)); got != after {
		t.Errorf("git made\n%q\nwant\n%q", got, after)
	}
	return after
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

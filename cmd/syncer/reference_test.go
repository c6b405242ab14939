package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/commands"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/reconcile"
	"github.com/syncerdev/syncer/pkg/setup"
	"github.com/syncerdev/syncer/pkg/view"
)

var update = flag.Bool("update", false, "rewrite docs/reference/cli.md")

var referenceFolder = filepath.Join("..", "..", "docs", "reference")

// TestReference holds docs/reference/cli.md to the commands; -update rewrites it.
func TestReference(t *testing.T) {
	file := filepath.Join(referenceFolder, "cli.md")
	want, err := commandReference()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s is stale; run `go test ./cmd/syncer -run TestReference -update` (-want +got):\n%s", file, diff)
	}
}

// Help is read in terminals of 80 columns. The text of cobra itself does not count.
func TestHelpFitsTheTerminal(t *testing.T) {
	var differs bool
	root := newRootCommand(&differs)
	commands := pages(root)
	if len(commands) < 10 {
		t.Fatalf("%d commands", len(commands))
	}
	for _, command := range commands {
		help := command.Long + "\n" + command.UsageString()
		for line := range strings.Lines(help) {
			if line = strings.TrimRight(line, "\n"); utf8.RuneCountInString(line) > 80 {
				t.Errorf("%s --help: %d columns: %s", command.CommandPath(), utf8.RuneCountInString(line), line)
			}
		}
	}
}

const referenceHeader = `# Commands

This page is generated from the commands. [output.md](output.md) describes what they print with ` + "`-o json`" + `,
[errors.md](errors.md) what to do about errors.

`

// commandReference prints every command on one page.
func commandReference() ([]byte, error) {
	var differs bool
	root := newRootCommand(&differs)
	root.DisableAutoGenTag = true
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	out := bytes.NewBufferString(referenceHeader)
	for _, command := range pages(root) {
		var page bytes.Buffer
		if err := doc.GenMarkdown(command, &page); err != nil {
			return nil, fmt.Errorf("%s: %w", command.CommandPath(), err)
		}
		// The links that cobra adds lead to files of one command each.
		text, _, _ := strings.Cut(page.String(), "### SEE ALSO\n")
		out.WriteString(strings.TrimRight(text, "\n") + "\n\n")
	}
	return append(bytes.TrimRight(out.Bytes(), "\n"), '\n'), nil
}

// pages lists the commands that have a section: the root, its commands, and the ones below those. One section stands
// for all shells of completion.
func pages(root *cobra.Command) []*cobra.Command {
	commands := []*cobra.Command{root}
	for _, command := range root.Commands() {
		if !command.IsAvailableCommand() {
			continue
		}
		commands = append(commands, command)
		if command.Name() != "completion" {
			commands = append(commands, command.Commands()...)
		}
	}
	return commands
}

// validateSchema checks a JSON document against docs/reference/schemas/NAME.schema.json.
func validateSchema(name string, doc []byte) error {
	file := filepath.Join(referenceFolder, "schemas", name+".schema.json")
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource(name, parsed); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	schema, err := compiler.Compile(name)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
	if err != nil {
		return fmt.Errorf("the document is not JSON: %w", err)
	}
	return schema.Validate(value)
}

var (
	aCommit = strings.Repeat("0123456789", 4)
	aDigest = "sha256:" + strings.Repeat("ab12", 16)
	anID    = manifest.ID{APIVersion: "batch/v1", Kind: "CronJob", Namespace: "data-prod", Name: "ingest"}
	aTime   = time.Date(2026, 3, 2, 9, 30, 0, 5, time.UTC)
)

// fullPass has a value in every field. Only diff gives the fields of a change.
func fullPass(fields []manifest.FieldChange) commands.Pass {
	return commands.Pass{
		Commit: aCommit, Rewound: aCommit, Subject: "subject", Author: "author",
		Targets: []reconcile.Result{{
			Pipeline: "ingest", Environment: "prod", Result: reconcile.Failed, Error: "an error", Message: "1 updated", Owner: "team",
			Changes: []reconcile.Change{{
				Object: anID, Action: manifest.Hold, Fields: fields, Taken: []manifest.Taken{{Path: "spec.replicas", Manager: "kubectl-scale"}},
				Held: &reconcile.HeldChange{Action: manifest.Update, Reason: manifest.HeldRunning, Message: "the application is RUNNING"},
			}},
			Images: []reconcile.Image{{Object: anID, Path: "spec.image", Reference: "registry.example.com/a:v1", Digest: aDigest}},
			Drift:  []drift.Finding{fullFinding()}, Warnings: []string{"a warning"},
		}},
	}
}

func fullFinding() drift.Finding {
	return drift.Finding{
		Pipeline: "ingest", Environment: "prod", Kind: drift.Modified, Severity: drift.Warning, Object: anID,
		Path: "spec.replicas", Desired: 1, Live: map[string]any{"any": "value"},
		User: "alice", FirstSeen: &aTime, AgeSeconds: 60, Manager: "kubectl-edit", Operation: "Update", Subresource: "scale", Time: &aTime,
		File: "pipelines/ingest/base/cronjob.yaml", Line: 3, Message: "kubectl-edit changed it",
	}
}

var anUnpinned = drift.Unpinned{Object: anID, Path: "spec.task", Reference: "registry.example.com/task:v1", Message: "looks like an image, not pinned; name it"}

func fullReport() drift.Report {
	return drift.Report{
		GeneratedAt: aTime,
		Source:      drift.Source{URL: "https://git.example.com/data/pipelines.git", Branch: "main", Commit: aCommit},
		Findings:    []drift.Finding{fullFinding()},
		Skew: []drift.Skew{{
			Pipeline: "ingest", Environments: []string{"staging", "prod"}, Object: anID, Path: "spec.schedule",
			Values: map[string]any{"staging": "0 3 * * *", "prod": 4}, Declared: true, Expected: true, Message: "m",
		}},
		Targets: []drift.Target{{
			Pipeline: "ingest", Environment: "prod", State: drift.Ready, Message: "m", Error: "e", Commit: aCommit, Author: "Ada", Subject: "s",
			DeployedAt: &aTime, Behind: 2, Images: []drift.Image{{Reference: "registry.example.com/a:v1", Tag: "v1", Digest: aDigest}},
			Unpinned:    []drift.Unpinned{anUnpinned},
			Deployments: []drift.Deployment{fullDeployment()},
		}},
		Past:  []drift.Past{{Finding: fullFinding(), EndedAt: aTime, Ending: drift.Corrected}},
		Quiet: []drift.Quiet{{Rule: "HorizontalPodAutoscaler", Reason: "r", Count: 1}},
	}
}

func fullStatus() view.Status {
	return view.Status{Targets: []view.TargetStatus{{
		Pipeline: "ingest", Environment: "prod", Commit: aCommit, Ready: true, Drifted: true, Held: true,
		Message: "a message", Age: "5m", DeployedAt: &aTime,
		Images: []v1alpha1.DeployedImage{{Reference: "registry.example.com/a", Tag: "v1.4.7", Digest: aDigest}},
	}}}
}

func fullChecks() setup.Checks {
	return setup.Checks{Checks: []setup.Check{
		{Check: "rights", Environments: []string{"prod"}, Status: setup.CheckFail, Message: "may not patch configmaps", Fix: "add a rule"},
	}}
}

func fullImages() view.Images {
	return view.Images{Pipelines: []view.PipelineImages{{
		Pipeline: "ingest",
		Unpinned: []view.UnpinnedImage{{Environment: "prod", Unpinned: anUnpinned}},
		Images: []view.ImageRow{{
			Repository: "registry.example.com/a", Differs: true,
			Environments: map[string]view.ImageCell{
				"prod": {Reference: "registry.example.com/a:v1", Digest: aDigest, PinnedAt: &aTime, Commit: aCommit},
			},
		}},
	}}}
}

func fullHistory() view.History {
	return view.History{Pipeline: "ingest", Environment: "prod", Deployments: []drift.Deployment{fullDeployment()}}
}

func fullDeployment() drift.Deployment {
	return drift.Deployment{
		Number: 3, Commit: aCommit, Author: "author", Subject: "subject", Time: aTime, Outcome: "Applied",
		Images:     []drift.Image{{Reference: "registry.example.com/a", Tag: "v1", Digest: aDigest}},
		RollbackOf: 1, HealthyAt: &aTime, AllowedBy: "another author",
	}
}

// oneTarget is a pass over one target with a result of its own.
func oneTarget(result reconcile.Verdict, changes ...reconcile.Change) commands.Pass {
	return commands.Pass{Commit: aCommit, Targets: []reconcile.Result{{
		Pipeline: "a", Environment: "b", Result: result, Changes: append([]reconcile.Change{}, changes...),
		Images: []reconcile.Image{}, Warnings: []string{},
	}}}
}

func oneFinding(kind drift.Kind) drift.Report {
	return drift.Report{
		GeneratedAt: aTime, Source: drift.Source{Commit: aCommit}, Skew: []drift.Skew{},
		Targets: []drift.Target{}, Past: []drift.Past{}, Quiet: []drift.Quiet{},
		Findings: []drift.Finding{{Pipeline: "a", Environment: "b", Kind: kind, Severity: drift.Critical, Object: anID, Message: "m"}},
	}
}

// TestSchemas holds the schemas of -o json to the values that the commands print, from both sides: a key that the
// schema does not have fails, and so does one that it has and the value no longer gives.
func TestSchemas(t *testing.T) {
	someFields := []manifest.FieldChange{{Path: "spec.schedule", From: "a", To: []any{1}}}
	for _, c := range []struct {
		schema, name string
		value        any
		full         bool
	}{
		{schema: "sync", name: "nothing to do", value: commands.Pass{Commit: aCommit, Targets: []reconcile.Result{}}},
		{schema: "sync", name: "an empty target", value: oneTarget(reconcile.Unchanged)},
		{schema: "sync", name: "a held target", value: oneTarget(reconcile.Held)},
		{schema: "sync", name: "every field", value: fullPass(nil)},
		{schema: "diff", name: "nothing to do", value: commands.Pass{Commit: aCommit, Targets: []reconcile.Result{}}},
		{schema: "diff", name: "an empty target", value: oneTarget(reconcile.Unchanged)},
		{schema: "diff", name: "a held target", value: oneTarget(reconcile.Held)},
		{schema: "diff", name: "a change without fields", value: oneTarget(reconcile.Applied, reconcile.Change{
			Object: anID, Action: manifest.Create, Fields: []manifest.FieldChange{}, Taken: []manifest.Taken{},
		})},
		{schema: "diff", name: "a side that is not there", value: fullPass([]manifest.FieldChange{{Path: "spec"}})},
		{schema: "diff", name: "every field", value: fullPass(someFields), full: true},
		{schema: "drift", name: "no findings", value: drift.Report{
			GeneratedAt: aTime, Source: drift.Source{Commit: aCommit}, Findings: []drift.Finding{}, Skew: []drift.Skew{},
			Targets: []drift.Target{}, Past: []drift.Past{}, Quiet: []drift.Quiet{},
		}},
		{schema: "drift", name: "a finding without an author", value: oneFinding(drift.Missing)},
		{schema: "drift", name: "an application that was not run again", value: oneFinding(drift.NotRerun)},
		{schema: "drift", name: "a change that waits", value: oneFinding(drift.Held)},
		{schema: "drift", name: "a tag that moved", value: oneFinding(drift.TagMoved)},
		{schema: "drift", name: "an image that is gone", value: oneFinding(drift.ImageMissing)},
		{schema: "drift", name: "every field", value: fullReport(), full: true},
		{schema: "status", name: "nothing deployed", value: view.Status{Targets: []view.TargetStatus{}}},
		{schema: "status", name: "never applied", value: view.Status{Targets: []view.TargetStatus{
			{Pipeline: "a", Environment: "b", Images: []v1alpha1.DeployedImage{}},
		}}},
		{schema: "status", name: "every field", value: fullStatus(), full: true},
		{schema: "check", name: "nothing", value: setup.Checks{Checks: []setup.Check{}}},
		{schema: "check", name: "all is well", value: setup.Checks{Checks: []setup.Check{
			{Check: "git", Environments: []string{}, Status: setup.CheckOK, Message: "m"},
		}}},
		{schema: "check", name: "every field", value: fullChecks(), full: true},
		{schema: "images", name: "nothing deployed", value: view.Images{Pipelines: []view.PipelineImages{}}},
		{schema: "images", name: "no image", value: view.Images{Pipelines: []view.PipelineImages{{Pipeline: "a", Images: []view.ImageRow{}, Unpinned: []view.UnpinnedImage{}}}}},
		{schema: "images", name: "no pin", value: view.Images{Pipelines: []view.PipelineImages{{Pipeline: "a", Images: []view.ImageRow{
			{Repository: "r", Environments: map[string]view.ImageCell{"b": {Reference: "r:v1", Digest: aDigest}}},
		}, Unpinned: []view.UnpinnedImage{}}}}},
		{schema: "images", name: "every field", value: fullImages(), full: true},
		{schema: "history", name: "nothing deployed", value: view.History{Pipeline: "a", Environment: "b", Deployments: []drift.Deployment{}}},
		{schema: "history", name: "a failure", value: view.History{Pipeline: "a", Environment: "b", Deployments: []drift.Deployment{
			{Number: 1, Commit: aCommit, Time: aTime, Outcome: "Failed", Images: []drift.Image{{Reference: "{{ image }}"}}},
		}}},
		{schema: "history", name: "every field", value: fullHistory(), full: true},
	} {
		t.Run(c.schema+"/"+c.name, func(t *testing.T) {
			if c.full {
				wholly(t, reflect.ValueOf(c.value), c.schema)
			}
			document := marshal(t, c.value)
			if err := validateSchema(c.schema, document); err != nil {
				t.Fatal(err)
			}
			holdsEveryKey(t, c.schema, document)
		})
	}
}

// The keys of a list are there even where it is empty: scripts walk it without asking for null.
func TestSchemasRefuse(t *testing.T) {
	for _, c := range []struct {
		schema, name string
		value        any
	}{
		{"sync", "null for a list", commands.Pass{Commit: aCommit}},
		{"sync", "the fields of a diff", fullPass([]manifest.FieldChange{{Path: "spec"}})},
		{"diff", "a change without its fields", fullPass(nil)},
		{"images", "null for a list", view.Images{}},
		{"history", "null for a list", view.History{Pipeline: "a", Environment: "b"}},
		{"drift", "null for a list", drift.Report{GeneratedAt: aTime, Source: drift.Source{Commit: aCommit}}},
		{"check", "null for a list", setup.Checks{}},
		{"status", "null for a list", view.Status{}},
		{"status", "a missing key", map[string]any{}},
	} {
		t.Run(c.schema+"/"+c.name, func(t *testing.T) {
			if err := validateSchema(c.schema, marshal(t, c.value)); err == nil {
				t.Error("the schema accepts it")
			}
		})
	}
}

func marshal(t *testing.T, value any) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := printJSON(&out, value); err != nil { // as the commands print it
		t.Fatal(err)
	}
	return out.Bytes()
}

// wholly fails where a field has no value: a key that is left out when empty would go untested.
func wholly(t *testing.T, value reflect.Value, at string) {
	t.Helper()
	if value.IsZero() {
		t.Errorf("%s has no value; fill it in this test", at)
		return
	}
	switch value.Kind() {
	case reflect.Struct:
		if value.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range value.NumField() {
			if field := value.Type().Field(i); field.IsExported() && field.Tag.Get("json") != "-" {
				wholly(t, value.Field(i), at+"."+field.Name)
			}
		}
	case reflect.Slice:
		for i := range value.Len() {
			wholly(t, value.Index(i), fmt.Sprintf("%s[%d]", at, i))
		}
	case reflect.Pointer:
		wholly(t, value.Elem(), at)
	}
}

// holdsEveryKey adds an unknown key to each object of a document in turn, and takes each key away: the schema must
// refuse both. Values of a cluster's own objects are free, and only a range chooses a tag.
func holdsEveryKey(t *testing.T, schema string, document []byte) {
	t.Helper()
	free, optional := []string{"desired", "live", "from", "to", "values"}, []string{"tag"}
	var tree any
	if err := json.Unmarshal(document, &tree); err != nil {
		t.Fatal(err)
	}
	var visit func(node any, at string)
	visit = func(node any, at string) {
		switch node := node.(type) {
		case map[string]any:
			node["unheardOf"] = true
			if validateSchema(schema, marshal(t, tree)) == nil {
				t.Errorf("the schema accepts an unknown key in %s", cmp.Or(at, "the document"))
			}
			delete(node, "unheardOf")
			for _, key := range slices.Sorted(maps.Keys(node)) {
				value := node[key]
				delete(node, key)
				if !slices.Contains(optional, key) && validateSchema(schema, marshal(t, tree)) == nil {
					t.Errorf("the schema accepts %s without %s", cmp.Or(at, "the document"), key)
				}
				node[key] = value
				if !slices.Contains(free, key) {
					visit(node[key], at+"."+key)
				}
			}
		case []any:
			for i, item := range node {
				visit(item, fmt.Sprintf("%s[%d]", at, i))
			}
		}
	}
	visit(tree, "")
}

// TestExamplesInDocs reads what the pages show as examples: complete files as syncer reads them, output by its schema.
func TestExamplesInDocs(t *testing.T) {
	t.Run("configuration", func(t *testing.T) {
		seen := map[string]int{}
		for _, block := range codeBlocks(t, "configuration.md", "yaml") {
			if !strings.HasPrefix(block.text, "apiVersion: "+v1alpha1.APIVersion+"\n") {
				continue
			}
			_, kind, _ := strings.Cut(block.text, "\nkind: ")
			kind, _, _ = strings.Cut(kind, "\n")
			seen[kind]++
			var err error
			switch kind {
			case "Config":
				_, err = v1alpha1.DecodeConfig(block.name, []byte(block.text))
			case "Pipeline":
				_, err = v1alpha1.DecodePipeline(block.name, []byte(block.text))
			default:
				err = fmt.Errorf("%s: kind %q is none that syncer reads from a file", block.name, kind)
			}
			if err != nil {
				t.Error(err)
			}
		}
		for _, kind := range []string{"Config", "Pipeline"} {
			if seen[kind] == 0 {
				t.Errorf("configuration.md shows no complete file of kind %s", kind)
			}
		}
	})
	t.Run("output", func(t *testing.T) {
		seen := map[string]int{}
		for _, block := range codeBlocks(t, "output.md", "json") {
			seen[block.heading]++
			if err := validateSchema(block.heading, []byte(block.text)); err != nil {
				t.Errorf("%s: %v", block.name, err)
			}
		}
		for _, command := range []string{"sync", "diff", "drift", "status", "images", "history", "check"} {
			if seen[command] == 0 {
				t.Errorf("output.md shows no JSON under %q", command)
			}
		}
	})
}

type codeBlock struct{ name, heading, text string }

// codeBlocks lists the code blocks of one language on a reference page, each with the heading that it stands under.
func codeBlocks(t *testing.T, page, language string) []codeBlock {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(referenceFolder, page))
	if err != nil {
		t.Fatal(err)
	}
	var blocks []codeBlock
	var heading string
	var open *codeBlock // the block that a line belongs to
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		fence, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case isFence && open == nil:
			open = &codeBlock{name: fmt.Sprintf("%s:%d", page, number), heading: heading}
			if fence != language {
				open.name = ""
			}
		case isFence:
			if open.name != "" {
				blocks = append(blocks, *open)
			}
			open = nil
		case open != nil:
			open.text += line
		case strings.HasPrefix(line, "#"):
			heading = strings.TrimSpace(strings.TrimLeft(line, "#"))
		}
	}
	if open != nil {
		t.Fatalf("%s: a code block does not end", page)
	}
	return blocks
}

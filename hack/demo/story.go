package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

const (
	pipeline = "api-ingest"
	newImage = registryHost + "/data/api-ingest:v1.0.0"
)

// deadline bounds each act of the story. A slow machine needs some seconds; an act that fails says why.
const deadline = 3 * time.Minute

// story is a first deployment, a merge, a hand edit, a revert, and a deployment while a job runs. Each act asks the
// cluster, and not syncer, whether it succeeded.
type story struct {
	*stage
	first map[string]string // environment -> image of the first deployment
}

// play runs the story.
func (s *stage) play(ctx context.Context) error {
	tale := story{stage: s}
	acts := []struct {
		title string
		do    func(context.Context) error
	}{
		{"the first deployment: every pipeline in dev, staging and prod, by digest", tale.deploy},
		{"a merge that changes one pipeline: live in three environments", tale.merge},
		{"a hand edit in prod: reported as drift, with its author", tale.edit},
		{"the merge reverted: the earlier digests are back, though a tag has moved since", tale.revert},
		{"a deploy while a Spark job runs: the run survives, and the change follows its end", tale.respect},
	}
	for i, act := range acts {
		fmt.Printf("\n%d. %s\n", i+1, act.title)
		began := time.Now()
		ctx, cancel := context.WithTimeout(ctx, deadline)
		err := act.do(ctx)
		cancel()
		if err != nil {
			return fmt.Errorf("act %d did not hold: %w (syncer's log: %s)", i+1, err, filepath.Join(s.dir, "syncer.log"))
		}
		fmt.Printf("   held, after %.1f s\n", time.Since(began).Seconds())
	}
	fmt.Println("\nevery act held")
	return nil
}

func (t *story) deploy(ctx context.Context) error {
	const pipelines = 7
	var last string
	err := until(ctx, func() (bool, error) {
		out, err := t.run(ctx, "status", "-o", "json")
		if err != nil {
			return false, err
		}
		var status struct {
			Targets []struct {
				Pipeline, Environment, Message string
				Ready                          bool
			}
		}
		if err := json.Unmarshal([]byte(out), &status); err != nil {
			return false, err
		}
		ready := 0
		for _, target := range status.Targets {
			if target.Ready {
				ready++
			} else {
				last = fmt.Sprintf("%s@%s: %s", target.Pipeline, target.Environment, target.Message)
			}
		}
		return ready == pipelines*len(environments), nil
	})
	if err != nil {
		return fmt.Errorf("waiting until all targets are ready: %w (%s)", err, last)
	}
	fmt.Printf("   %d targets are ready\n", pipelines*len(environments))
	images, err := t.images(ctx)
	if err != nil {
		return err
	}
	for environment, image := range images {
		if !strings.Contains(image, "@sha256:") {
			return fmt.Errorf("%s runs %s, which is not a digest", environment, image)
		}
	}
	t.first = images
	t.show(images)
	return nil
}

// images asks the cluster which image the pipeline has in each environment.
func (t *story) images(ctx context.Context) (map[string]string, error) {
	images := map[string]string{}
	for _, environment := range environments {
		image, err := t.kubectl(ctx, "-n", "data-"+environment, "get", "cronjob", pipeline,
			"-o", "jsonpath={.spec.jobTemplate.spec.template.spec.containers[0].image}")
		if err != nil {
			return nil, err
		}
		images[environment] = image
	}
	return images, nil
}

func (t *story) show(images map[string]string) {
	for _, environment := range environments {
		repository, digest, _ := strings.Cut(images[environment], "@")
		fmt.Printf("   %-8s %s@%.15s...\n", environment, strings.TrimPrefix(repository, registryHost+"/data/"), digest)
	}
}

func (t *story) merge(ctx context.Context) error {
	digest, err := t.push(ctx, newImage, newImage)
	if err != nil {
		return err
	}
	for _, environment := range environments {
		file := filepath.Join(t.work(), "pipelines", pipeline, "overlays", environment, "kustomization.yaml")
		if err := replaceTag(file, "v1.0.0"); err != nil {
			return err
		}
	}
	for _, args := range [][]string{
		{"switch", "--quiet", "-c", "api-ingest-v1"},
		{"commit", "--quiet", "-am", "api-ingest v1.0.0"},
		{"switch", "--quiet", "main"},
		{"merge", "--quiet", "--no-ff", "-m", "Merge api-ingest-v1", "api-ingest-v1"},
		{"push", "--quiet"},
	} {
		if _, err := t.runGit(ctx, args...); err != nil {
			return err
		}
	}
	return t.await(ctx, func(string) string { return newImage + "@" + digest })
}

var newTag = regexp.MustCompile(`newTag: .*`)

func replaceTag(file, tag string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return os.WriteFile(file, newTag.ReplaceAll(text, []byte(`newTag: "`+tag+`"`)), 0o644)
}

// await waits until every environment runs the image that want names.
func (t *story) await(ctx context.Context, want func(environment string) string) error {
	var images map[string]string
	err := until(ctx, func() (same bool, err error) {
		if images, err = t.images(ctx); err != nil {
			return false, err
		}
		for _, environment := range environments {
			if images[environment] != want(environment) {
				return false, nil
			}
		}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the image: %w; live: %v", err, images)
	}
	t.show(images)
	return nil
}

func (t *story) edit(ctx context.Context) error {
	_, err := t.kubectl(ctx, "-n", "data-prod", "patch", "cronjob", pipeline, "--field-manager=kubectl-edit", "-p", `{"spec":{"schedule":"0 3 * * *"}}`)
	if err != nil {
		return err
	}
	report, err := t.run(ctx, "drift", "--env", "prod")
	if failed, ok := errors.AsType[*commandError](err); !ok || failed.code != 1 {
		return fmt.Errorf("syncer drift should end with 1: %w", err)
	}
	for _, want := range []string{"spec.schedule", "0 3 * * *", "kubectl-edit"} {
		if !strings.Contains(report, want) {
			return fmt.Errorf("the report does not say %q:\n%s", want, report)
		}
	}
	fmt.Println("   " + strings.ReplaceAll(report, "\n", "\n   "))
	return nil
}

const (
	sparkPipeline = "session-enrichment"
	sparkTarget   = sparkPipeline + "@dev"
)

// respect changes a SparkApplication while it runs.
func (t *story) respect(ctx context.Context) error {
	// A short run keeps the wait for its end short.
	if err := t.rewriteSpark(ctx, "\n  name: "+sparkPipeline+"\n", "\n  name: "+sparkPipeline+"\n  annotations: {lab.syncer.dev/run-seconds: \"20\"}\n", "--mode=incremental", "--mode=full"); err != nil {
		return err
	}
	var run string
	if err := until(ctx, func() (bool, error) {
		app, err := t.spark(ctx)
		run = app
		return strings.Contains(app, "--mode=full") && strings.HasSuffix(app, " RUNNING"), err
	}); err != nil {
		return fmt.Errorf("waiting until it runs: %w; it is %s", err, run)
	}
	if err := t.rewriteSpark(ctx, "--mode=full", "--mode=repair"); err != nil {
		return err
	}
	if err := until(ctx, func() (bool, error) {
		status, err := t.run(ctx, "status", sparkPipeline, "--env", "dev", "-o", "json")
		return strings.Contains(status, `"held": true`), err
	}); err != nil {
		return fmt.Errorf("waiting until the change is held: %w", err)
	}
	app, err := t.spark(ctx)
	if err != nil {
		return err
	}
	if app != run {
		return fmt.Errorf("the run did not survive: it was %s and is %s", run, app)
	}
	fmt.Printf("   %s  the change is held, and the run goes on\n", sparkTarget)
	if err := until(ctx, func() (bool, error) {
		app, err = t.spark(ctx)
		return strings.Contains(app, "--mode=repair"), err
	}); err != nil {
		return fmt.Errorf("waiting for the change: %w; it is %s", err, app)
	}
	fmt.Printf("   %s  the run has ended, and the change is out\n", sparkTarget)
	return nil
}

// spark is the application that runs in dev: the arguments, the number of the object's run, and its state.
func (t *story) spark(ctx context.Context) (string, error) {
	return t.kubectl(ctx, "-n", "data-dev", "get", "sparkapplication", sparkPipeline, "-o", "jsonpath={.spec.arguments} {.status.submissionID} {.status.applicationState.state}")
}

// rewriteSpark replaces texts of the application's manifest, in pairs, and pushes the result.
func (t *story) rewriteSpark(ctx context.Context, pairs ...string) error {
	file := filepath.Join(t.work(), "pipelines", sparkPipeline, "base", "sparkapplication.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	changed := strings.NewReplacer(pairs...).Replace(string(text))
	if changed == string(text) {
		return fmt.Errorf("%s has nothing of %q", file, pairs)
	}
	if err := os.WriteFile(file, []byte(changed), 0o644); err != nil {
		return err
	}
	for _, args := range [][]string{{"commit", "--quiet", "-am", "Session enrichment in another mode"}, {"push", "--quiet"}} {
		if _, err := t.runGit(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

func (t *story) revert(ctx context.Context) error {
	// Another image is pushed under the tag that prod ran first. A tool that looks tags up again would deploy it.
	tag, _, _ := strings.Cut(t.first["prod"], "@")
	if _, err := t.push(ctx, tag, "other bytes"); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"revert", "--no-edit", "-m", "1", "HEAD"},
		{"push", "--quiet"},
	} {
		if _, err := t.runGit(ctx, args...); err != nil {
			return err
		}
	}
	if err := t.await(ctx, func(environment string) string { return t.first[environment] }); err != nil {
		return err
	}
	schedule, err := t.kubectl(ctx, "-n", "data-prod", "get", "cronjob", pipeline, "-o", "jsonpath={.spec.schedule}")
	if err != nil {
		return err
	}
	if schedule == "0 3 * * *" {
		return errors.New("the hand edit in prod is still there, though the revert changed the object")
	}
	return nil
}

// until asks repeatedly until the answer is yes, or there is an error, or the context ends.
func until(ctx context.Context, ask func() (bool, error)) error {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		done, err := ask()
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

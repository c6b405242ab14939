package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

var environments = []string{"dev", "staging", "prod"}

// perTeam pipelines share a namespace in each environment, as those of a team do.
const perTeam = 10

func pipeline(i int) string { return fmt.Sprintf("p%04d", i) }

func team(i int) string { return fmt.Sprintf("team-%03d", i/perTeam) }

func namespace(i int, environment string) string { return team(i) + "-" + environment }

func recordName(i int, environment string) string { return pipeline(i) + "." + environment }

// workload is the repository of the benchmark: pipelines with a base, an overlay for each environment, and a component
// that all of them share. Each target has four objects.
type workload struct {
	dir       string
	pipelines int
	image     func(team string) string // a reference by digest
	platform  int                      // the version of the shared component
	release   map[int]int              // by pipeline
	changed   string                   // what a release changes, as -change says
	places    func(i int) []string     // the environments of a pipeline; nil: all three
}

// begin writes everything, commits and pushes it to url.
func (w *workload) begin(ctx context.Context, url string) (commit string, err error) {
	w.release = map[int]int{}
	if err := w.writeComponent(); err != nil {
		return "", err
	}
	for i := range w.pipelines {
		if err := w.writePipeline(i); err != nil {
			return "", err
		}
	}
	for _, args := range [][]string{
		{"init", "--quiet", "--initial-branch=main"},
		{"config", "user.name", "Ada Data"}, {"config", "user.email", "ada@example.com"}, {"config", "gc.auto", "0"},
		{"config", "http.postBuffer", "512m"}, // git http-backend reads no body in chunks, which is how git sends a large pack
		{"remote", "add", "origin", url},
	} {
		if _, err := w.git(ctx, args...); err != nil {
			return "", err
		}
	}
	return w.push(ctx, "All pipelines")
}

// commitTo commits a new release of one pipeline, which changes its targets in all environments.
func (w *workload) commitTo(ctx context.Context, i int) (commit string, err error) {
	w.release[i]++
	if err := w.writeBase(i); err != nil {
		return "", err
	}
	return w.push(ctx, fmt.Sprintf("%s: release %d", pipeline(i), w.release[i]))
}

// commitToAll commits a new version of the shared component, which changes every object.
func (w *workload) commitToAll(ctx context.Context) (commit string, err error) {
	w.platform++
	if err := w.writeComponent(); err != nil {
		return "", err
	}
	return w.push(ctx, fmt.Sprintf("Platform %d", w.platform))
}

func (w *workload) push(ctx context.Context, subject string) (commit string, err error) {
	for _, args := range [][]string{
		{"add", "--all"}, {"commit", "--quiet", "-m", subject}, {"push", "--quiet", "origin", "HEAD:main"},
	} {
		if _, err := w.git(ctx, args...); err != nil {
			return "", err
		}
	}
	return w.git(ctx, "rev-parse", "HEAD")
}

func (w *workload) git(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", w.dir}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, bytes.TrimSpace(out))
	}
	return strings.TrimSpace(string(out)), nil
}

// overlay is the folder of a target.
func (w *workload) overlay(i int, environment string) string {
	return filepath.Join(w.dir, "pipelines", pipeline(i), "overlays", environment)
}

func (w *workload) writeComponent() error {
	return w.write("components/platform/kustomization.yaml", fmt.Sprintf(`apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
commonAnnotations: {example.com/platform: "%d"}
`, w.platform))
}

func (w *workload) writePipeline(i int) error {
	at := "pipelines/" + pipeline(i) + "/"
	// In progress, a target never becomes healthy, and does not count as failed while the benchmark runs.
	if err := w.write(at+"pipeline.yaml", fmt.Sprintf("apiVersion: syncer.dev/v1alpha1\nkind: Pipeline\nowner: %s\nhealthTimeout: 24h\n", team(i))); err != nil {
		return err
	}
	for n, environment := range w.of(i) {
		if err := w.writeOverlay(at+"overlays/"+environment+"/", i, environment, n); err != nil {
			return err
		}
	}
	return w.writeBase(i)
}

// of lists the environments of a pipeline.
func (w *workload) of(i int) []string {
	if w.places == nil {
		return environments
	}
	return w.places(i)
}

func (w *workload) writeOverlay(at string, i int, environment string, size int) error {
	if err := w.write(at+"kustomization.yaml", fmt.Sprintf(`apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: %s
resources: [../../base]
components: [../../../../components/platform]
labels:
- pairs: {example.com/environment: %s}
patches:
- path: size.yaml
`, namespace(i, environment), environment)); err != nil {
		return err
	}
	return w.write(at+"size.yaml", fmt.Sprintf(`apiVersion: sparkoperator.k8s.io/v1beta2
kind: SparkApplication
metadata: {name: %s}
spec:
  executor: {instances: %d, memory: %dg}
`, pipeline(i), 1+size, 4+2*size))
}

// writeBase writes the base of a pipeline at its present release.
func (w *workload) writeBase(i int) error {
	release := w.release[i]
	shown := map[string]int{"all": 0, "config": 0, "spec": 0}
	shown[w.changed] = release
	settings := max(shown["all"], shown["config"])
	name, at := pipeline(i), "pipelines/"+pipeline(i)+"/base/"
	files := map[string]string{
		"kustomization.yaml":    fmt.Sprintf(baseKustomization, shown["all"], name),
		"serviceaccount.yaml":   fmt.Sprintf("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: %s}\n", name),
		"settings.yaml":         fmt.Sprintf(baseSettings, name, settings, name),
		"sparkapplication.yaml": fmt.Sprintf(baseSpark, name, w.image(team(i)), shown["spec"], name, name),
		"cronjob.yaml":          fmt.Sprintf(baseCronJob, name, name, w.image(team(i)), name),
	}
	for file, text := range files {
		if err := w.write(at+file, text); err != nil {
			return err
		}
	}
	return nil
}

func (w *workload) write(file, text string) error {
	path := filepath.Join(w.dir, file)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

const (
	baseKustomization = `apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [serviceaccount.yaml, settings.yaml, sparkapplication.yaml, cronjob.yaml]
commonAnnotations: {example.com/release: "%d"}
labels:
- pairs: {app.kubernetes.io/name: %s, app.kubernetes.io/part-of: data}
`
	baseSettings = `apiVersion: v1
kind: ConfigMap
metadata: {name: %s-settings}
data:
  RELEASE: "%d"
  LAKE_BUCKET: example-lake
  OUTPUT_TABLE: lake.%s
  CLOSE_OF_DAY: "03:00"
  REPORTING_CURRENCY: EUR
`
	baseSpark = `apiVersion: sparkoperator.k8s.io/v1beta2
kind: SparkApplication
metadata: {name: %s}
spec:
  type: Python
  pythonVersion: "3"
  mode: cluster
  sparkVersion: 3.5.6
  image: %s
  imagePullPolicy: IfNotPresent
  mainApplicationFile: local:///app/main.py
  arguments: [--partition=yesterday, --release=%d]
  restartPolicy: {type: OnFailure, onFailureRetries: 2, onFailureRetryInterval: 300}
  sparkConf:
    spark.sql.adaptive.enabled: "true"
    spark.sql.session.timeZone: UTC
    spark.sql.extensions: io.delta.sql.DeltaSparkSessionExtension
    spark.sql.warehouse.dir: s3a://example-lake/warehouse
    spark.eventLog.enabled: "true"
    spark.eventLog.dir: s3a://example-lake/spark-events
    spark.ui.prometheus.enabled: "true"
  driver:
    cores: 1
    memory: 2g
    memoryOverhead: 512m
    serviceAccount: %s
    nodeSelector: {example.com/node-group: spark}
    tolerations: [{key: example.com/spark, operator: Exists, effect: NoSchedule}]
  executor:
    instances: 2
    cores: 2
    memory: 4g
    memoryOverhead: 1g
    envFrom: [{configMapRef: {name: %s-settings}}]
    nodeSelector: {example.com/node-group: spark}
    tolerations: [{key: example.com/spark, operator: Exists, effect: NoSchedule}]
`
	baseCronJob = `apiVersion: batch/v1
kind: CronJob
metadata: {name: %s-compact}
spec:
  schedule: 15 3 * * *
  concurrencyPolicy: Forbid
  jobTemplate:
    spec:
      backoffLimit: 2
      template:
        spec:
          serviceAccountName: %s
          restartPolicy: Never
          containers:
          - name: compact
            image: %s
            args: [--compact]
            envFrom: [{configMapRef: {name: %s-settings}}]
            resources:
              requests: {cpu: 500m, memory: 1Gi}
              limits: {memory: 2Gi}
`
)

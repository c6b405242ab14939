package image

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// Field is a field of one kind that holds an image reference.
type Field struct {
	Group, Kind string
	Path        manifest.Path
}

// NewField reads a field path such as spec.workers[*].image.
func NewField(group, kind, path string) (Field, error) {
	parsed, err := manifest.ParsePath(path)
	if err != nil {
		return Field{}, err
	}
	if isPushTarget(schema.GroupKind{Group: group, Kind: kind}, parsed.String()) {
		return Field{}, fmt.Errorf("%s of %s names where an image is pushed to, not one that runs; syncer never rewrites it", path, kind)
	}
	return Field{Group: group, Kind: kind, Path: parsed}, nil
}

// pushTargets are fields that look like an image reference and say where to push one.
var pushTargets = map[schema.GroupKind]string{
	{Group: "kafka.strimzi.io", Kind: "KafkaConnect"}: "spec.build.output.image",
}

func isPushTarget(kind schema.GroupKind, path string) bool { return pushTargets[kind] == path }

// inPodSpec are the image fields below a pod spec (k8s.io/api/core/v1, PodSpec).
var inPodSpec = []string{
	"initContainers[*].image",
	"containers[*].image",
	"ephemeralContainers[*].image",
	"volumes[*].image.reference",
}

// podSpecs says where each kind holds pod specs.
var podSpecs = map[schema.GroupKind][]string{
	{Kind: "Pod"}:                   {"spec"},
	{Kind: "PodTemplate"}:           {"template.spec"},
	{Kind: "ReplicationController"}: {"spec.template.spec"},

	{Group: "apps", Kind: "Deployment"}:  {"spec.template.spec"},
	{Group: "apps", Kind: "ReplicaSet"}:  {"spec.template.spec"},
	{Group: "apps", Kind: "StatefulSet"}: {"spec.template.spec"},
	{Group: "apps", Kind: "DaemonSet"}:   {"spec.template.spec"},

	{Group: "batch", Kind: "Job"}:     {"spec.template.spec"},
	{Group: "batch", Kind: "CronJob"}: {"spec.jobTemplate.spec.template.spec"},

	{Group: "sparkoperator.k8s.io", Kind: "SparkApplication"}:          {"spec.driver.template.spec", "spec.executor.template.spec"},
	{Group: "sparkoperator.k8s.io", Kind: "ScheduledSparkApplication"}: {"spec.template.driver.template.spec", "spec.template.executor.template.spec"},

	{Group: "sparkoperator.k8s.io", Kind: "SparkConnect"}: {"spec.server.template.spec", "spec.executor.template.spec"},

	{Group: "spark.apache.org", Kind: "SparkApplication"}: {"spec.driverSpec.podTemplateSpec.spec", "spec.executorSpec.podTemplateSpec.spec"},

	{Group: "flink.apache.org", Kind: "FlinkDeployment"}: {"spec.podTemplate.spec", "spec.jobManager.podTemplate.spec", "spec.taskManager.podTemplate.spec"},

	{Group: "ray.io", Kind: "RayCluster"}: {"spec.headGroupSpec.template.spec", "spec.workerGroupSpecs[*].template.spec"},
	{Group: "ray.io", Kind: "RayJob"}: {
		"spec.rayClusterSpec.headGroupSpec.template.spec", "spec.rayClusterSpec.workerGroupSpecs[*].template.spec",
		"spec.submitterPodTemplate.spec",
	},
	{Group: "ray.io", Kind: "RayService"}: {
		"spec.rayClusterConfig.headGroupSpec.template.spec", "spec.rayClusterConfig.workerGroupSpecs[*].template.spec",
	},
}

// direct are image fields outside of pod specs.
var direct = map[schema.GroupKind][]string{
	{Group: "sparkoperator.k8s.io", Kind: "SparkApplication"}:          sparkFields("spec"),
	{Group: "sparkoperator.k8s.io", Kind: "ScheduledSparkApplication"}: sparkFields("spec.template"),

	{Group: "sparkoperator.k8s.io", Kind: "SparkConnect"}: append([]string{"spec.image"}, sparkConf("spec")...),

	{Group: "spark.apache.org", Kind: "SparkApplication"}: sparkConf("spec"),
	{Group: "spark.apache.org", Kind: "SparkCluster"}:     sparkConf("spec"),

	{Group: "argoproj.io", Kind: "Workflow"}:                workflowFields("spec"),
	{Group: "argoproj.io", Kind: "WorkflowTemplate"}:        workflowFields("spec"),
	{Group: "argoproj.io", Kind: "ClusterWorkflowTemplate"}: workflowFields("spec"),
	{Group: "argoproj.io", Kind: "CronWorkflow"}:            workflowFields("spec.workflowSpec"),

	{Group: "flink.apache.org", Kind: "FlinkDeployment"}: {"spec.image"},

	{Group: "ray.io", Kind: "RayCluster"}: {"spec.autoscalerOptions.image"},
	{Group: "ray.io", Kind: "RayJob"}:     {"spec.rayClusterSpec.autoscalerOptions.image"},
	{Group: "ray.io", Kind: "RayService"}: {"spec.rayClusterConfig.autoscalerOptions.image"},

	{Group: "kafka.strimzi.io", Kind: "KafkaConnect"}: {"spec.image"},
}

// sparkFields are those of the Spark operator's v1beta2 SparkApplicationSpec.
func sparkFields(spec string) []string {
	fields := []string{spec + ".image", spec + ".volumes[*].image.reference"}
	for _, role := range []string{"driver", "executor"} {
		for _, field := range []string{"image", "initContainers[*].image", "sidecars[*].image"} {
			fields = append(fields, spec+"."+role+"."+field)
		}
	}
	return append(fields, sparkConf(spec)...)
}

// sparkConf are the settings by which Spark itself starts pods.
func sparkConf(spec string) []string {
	return []string{
		spec + `.sparkConf["spark.kubernetes.container.image"]`,
		spec + `.sparkConf["spark.kubernetes.driver.container.image"]`,
		spec + `.sparkConf["spark.kubernetes.executor.container.image"]`,
	}
}

// workflowFields are those of Argo Workflows' WorkflowSpec.
func workflowFields(spec string) []string {
	var fields []string
	for _, template := range []string{"templates[*]", "templateDefaults", "templates[*].steps[*][*].inline", "templates[*].dag.tasks[*].inline"} {
		for _, field := range []string{"container.image", "script.image", "initContainers[*].image", "sidecars[*].image", "containerSet.containers[*].image", "volumes[*].image.reference"} {
			fields = append(fields, spec+"."+template+"."+field)
		}
	}
	return append(fields, spec+".volumes[*].image.reference")
}

// known is the table of patterns that follows from the ones above.
var known = func() map[schema.GroupKind][]manifest.Path {
	table := map[schema.GroupKind][]manifest.Path{}
	add := func(kind schema.GroupKind, text string) {
		path, err := manifest.ParsePath(text)
		if err != nil {
			panic(err) // a mistake in the tables above, which every test of this package would meet
		}
		table[kind] = append(table[kind], path)
	}
	for kind, fields := range direct {
		for _, field := range fields {
			add(kind, field)
		}
	}
	for kind, specs := range podSpecs {
		for _, spec := range specs {
			for _, field := range inPodSpec {
				add(kind, spec+"."+field)
			}
		}
	}
	return table
}()

// named are the patterns that the user added for a kind.
func named(id manifest.ID, extra []Field) []manifest.Path {
	kind := id.GroupKind()
	var patterns []manifest.Path
	for _, field := range extra {
		if field.Kind == kind.Kind && strings.EqualFold(field.Group, kind.Group) {
			patterns = append(patterns, field.Path)
		}
	}
	return patterns
}

package image

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8syaml "sigs.k8s.io/yaml"

	"github.com/syncerdev/syncer/pkg/manifest"
)

func parsed(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	obj := &unstructured.Unstructured{}
	if err := k8syaml.Unmarshal([]byte(text), &obj.Object); err != nil {
		t.Fatal(err)
	}
	return obj
}

// settings is a ConfigMap with one text.
func settings(text string) *unstructured.Unstructured {
	obj := configMap(text)
	obj.SetAnnotations(nil)
	return obj
}

// marked replaces <reference> by the reference, and by the pinned reference; <<tag>> is the tag of data/worker.
func marked(text string) (source, want string) {
	source = strings.NewReplacer("<", "", ">", "").Replace(text)
	want = strings.NewReplacer("<<", "", ">>", "@"+digest, "<", "", ">", "@"+digest).Replace(text)
	return source, want
}

// What Spark and Airflow run by is pinned without being named, where it stands, and no other byte changes.
func TestSparkAndAirflowArePinned(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"airflow.cfg":                  "[core]\nexecutor = KubernetesExecutor\n\n[kubernetes_executor]\nnamespace = data\nworker_container_repository = registry.example.com/data/worker\nworker_container_tag = <<v1.4.2>>\nother = x:1\n",
		"airflow.cfg, tag first":       "[kubernetes_executor]\nworker_container_tag=<<v1>>\nworker_container_repository=data/worker\n",
		"airflow.cfg, older section":   "[kubernetes]\n  WORKER_CONTAINER_REPOSITORY : data/worker  \n  Worker_Container_Tag: <<v1>>  \n[x]\n",
		"airflow.cfg, Windows":         "[kubernetes_executor]\r\nworker_container_repository = data/worker\r\nworker_container_tag = <<v1>>\r\n",
		"airflow.cfg, comments":        "[kubernetes_executor]\n# worker_container_tag = no\nworker_container_repository = data/worker\n; worker_container_tag = no\nworker_container_tag = <<v1>>",
		"airflow.cfg, a digest":        "[kubernetes_executor]\nworker_container_repository = data/worker\nworker_container_tag = v1@" + digest + "\n",
		"airflow.cfg, two sections":    "[kubernetes]\nworker_container_repository = a/b\nworker_container_tag = <<v1>>\n[kubernetes_executor]\nworker_container_repository = c/d\nworker_container_tag = <<v2>>\n",
		"airflow.cfg, no tag":          "[kubernetes_executor]\nworker_container_repository = data/worker\nworker_container_tag =\n[x]\nworker_container_tag = v1\n",
		"airflow.cfg, nothing":         "[kubernetes_executor]\nworker_container_repository =\nworker_container_tag =\n",
		"airflow.cfg, a template":      "[kubernetes_executor]\nworker_container_repository = data/worker\nworker_container_tag = {{ .Values.tag }}\n",
		"a file of variables":          "AIRFLOW__KUBERNETES_EXECUTOR__WORKER_CONTAINER_REPOSITORY=data/worker\nexport AIRFLOW__KUBERNETES_EXECUTOR__WORKER_CONTAINER_TAG=\"<<v1>>\"\n",
		"a pod template":               "apiVersion: v1\nkind: Pod\nmetadata:\n  name: placeholder-name\nspec:\n  initContainers: [{name: i, image: '<registry.example.com/init:1>'}]\n  containers:\n  - name: base # image: no/no:1\n    image: <registry.example.com/data/worker:v1>\n",
		"Airflow's own pod template":   "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - image: dummy_image\n    name: base\n",
		"a pod template without end":   "kind: Pod\nspec: {containers: [{image: <data/worker:v1>}]}\n---\nkind: [\n",
		"a pod template of a registry": "kind: Pod\nspec: {containers: [{image: registry.example.com/worker}]}\n",
		"a pod template in JSON":       `{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"image":"<data/worker:v1>"}]}}`,
		"an application in a text":     "apiVersion: sparkoperator.k8s.io/v1beta2\nkind: SparkApplication\nspec:\n  image: <data/spark:v1>\n  sparkConf:\n    spark.kubernetes.container.image: <data/spark:v2>\n",
		"values of a chart":            "image: data/other:v1\nkind: values\n",
		"another kind":                 "apiVersion: example.com/v1\nkind: Pod\nimage: data/other:v1\n",
		"a Helm template":              "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - image: {{ .Values.image }}\n",
		"spark-defaults.conf":          "spark.master  k8s://https://x:6443\nspark.kubernetes.container.image   <registry.example.com/spark:3.5>\nspark.kubernetes.driver.container.image=<data/spark:1>\nspark.kubernetes.executor.container.image: <data/spark:2>\n# spark.kubernetes.container.image no/no:1\nspark.kubernetes.container.image.pullPolicy IfNotPresent\n",
		"a script":                     "#!/bin/sh\nspark-submit --conf spark.kubernetes.container.image=<data/spark:1> \\\n  --conf 'spark.kubernetes.driver.container.image=<data/spark:2>' --conf spark.kubernetes.executor.container.image=$IMAGE app.py\n",
		"a program":                    "conf.set(\"spark.kubernetes.container.image\", \"<data/spark:1>\")\nd = {'spark.kubernetes.container.image': '<data/spark:1>'}\n",
		"a sentence":                   "Set spark.kubernetes.container.image to the image that you built.\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source, want := marked(text)
			want = strings.ReplaceAll(want, "registry.example.com/worker}", "registry.example.com/worker:latest@"+digest+"}")
			pinned, refs := pinAll(t, settings(source))
			if diff := cmp.Diff(want, textOf(pinned)); diff != "" {
				t.Error(diff)
			}
			for _, ref := range refs {
				if ref.Path != `data["pod.yaml"]` {
					t.Errorf("%s stands at %s", ref.Value, ref.Path)
				}
			}
		})
	}
}

func TestSparkAndAirflowInContainers(t *testing.T) {
	t.Parallel()
	const job = `
apiVersion: batch/v1
kind: Job
metadata: {name: submit, annotations: {note: spark.kubernetes.container.image=no/no:1}}
spec:
  template:
    spec:
      containers:
      - name: submit
        image: <data/submit:v1>
        command: [sh, -c, "exec spark-submit --conf spark.kubernetes.container.image=<data/spark:v1> app.py"]
        args: [--conf, "spark.kubernetes.driver.container.image=<data/spark:v2>", "--conf=spark.kubernetes.executor.container.image=<data/spark:v3>"]
        env:
        - {name: AIRFLOW__KUBERNETES_EXECUTOR__WORKER_CONTAINER_REPOSITORY, value: registry.example.com/worker}
        - {name: AIRFLOW__KUBERNETES_EXECUTOR__WORKER_CONTAINER_TAG, value: <<v4>>}
        - {name: OPTIONS, value: "-Dspark.kubernetes.container.image=<data/spark:v5>"}
        - {name: OTHER_IMAGE, value: "data/other:v6"}
`
	source, want := marked(job)
	pinned, refs := pinAll(t, parsed(t, source))
	if diff := cmp.Diff(parsed(t, want).Object, pinned.Object); diff != "" {
		t.Error(diff)
	}
	if len(refs) != 6 {
		t.Errorf("%d references, want 6: %v", len(refs), refs)
	}
	again, err := Find(manifest.Set{pinned}, nil)
	if err != nil || len(again) != 6 {
		t.Errorf("of what is pinned: %d references, %v", len(again), err)
	}
	for _, ref := range again {
		if ref.Form != Digest {
			t.Errorf("%s at %s is not pinned", ref.Value, ref.Path)
		}
	}
}

func TestAirflowVariablesInAConfigMap(t *testing.T) {
	t.Parallel()
	const config = `
apiVersion: v1
kind: ConfigMap
metadata: {name: airflow}
data:
  AIRFLOW__KUBERNETES__WORKER_CONTAINER_REPOSITORY: data/worker
  AIRFLOW__KUBERNETES__WORKER_CONTAINER_TAG: <<v1>>
`
	source, want := marked(config)
	pinned, _ := pinAll(t, parsed(t, source))
	if diff := cmp.Diff(parsed(t, want).Object, pinned.Object); diff != "" {
		t.Error(diff)
	}
}

// Nothing is looked for in a Secret, or where the annotation says so.
func TestNothingIsImplied(t *testing.T) {
	t.Parallel()
	away := settings("[kubernetes_executor]\nworker_container_repository = data/worker\nworker_container_tag = v1\n")
	away.SetAnnotations(map[string]string{Annotation: Disabled})
	secret := parsed(t, "{apiVersion: v1, kind: Secret, metadata: {name: x}, stringData: {a: spark.kubernetes.container.image=data/spark:1}}")
	refs, err := Find(manifest.Set{away, secret}, nil)
	if err != nil || len(refs) > 0 {
		t.Errorf("found %v, %v", refs, err)
	}
}

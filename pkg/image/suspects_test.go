package image

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/manifest"
)

func TestWhatLooksLikeAnImage(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]bool{
		"registry.example.com/data/task:v1":                                true,
		"registry.example.com/data/task:7":                                 true,
		"registry.example.com:5000/task:main":                              true,
		"localhost:5000/task:1":                                            true,
		"localhost/task:1":                                                 true,
		"127.0.0.1:5000/a/b:v1":                                            true,
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com/data/ingest:3f2a91c": true,
		"ghcr.io/apache/spark:latest":                                      true,
		"registry.k8s.io/pause:3.10":                                       true,
		"apache/spark:3.5.1":                                               true,
		"apache/spark:v3":                                                  true,
		"data/ingest:3f2a91c":                                              true,
		"--image=registry.example.com/data/task:v1":                        true,
		"run apache/airflow:2.9.1, then stop.":                             true,

		"registry.example.com/data/task":            false, // no tag
		"registry.example.com/data/task@" + digest:  false, // pinned
		"registry.example.com/task:v1@" + digest:    false,
		"registry.example.com/task:${TAG}":          false, // completed by another program
		"registry.example.com/task:{{ tag }}":       false,
		"busybox:1.36":                              false, // without a field that says what it is
		"https://example.com/a:1":                   false,
		"http://registry.example.com:8080/path:v1":  false,
		"s3://bucket/data:v1":                       false,
		"s3a://bucket/path/to:2":                    false,
		"local:///app/main.py":                      false,
		"jdbc:postgresql://db:5432/data":            false,
		"postgresql+psycopg2://u:p@db:5432/airflow": false,
		"db:5432":             false,
		"db.example.com:5432": false,
		"data/kafka:9092":     false,
		"kafka-0.kafka:9092,kafka-1.kafka:9092/topic": false,
		"zk:2181/kafka":                       false,
		"12:30:45":                            false,
		"2024-01-02T03:04:05Z":                false,
		"2024/01/02:10.5":                     false,
		"/opt/app:/data":                      false,
		"/usr/bin:/bin":                       false,
		"./conf/app.yaml:ro":                  false,
		"conf/app.yaml:ro":                    false,
		"data/volume:ro":                      false,
		"app/main:app":                        false,
		"app/main.py:12":                      false,
		"src/job.py:v1":                       false,
		"io.delta:delta-spark_2.12:3.1.0":     false,
		"org.apache.hadoop:hadoop-aws:3.3.4":  false,
		"arn:aws:iam::123456789012:role/data": false,
		"arn:aws:s3:::bucket/key":             false,
		"arn:aws:secretsmanager:eu-west-1:123:secret:a/b:v1": false,
		"node.kubernetes.io/not-ready:NoExecute":             false,
		"node-role.kubernetes.io/control-plane:NoSchedule":   false,
		"example.com/team:NoSchedule":                        false,
		"nvidia.com/gpu:2":                                   false,
		"git@github.com:org/repo.git":                        false,
		"github.com/org/repo:v1.2":                           false,
		"refs/heads/main:refs/heads/main":                    false,
		"10.0.0.0/8:1":                                       false,
		"[::1]:8080/a:1":                                     false,
		"a:b/c:d":                                            false,
		"user:password":                                      false,
		"system:serviceaccount:data:spark":                   false,
		"sha256:abcdef":                                      false,
		"key: value":                                         false,
		"UPPER/Case:V1":                                      false,
		"":                                                   false,
	} {
		obj := parsed(t, "{apiVersion: batch/v1, kind: Job, metadata: {name: x}, spec: {template: {spec: {containers: [{name: c}]}}}}")
		containers, _, _ := unstructured.NestedSlice(obj.Object, "spec", "template", "spec", "containers")
		containers[0].(map[string]any)["env"] = []any{map[string]any{"name": "SETTING", "value": value}}
		_ = unstructured.SetNestedSlice(obj.Object, containers, "spec", "template", "spec", "containers")
		if found := suspects(t, manifest.Set{obj}, nil); (len(found) == 1) != want {
			t.Errorf("%q: found %v, want %v", value, found, want)
		}
	}
}

func TestSuspects(t *testing.T) {
	t.Parallel()
	const objects = `
apiVersion: batch/v1
kind: Job
metadata: {name: job, annotations: {note: registry.example.com/none:1}}
spec:
  template:
    spec:
      containers:
      - name: c
        image: registry.example.com/known:1
        args: [--sidecar-image, "team/sidecar:dev", "--other-image=team/other:dev", --output, "team/other:dev", --image, "busybox:1.36", --listen, "db:5432"]
        env:
        - {name: TASK_IMAGE, value: "team/task:dev"}
        - {name: BARE_IMAGE, value: "busybox:1.36"}
        - {name: IMAGE_SERVER, value: "images:8080"}
        - {name: WORKER_REPOSITORY, value: registry.example.com/worker}
        - {name: WORKER_TAG, value: v2}
        - {name: GIT_REPOSITORY, value: org/repo}
        - {name: GIT_TAG, value: v1.2}
        - {name: SPARK, value: "spark.kubernetes.container.image=registry.example.com/spark:1"}
---
apiVersion: example.com/v1
kind: Training
metadata: {name: t}
spec:
  trainer: {image: team/trainer:dev}
  helper: {image: {repository: team/helper, tag: dev}}
  code: {repository: org/repo, tag: v1.2}
  whole: {repository: "registry.example.com/whole:v1"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: texts}
data:
  AIRFLOW_VAR_TASK_IMAGE: registry.example.com/var:v1
  values.yaml: |
    sidecar:
      image: registry.example.com/values:v1
  dag.py: |
    # image="registry.example.com/comment:v1"
    task = KubernetesPodOperator(image="registry.example.com/dag:v1", arguments=["s3://bucket/x:1"])
---
apiVersion: v1
kind: Secret
metadata: {name: secret}
stringData: {IMAGE: registry.example.com/secret:v1}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: away, annotations: {syncer.dev/images: disabled}}
data: {IMAGE: registry.example.com/away:v1}
`
	var set manifest.Set
	for _, text := range strings.Split(objects, "---\n") {
		set = append(set, parsed(t, text))
	}
	const container = "spec.template.spec.containers[name=c]."
	want := []string{
		"Job/job " + container + "args[1] team/sidecar:dev true",
		"Job/job " + container + "args[2] team/other:dev true",
		"Job/job " + container + "args[6] busybox:1.36 true",
		"Job/job " + container + "env[name=TASK_IMAGE].value team/task:dev true",
		"Job/job " + container + "env[name=BARE_IMAGE].value busybox:1.36 true",
		"Job/job " + container + "env[name=WORKER_REPOSITORY].value registry.example.com/worker:v2 true",
		"Training/t spec.helper.image.repository team/helper:dev true",
		"Training/t spec.trainer.image team/trainer:dev true",
		"Training/t spec.whole.repository registry.example.com/whole:v1 true",
		"ConfigMap/texts data.AIRFLOW_VAR_TASK_IMAGE registry.example.com/var:v1 true",
		`ConfigMap/texts data["dag.py"] registry.example.com/dag:v1 false`,
		`ConfigMap/texts data["values.yaml"] registry.example.com/values:v1 true`,
	}
	var got []string
	all := suspects(t, set, nil)
	for _, s := range all {
		got = append(got, fmt.Sprint(s.Object, " ", s.Path, " ", s.Value, " ", s.Nameable))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("(-want +got)\n%s", diff)
	}

	// Once their fields are named as the advice says, they are found, and looked at no more.
	for _, s := range all {
		if !s.Nameable {
			continue
		}
		kind := s.Object.GroupKind()
		if !strings.Contains(s.Advice(), "path: '"+s.Path+"'") {
			t.Errorf("%s: the advice does not name the path", s.Advice())
		}
		field, err := NewField(kind.Group, kind.Kind, s.Path)
		if err != nil {
			t.Error(err)
			continue
		}
		refs, err := Find(set, []Field{field})
		if err != nil {
			t.Error(err)
		}
		resolved := map[string]Resolved{s.Value: {Digest: digest}}
		pinned, err := Pin(set, []Field{field}, resolved)
		if err != nil {
			t.Error(err)
		}
		text, _ := pinned.YAML()
		if _, tag, _ := strings.Cut(s.Value, ":"); !strings.Contains(string(text), tag+"@"+digest) || len(refs) == 0 {
			t.Errorf("%s is not pinned", s.Value)
		}
		for _, left := range suspects(t, set, []Field{field}) {
			if left.Path == s.Path && left.Object == s.Object {
				t.Errorf("%s is named and still listed", s.Path)
			}
		}
	}
}

func suspects(t *testing.T, set manifest.Set, extra []Field) []Suspect {
	t.Helper()
	refs, err := Find(set, extra)
	if err != nil {
		t.Fatal(err)
	}
	return Suspects(set, refs)
}

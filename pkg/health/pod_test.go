package health

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/manifest"
)

func TestRunOfAPod(t *testing.T) {
	const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, uid: u1}\n"
	for name, c := range map[string]struct {
		object            string
		runs, ends, ended bool
	}{
		"running":        {pod + "spec: {restartPolicy: Never}\nstatus: {phase: Running}", true, true, false},
		"pending":        {pod + "spec: {restartPolicy: Never}\nstatus: {phase: Pending}", false, true, false},
		"of a service":   {pod + "spec: {restartPolicy: Always}\nstatus: {phase: Running}", false, false, false},
		"succeeded":      {pod + "spec: {restartPolicy: Never}\nstatus: {phase: Succeeded}", false, false, true},
		"failed":         {pod + "spec: {restartPolicy: OnFailure}\nstatus: {phase: Failed}", false, false, true},
		"being deleted":  {"apiVersion: v1\nkind: Pod\nmetadata: {deletionTimestamp: \"2030-01-02T03:04:05Z\"}\nstatus: {phase: Running}", false, false, false},
		"of other kinds": {"apiVersion: v1\nkind: Node\nstatus: {phase: Running}", false, true, false},
	} {
		obj := object(t, c.object)
		if run := PodRun(obj); (run.State == Running) != c.runs || c.runs && run.ID != "u1" {
			t.Errorf("%s: %+v", name, run)
		}
		if PodRunsToEnd(obj) != c.ends || PodEnded(obj) != c.ended {
			t.Errorf("%s: runs to its end %t, ended %t", name, PodRunsToEnd(obj), PodEnded(obj))
		}
		if run := (*Judge)(nil).Run(obj); run != (Run{}) {
			t.Errorf("%s: a pod counts as a run: %+v", name, run)
		}
	}
}

func TestWhatAPodUses(t *testing.T) {
	pod := object(t, `
apiVersion: v1
kind: Pod
spec:
  serviceAccountName: runner
  imagePullSecrets: [{name: pull}]
  volumes:
  - {name: a, configMap: {name: settings}}
  - {name: b, secret: {secretName: password}}
  - {name: c, persistentVolumeClaim: {claimName: data}}
  - {name: d, projected: {sources: [{configMap: {name: part}}, {secret: {name: key}}]}}
  containers:
  - {name: main, envFrom: [{configMapRef: {name: env}}], env: [{name: A, valueFrom: {secretKeyRef: {name: token, key: a}}}]}
`)
	for kind, names := range map[string]string{
		"ConfigMap": "settings part env", "Secret": "pull password key token", "ServiceAccount": "runner", "PersistentVolumeClaim": "data",
	} {
		if !NamedByPods(schema.GroupKind{Kind: kind}) {
			t.Errorf("no pod names a %s", kind)
		}
		for _, name := range strings.Fields(names) {
			if !PodUses(pod, manifest.ID{APIVersion: "v1", Kind: kind, Name: name}) {
				t.Errorf("%s/%s is not used", kind, name)
			}
		}
		if PodUses(pod, manifest.ID{APIVersion: "v1", Kind: kind, Name: "other"}) {
			t.Errorf("%s/other is used", kind)
		}
	}
	if NamedByPods(schema.GroupKind{Kind: "Service"}) || PodUses(pod, manifest.ID{APIVersion: "v1", Kind: "Service", Name: "data"}) {
		t.Error("a pod names a Service")
	}
}

func TestTroubleOfAPod(t *testing.T) {
	for name, c := range map[string]struct{ status, want string }{
		"new":             {"{}", ""},
		"starting":        {"{containerStatuses: [{name: main, state: {waiting: {reason: ContainerCreating}}}]}", ""},
		"running":         {"{containerStatuses: [{name: main, state: {running: {}}}]}", ""},
		"no image":        {"{containerStatuses: [{name: main, state: {waiting: {reason: ImagePullBackOff, message: ' not found '}}}]}", "Pod/a: container main waits (ImagePullBackOff): not found"},
		"without a word":  {"{containerStatuses: [{name: main, state: {waiting: {reason: ImagePullBackOff}}}]}", "Pod/a: container main waits (ImagePullBackOff)"},
		"init fails":      {"{initContainerStatuses: [{name: init, state: {terminated: {exitCode: 2, reason: Error}}}], containerStatuses: [{name: main, state: {waiting: {reason: PodInitializing}}}]}", "Pod/a: container init exited with 2 (Error)"},
		"ended before":    {"{containerStatuses: [{name: main, state: {running: {}}, lastState: {terminated: {exitCode: 137, reason: OOMKilled, message: big}}}]}", "Pod/a: container main exited with 137 (OOMKilled): big"},
		"ended well":      {"{containerStatuses: [{name: main, state: {terminated: {exitCode: 0}}}]}", ""},
		"not scheduled":   {"{conditions: [{type: PodScheduled, status: \"False\", message: no node}]}", "Pod/a cannot be scheduled: no node"},
		"a strange value": {"{containerStatuses: [1], conditions: 2}", ""},
	} {
		if got := PodTrouble(object(t, "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nstatus: "+c.status)); got != c.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}
